"""Derivatives and residuals of learned fields."""

# Jets learn from it what torch functions do with them.
from roma_pyg.physics import operations as operations
from roma_pyg.physics.jet import Jet

__all__ = ["Jet"]
