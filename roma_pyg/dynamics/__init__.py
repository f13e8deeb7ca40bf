"""Dynamical systems on graphs: right-hand sides and their integration in time."""
