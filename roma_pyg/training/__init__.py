"""Training: losses, schedule, the Lightning module and its callbacks."""
