"""Spectra between slices in a file, because they take longer to make than to read."""

import json
import os

import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5
from flowpm_ext.cosmology.tomography import SliceSpectra

KIND, FORMAT_VERSION = "spectra between slices", 1
ARRAYS = ("edges", "ell", "half_modes", "shear", "cross", "counts")
FIX = "Make it with `write_spectra`."


def write_spectra(path: str | os.PathLike, spectra: SliceSpectra) -> None:
    """Write spectra so that `read_spectra` reads them.

    Args:
        path: File to write.
        spectra: The spectra.

    Raises:
        OSError: If the file cannot be written.
    """
    datasets = {name: (np.asarray(getattr(spectra, name)), {}) for name in ARRAYS}
    parameters = json.dumps(spectra.parameters)
    hdf5.write(path, KIND, FORMAT_VERSION, datasets, {"parameters": parameters})


def read_spectra(path: str | os.PathLike) -> SliceSpectra:
    """Read spectra.

    Args:
        path: File that `write_spectra` wrote.

    Returns:
        The spectra.

    Raises:
        ValueError: If the file is absent, not whole or of another kind.
    """
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        arrays = [tf.constant(file[name][()]) for name in ARRAYS]
        return SliceSpectra(*arrays, tuple(json.loads(file.attrs["parameters"])))
