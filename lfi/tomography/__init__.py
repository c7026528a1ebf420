"""Tomographic bins from photometry, chosen for what they say about cosmology."""

from lfi.tomography.baselines import FixedEdges
from lfi.tomography.catalogue import (
    Catalogue,
    photometric_features,
    read_catalogue,
    write_catalogue,
)
from lfi.tomography.classifier import BinClassifier
from lfi.tomography.mock import mock_catalogue
from lfi.tomography.scores import redshift_edges, score
from lfi.tomography.spectra_file import read_spectra, write_spectra

__all__ = [
    "BinClassifier",
    "Catalogue",
    "FixedEdges",
    "mock_catalogue",
    "photometric_features",
    "read_catalogue",
    "read_spectra",
    "redshift_edges",
    "score",
    "write_catalogue",
    "write_spectra",
]
