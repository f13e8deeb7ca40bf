"""Layers: hyperbolic convolution, pooling, attention, lifting and trunks."""
