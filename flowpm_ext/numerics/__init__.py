"""Numerical methods without physics: transforms, quadrature, interpolation, linear ODEs."""
