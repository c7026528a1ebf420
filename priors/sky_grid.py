"""Pixels on the sky: the tangent plane of a field, and its World Coordinate System."""

import dataclasses

import numpy as np
from astropy.wcs import WCS
from scipy.fft import next_fast_len

from flowpm_ext.core import checks

# A flat map is honest over a patch this wide, and a solver's memory allows this many pixels.
MAX_FIELD_DEG = 20.0
MIN_PIXELS, MAX_PIXELS = 8, 4096


@dataclasses.dataclass(frozen=True)
class SkyGrid:
    """Square pixels on the tangent plane (gnomonic projection) of a point of the sky.

    Rows run North, columns run West, so that an image with the first row at the bottom shows
    the sky as it is seen: North up, East left.

    Attributes:
        center: Right ascension and declination of the tangent point (degrees).
        shape: Pixels, (ny, nx).
        pixel_size_arcmin: Side of a pixel (arcmin).

    Raises:
        ValueError: If the shape is not two positive integers or the pixel has no size.
    """

    center: tuple[float, float]
    shape: tuple[int, int]
    pixel_size_arcmin: float

    def __post_init__(self) -> None:
        is_shape = len(self.shape) == 2 and all(int(n) == n and n > 0 for n in self.shape)
        checks.require(is_shape, "shape", "be two positive integers", self.shape)
        checks.positive(self.pixel_size_arcmin, "pixel_size_arcmin")

    @classmethod
    def around(
        cls,
        ra: np.ndarray,
        dec: np.ndarray,
        pixel_size_arcmin: float,
        padding_arcmin: float = 10.0,
        multiple: int = 1,
    ) -> "SkyGrid":
        """The grid that holds all positions, centred on their mean, with empty sky around them.

        The sides are rounded up to lengths with a fast Fourier transform.

        Args:
            ra: Right ascension (degrees), shape [num_positions].
            dec: Declination (degrees), shape [num_positions].
            pixel_size_arcmin: Side of a pixel (arcmin).
            padding_arcmin: Width of the empty frame (arcmin), at least.
            multiple: What both sides shall divide by.

        Returns:
            The grid.

        Raises:
            ValueError: If the field is too wide for a flat map, or the pixels are so large that
                fewer than 8, or so small that more than 4096, would lie along a side.
        """
        checks.positive(pixel_size_arcmin, "pixel_size_arcmin")
        checks.non_negative(padding_arcmin, "padding_arcmin")
        center = _mean_direction(ra, dec)
        x, y = _plane_degrees(center, ra, dec)
        # Symmetric about the centre, which the mean position need not halve.
        num_pixels = np.array([np.max(np.abs(y)), np.max(np.abs(x))]) * 120.0 / pixel_size_arcmin
        _check_sides(num_pixels, padding_arcmin, float(pixel_size_arcmin))
        padded = num_pixels + 2.0 * padding_arcmin / pixel_size_arcmin
        coarse = (-(-(int(np.ceil(n)) + 1) // multiple) for n in padded)
        shape = tuple(multiple * next_fast_len(n, real=True) for n in coarse)
        return cls(center, shape, float(pixel_size_arcmin))

    @property
    def wcs(self) -> WCS:
        """World Coordinate System of the pixels, for FITS headers and plots."""
        return WCS(_header(self.center, self.shape, self.pixel_size_arcmin))

    @property
    def pixel_size(self) -> float:
        """Side of a pixel (radians)."""
        return float(np.radians(self.pixel_size_arcmin / 60.0))

    def pixel_coordinates(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractional row and column of positions on the sky; pixel centres are integers.

        Args:
            ra: Right ascension (degrees), shape [num_positions].
            dec: Declination (degrees), shape [num_positions].

        Returns:
            Rows and columns, two arrays of shape [num_positions].
        """
        column, row = self.wcs.wcs_world2pix(ra, dec, 0)
        return row, column

    def sky_coordinates(self, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position on the sky of fractional pixel coordinates.

        Args:
            row: Rows, shape [num_positions].
            column: Columns, shape [num_positions].

        Returns:
            Right ascension and declination (degrees), two arrays of shape [num_positions].
        """
        ra, dec = self.wcs.wcs_pix2world(column, row, 0)
        return ra, dec

    def flat_index(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Index into the flattened map of the pixel that holds each position; -1 outside.

        Args:
            ra: Right ascension (degrees), shape [num_positions].
            dec: Declination (degrees), shape [num_positions].

        Returns:
            Indices, integers [num_positions].
        """
        row, column = (np.floor(x + 0.5) for x in self.pixel_coordinates(ra, dec))
        ny, nx = self.shape
        inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
        return np.where(inside, row * nx + column, -1).astype(np.int64)

    def turn(self, ra: np.ndarray) -> np.ndarray:
        """Factor that takes ellipticities from the local North to the rows of the grid.

        Away from the tangent point the meridians lean: the image of the direction North is
        (sin(da) sin(dec0), cos(da)) in (column, row), whatever the declination. Turned
        anticlockwise by phi from the rows, it asks for exp(2 i phi).

        Args:
            ra: Right ascension (degrees), shape [num_positions].

        Returns:
            Complex factors of unit modulus, shape [num_positions].
        """
        da, dec0 = np.radians(np.asarray(ra) - self.center[0]), np.radians(self.center[1])
        return np.exp(-2j * np.arctan2(np.sin(da) * np.sin(dec0), np.cos(da)))


def _header(center: tuple[float, float], shape: tuple[int, int], size_arcmin: float) -> dict:
    """FITS keywords of a gnomonic projection whose reference point is the middle of the map."""
    ny, nx = shape
    return {
        "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny,
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": center[0], "CRVAL2": center[1],
        "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2,
        "CDELT1": -size_arcmin / 60.0, "CDELT2": size_arcmin / 60.0,
        "RADESYS": "ICRS",
    }  # fmt: skip


def _mean_direction(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float]:
    """Right ascension and declination of the mean unit vector: safe at RA = 0 and the poles."""
    ra, dec = np.radians(ra), np.radians(dec)
    x, y = np.mean(np.cos(dec) * np.cos(ra)), np.mean(np.cos(dec) * np.sin(ra))
    z = np.mean(np.sin(dec))
    return float(np.degrees(np.arctan2(y, x)) % 360), float(
        np.degrees(np.arctan2(z, np.hypot(x, y)))
    )


def _plane_degrees(
    center: tuple[float, float], ra: np.ndarray, dec: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tangent-plane positions in degrees: x to the West, y to the North."""
    ra0, dec0 = np.radians(center)
    da, dec = np.radians(np.asarray(ra)) - ra0, np.radians(np.asarray(dec))
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(da)
    widest = 2 * np.degrees(np.arccos(np.clip(np.min(cosine), -1.0, 1.0)))
    rule = f"cover a patch of sky narrower than {MAX_FIELD_DEG:g} degrees (flat sky)"
    fix = "Cut the catalogue into fields."
    checks.require(widest < MAX_FIELD_DEG, "catalogue", rule, f"{widest:.3g} degrees", fix)
    x = -np.cos(dec) * np.sin(da) / cosine
    y = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(da)) / cosine
    return np.degrees(x), np.degrees(y)


def _check_sides(num_pixels: np.ndarray, padding_arcmin: float, pixel_size_arcmin: float) -> None:
    """Refuse pixels too large or too small for the field."""
    has_area = np.min(num_pixels) > 0
    checks.require(has_area, "catalogue", "cover a field of the sky", "positions on one line")
    sides = "{:.3g} x {:.3g} arcmin".format(*(num_pixels * pixel_size_arcmin))
    largest = float(np.max(num_pixels + 2 * padding_arcmin / pixel_size_arcmin))
    checks.require(
        np.min(num_pixels) >= MIN_PIXELS, "pixel_size_arcmin",
        f"leave at least {MIN_PIXELS} pixels across the field of {sides}", pixel_size_arcmin,
        f"Give at most {np.min(num_pixels) * pixel_size_arcmin / MIN_PIXELS:.3g}.",
    )  # fmt: skip
    checks.require(
        largest <= MAX_PIXELS, "pixel_size_arcmin",
        f"leave at most {MAX_PIXELS} pixels across the field of {sides}", pixel_size_arcmin,
        f"Give at least {largest * pixel_size_arcmin / MAX_PIXELS:.3g}.",
    )  # fmt: skip
