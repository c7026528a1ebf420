"""Meshes and the particles that are painted on them."""

from flowpm_ext.mesh.painting import paint, readout

__all__ = ["paint", "readout"]
