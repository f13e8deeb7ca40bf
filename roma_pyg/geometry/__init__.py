"""Hyperbolic geometry: formulas of the Poincare ball, and the spaces layers work in."""

from roma_pyg.geometry.space import FlatSpace, PoincareBall, Space, make_space

__all__ = ["FlatSpace", "PoincareBall", "Space", "make_space"]
