"""Options of a run: their catalogue, and how files and command lines are read."""
