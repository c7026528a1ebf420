"""Random fields on periodic grids."""
