"""ROMA, the simple forecasts it is compared with, and how models are run."""
