"""Meshes and the particles that are painted on them."""

from flowpm_ext.mesh.base import AbstractMesh
from flowpm_ext.mesh.clouds import cic_paint, cic_readout
from flowpm_ext.mesh.cluster import join_cluster
from flowpm_ext.mesh.local import LocalMesh
from flowpm_ext.mesh.painting import paint, readout
from flowpm_ext.mesh.processes import Processes
from flowpm_ext.mesh.sharded import ShardedMesh

__all__ = [
    "AbstractMesh",
    "LocalMesh",
    "Processes",
    "ShardedMesh",
    "cic_paint",
    "cic_readout",
    "join_cluster",
    "paint",
    "readout",
]
