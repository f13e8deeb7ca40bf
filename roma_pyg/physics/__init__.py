"""Derivatives and residuals of learned fields."""
