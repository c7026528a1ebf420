"""Meshes and the particles that are painted on them."""

from flowpm_ext.mesh.base import AbstractMesh
from flowpm_ext.mesh.clouds import cic_paint, cic_readout
from flowpm_ext.mesh.local import LocalMesh
from flowpm_ext.mesh.painting import paint, readout

__all__ = ["AbstractMesh", "LocalMesh", "cic_paint", "cic_readout", "paint", "readout"]
