"""Experiments: many runs from one YAML file, and what can be read from them."""
