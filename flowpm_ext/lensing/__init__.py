"""Light cones and maps of gravitational lensing."""
