"""Photometric catalogues with true redshifts, in the layout of the tomography challenge."""

import os
import pathlib
from typing import NamedTuple

import h5py
import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from lfi.bands import check_bands
from lfi.dataset import opened

UNDETECTED = 30.0  # magnitude, and its error, of what is not detected
REDSHIFT = "redshift_true"
LAYOUT = (
    "The file needs arrays of one entry for each galaxy, as in the LSST DESC tomography challenge: "
    "`redshift_true`, and `X_mag` and `X_mag_err` for each band X."
)


class Catalogue(NamedTuple):
    """Galaxies.

    Attributes:
        bands: Names of the bands, a letter each.
        magnitudes: AB, [num_galaxies, num_bands]; 30 where one is not detected.
        errors: Their standard deviations, the same shape; 30 where one is not detected.
        redshift: True redshifts, [num_galaxies].
    """

    bands: str
    magnitudes: np.ndarray
    errors: np.ndarray
    redshift: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """What a classifier is given: magnitudes, colours and errors, float32 [num_galaxies, .]."""
        return photometric_features(self.magnitudes, self.errors)

    def split(self, num_first: int) -> tuple["Catalogue", "Catalogue"]:
        """The first galaxies, and the others."""
        parts = [(x[:num_first], x[num_first:]) for x in self[1:]]
        return tuple(Catalogue(self.bands, *part) for part in zip(*parts, strict=True))


def photometric_features(magnitudes: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Magnitudes, all colours, and errors of magnitudes.

    Args:
        magnitudes: AB, shape [num_galaxies, num_bands].
        errors: Their standard deviations (magnitudes), the same shape.

    Returns:
        Features, float32 [num_galaxies, num_features].

    Raises:
        ValueError: If something is not finite, or shapes differ.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 3.
    """
    fix = f"Write {UNDETECTED:g} for the magnitude and the error of what is not detected."
    checks.finite(magnitudes, "magnitudes", fix)
    checks.finite(errors, "errors", fix)
    magnitudes, errors = (np.asarray(x, np.float32) for x in (magnitudes, errors))
    rule = f"have shape {magnitudes.shape}, that of `magnitudes`"
    checks.rank(magnitudes, "magnitudes", 2)
    checks.require(errors.shape == magnitudes.shape, "errors", rule, f"shape {errors.shape}")
    first, second = np.triu_indices(magnitudes.shape[1], 1)
    colours = magnitudes[:, first] - magnitudes[:, second]
    return np.concatenate([magnitudes, colours, errors], axis=1)


def read_catalogue(path: str | os.PathLike, bands: str = "griz") -> Catalogue:
    """Galaxies of an HDF5 file of the challenge; infinite magnitudes are not detected.

    Args:
        path: File with `redshift_true`, and `X_mag` and `X_mag_err` for each band X.
        bands: Letters of the bands to read, each once.

    Returns:
        The catalogue.

    Raises:
        ValueError: If the file cannot be read, lacks something or holds NaN, or a band is twice
            there.
    """
    check_bands(bands)
    with opened(pathlib.Path(path), LAYOUT) as file:
        names = [REDSHIFT, *(f"{b}_{kind}" for kind in ("mag", "mag_err") for b in bands)]
        missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
        checks.require(not missing, "DATA", f"hold {', '.join(missing)}", str(path), LAYOUT)
        columns = {name: np.asarray(file[name][()]) for name in names}
    for name, column in columns.items():
        fits = column.dtype.kind in "fiu" and column.shape == columns[REDSHIFT].shape
        rule = "have one number for each galaxy"
        checks.require(fits and column.ndim == 1, name, rule, f"shape {column.shape}", LAYOUT)
        bad = np.count_nonzero(np.isnan(column))
        fix = "Write infinity where a galaxy is not detected."
        checks.require(bad == 0, name, "be a number", f"{bad} of {column.size} values NaN", fix)
    checks.finite(columns[REDSHIFT], REDSHIFT)
    num = len(bands)
    mag, error = (np.stack([columns[n] for n in part], axis=1).astype(np.float32)
                  for part in (names[1 : num + 1], names[num + 1 :]))  # fmt: skip
    seen = np.isfinite(mag) & np.isfinite(error)
    return Catalogue(
        bands, np.where(seen, mag, np.float32(UNDETECTED)),
        np.where(seen, error, np.float32(UNDETECTED)), columns[REDSHIFT].astype(np.float32),
    )  # fmt: skip


def write_catalogue(path: str | os.PathLike, found: Catalogue) -> None:
    """Write galaxies so that `read_catalogue`, and the challenge's own code, read them.

    Args:
        path: File to write.
        found: The galaxies.

    Raises:
        OSError: If the file cannot be written.
    """
    datasets = {REDSHIFT: (found.redshift, {})}
    for number, band in enumerate(found.bands):
        datasets[f"{band}_mag"] = (found.magnitudes[:, number], {})
        datasets[f"{band}_mag_err"] = (found.errors[:, number], {})
    hdf5.write(path, "photometric catalogue", 1, datasets, {})
