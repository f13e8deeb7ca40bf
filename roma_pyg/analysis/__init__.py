"""Metrics, evaluation and figures."""
