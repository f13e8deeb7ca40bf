"""Dynamical systems on graphs and their integration."""
