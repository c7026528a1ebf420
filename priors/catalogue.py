"""What a survey hands over: a shear catalogue, its n(z), and a list of clusters."""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

from flowpm_ext.core import checks

# Names of the columns of a shear catalogue; `weight` may be absent.
SHEAR_COLUMNS = {"ra": "ra", "dec": "dec", "e1": "e1", "e2": "e2", "weight": "weight"}
# Where the columns of an X-ray group catalogue stand when its text has no usable header.
GROUP_COLUMNS = {"id": 0, "ra": 1, "dec": 2, "z": 6}

# Far above any noise: what is beyond, -99 for one, says that nothing was measured.
LARGEST = 10.0

Source = str | os.PathLike | Table


@dataclasses.dataclass(frozen=True)
class ShearCatalogue:
    """Galaxies with a position and an estimate of the shear.

    Attributes:
        ra: Right ascension (degrees), shape [num_galaxies].
        dec: Declination (degrees), shape [num_galaxies].
        ellipticity: e1 + i e2, an estimate of the shear, complex [num_galaxies], for a sky seen
            with North up and East left: e1 > 0 is stretched from East to West, e2 > 0 from
            North-West to South-East.
        weight: Non-negative weights, shape [num_galaxies].

    Raises:
        ValueError: If there is no galaxy, a value is not finite, a position is not on the
            sphere, an ellipticity is none, or the weights are negative or all zero.
    """

    ra: np.ndarray
    dec: np.ndarray
    ellipticity: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        checks.require(self.ra.size > 0, "catalogue", "hold at least one galaxy", "an empty table")
        _check_positions(self.ra, self.dec, "catalogue")
        fix = "Remove these galaxies from the catalogue."
        for name, values in (("e1", self.ellipticity.real), ("e2", self.ellipticity.imag)):
            checks.finite(values, name, fix)
            checks.in_range(values, name, -LARGEST, LARGEST, fix)
        checks.finite(self.weight, "weight", fix)
        checks.non_negative(self.weight, "weight", fix)
        checks.require(np.any(self.weight > 0), "weight", "be positive somewhere", "only zeros")


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Positions to stack a mass map on.

    Attributes:
        name: Identifiers, strings [num_clusters].
        ra: Right ascension (degrees), shape [num_clusters].
        dec: Declination (degrees), shape [num_clusters].
        z: Redshifts, shape [num_clusters]; NaN where unknown.

    Raises:
        ValueError: If there is no cluster, or a position is not on the sphere.
    """

    name: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    z: np.ndarray

    def __post_init__(self) -> None:
        checks.require(self.ra.size > 0, "clusters", "hold at least one position", "an empty table")
        _check_positions(self.ra, self.dec, "clusters")

    def __getitem__(self, which: np.ndarray) -> "Clusters":
        """The clusters at these indices, or where this mask is true."""
        return Clusters(self.name[which], self.ra[which], self.dec[which], self.z[which])


def read_shear_catalogue(
    catalogue: Source, columns: Mapping[str, str] | None = None, flip_e2: bool = False
) -> ShearCatalogue:
    """Shear catalogue from a file or a table.

    Args:
        catalogue: Path of a FITS, HDF5 or ECSV file, or an astropy table. Columns with a unit
            of angle are converted, others are in degrees.
        columns: Names in the table for any of "ra", "dec", "e1", "e2", "weight", where they
            differ from these words. A missing "weight" means unit weights.
        flip_e2: Turn the sign of e2, for a catalogue measured with East to the right.

    Returns:
        The galaxies, as a `ShearCatalogue`.

    Raises:
        ValueError: If the file cannot be read, a column is missing, or a value is bad.
    """
    table = read_table(catalogue, "catalogue")
    chosen = dict(columns or {})
    unknown = sorted(set(chosen) - set(SHEAR_COLUMNS))
    checks.require(not unknown, "columns", f"rename any of {', '.join(SHEAR_COLUMNS)}", unknown)
    names = SHEAR_COLUMNS | chosen
    if "weight" not in chosen and "weight" not in table.colnames:
        del names["weight"]
    _check_columns(table, names.values(), "catalogue", "Name them with `columns`.")
    ellipticity = np.empty(len(table), np.complex128)
    ellipticity.real = _numbers(table[names["e1"]])
    ellipticity.imag = _numbers(table[names["e2"]]) * (-1 if flip_e2 else 1)
    weight = _numbers(table[names["weight"]]) if "weight" in names else np.ones(len(table))
    ra, dec = _degrees(table[names["ra"]]), _degrees(table[names["dec"]])
    return ShearCatalogue(ra, dec, ellipticity, weight)


def read_nz(nz: Source | Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Redshift distribution as a histogram.

    Args:
        nz: Path of a text file or table whose first two columns are the lower edge of a bin of
            redshift and the galaxies in it; or such a table; or a pair of arrays. The last
            bin is as wide as the one before it.

    Returns:
        Edges of the bins, shape [num_bins + 1], and galaxies per bin, shape [num_bins].

    Raises:
        ValueError: If the file cannot be read, the redshifts do not increase from z >= 0, or
            the counts are negative, not finite or all zero.
        TypeError: If it is neither path, table nor pair of numbers.
    """
    if isinstance(nz, tuple | list | np.ndarray):
        checks.require(len(nz) == 2, "nz", "be a pair of arrays, z and n", f"{len(nz)} of them")
        z, counts = (np.asarray(column) for column in nz)
        for column in (z, counts):
            is_real = column.dtype.kind in "biuf"
            checks.require(is_real, "nz", "hold numbers", str(column.dtype), error=TypeError)
        z, counts = z.astype(np.float64), counts.astype(np.float64)
    else:
        table = read_table(nz, "nz")
        received = f"{len(table.colnames)} columns"
        checks.require(len(table.colnames) >= 2, "nz", "have two columns, z and n", received)
        z, counts = (_numbers(table.columns[i]) for i in (0, 1))
    same = z.ndim == 1 and z.shape == counts.shape and z.size >= 2
    checks.require(same, "nz", "list at least two redshifts", f"shapes {z.shape}, {counts.shape}")
    checks.finite(z, "nz (z)")
    checks.non_negative(z[0], "nz (z)")
    received = z[max(0, int(np.argmax(np.diff(z) <= 0)) - 1) :][:4]
    checks.require(np.all(np.diff(z) > 0), "nz (z)", "increase", received, "Sort the rows by z.")
    checks.non_negative(counts, "nz (n)")
    checks.require(np.any(counts > 0), "nz (n)", "be positive somewhere", "only zeros")
    filled = np.flatnonzero(counts)
    edges = np.append(z, 2 * z[-1] - z[-2])
    first, last = filled[0], filled[-1] + 1
    return edges[first : last + 1], counts[first:last]


def read_clusters(clusters: Source) -> Clusters:
    """Clusters from a file or a table.

    Args:
        clusters: A table with columns "ra", "dec" and, where known, "id" and "z" (in any case),
            or its path; or a whitespace-separated text without column names whose columns
            1, 2, 3 and 7 are id, ra, dec and z, as X-ray group catalogues are published.

    Returns:
        The positions, as `Clusters`.

    Raises:
        ValueError: If the file cannot be read, a column is missing, or a value is bad.
    """
    table = read_table(clusters, "clusters")
    names = {name.lower(): name for name in table.colnames}
    if all(name.startswith("col") for name in names) and len(names) > max(GROUP_COLUMNS.values()):
        names = {name: table.colnames[i] for name, i in GROUP_COLUMNS.items()}
    _check_columns(table, (names.get(key, key) for key in ("ra", "dec")), "clusters")
    ra, dec = _degrees(table[names["ra"]]), _degrees(table[names["dec"]])
    number = np.arange(1, len(table) + 1)
    name = np.asarray(table[names["id"]] if "id" in names else number).astype(str)
    z = _numbers(table[names["z"]]) if "z" in names else np.full(len(table), np.nan)
    return Clusters(name, ra, dec, z)


def read_table(source: Source, name: str) -> Table:
    """The table at a path, or the table itself.

    Args:
        source: An astropy table, or the path of a file that `astropy.table` reads; a file of
            unknown kind is read as text.
        name: Name of the argument, for the message.

    Returns:
        The table, its columns plain or with a unit.

    Raises:
        ValueError: If there is no such file, or it is not a whole table.
        TypeError: If `source` is neither path nor table.
    """
    if isinstance(source, Table):
        return Table(source)  # a table of quantities as one of columns with units
    checks.require(
        isinstance(source, str | os.PathLike), name, "be a path or an astropy table",
        f"a {type(source).__name__}", error=TypeError,
    )  # fmt: skip
    path = pathlib.Path(source)
    checks.require(path.is_file(), name, "be a file that exists", str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            return _read_any(path)
    except Exception as error:  # Each format's reader fails in its own way, all mean the same.
        reason = str(error).split("\n")[0] or type(error).__name__
        rule = "be a whole table that astropy can read (FITS, HDF5, ECSV or text)"
        checks.require(False, name, rule, str(path), f"The reader says: {reason}.")
        raise


def _read_any(path: pathlib.Path) -> Table:
    """By its extension or its first bytes, else as text."""
    known = {".fits", ".fit", ".gz", ".hdf5", ".h5", ".ecsv", ".votable", ".xml", ".csv"}
    with path.open("rb") as file:
        is_binary = file.read(6).startswith((b"SIMPLE", b"\x89HDF"))
    if is_binary or path.suffix.lower() in known:
        return Table.read(path)
    header, first = "", ""
    with path.open() as lines:
        for line in filter(str.strip, lines):
            if not line.startswith("#"):
                first = line
                break
            header = line
    if not _is_numeric(first):
        return Table.read(path, format="ascii")
    # Numbers from the first row on: nothing to guess, and tabs may mix with blanks.
    table = Table.read(path, format="ascii.no_header", guess=False, delimiter=r"\s")
    names = header.strip("# \n").split()
    if len(set(names)) == len(table.colnames):
        table.rename_columns(table.colnames, names)
    return table


def _is_numeric(line: str) -> bool:
    """Whether every word of a line is a number."""
    try:
        return bool([float(word) for word in line.split()])
    except ValueError:
        return False


def _check_columns(table: Table, names: object, source: str, fix: str = "") -> None:
    """Refuse a table without these columns, telling which ones it has."""
    missing = [name for name in names if name not in table.colnames]
    listed = ", ".join(missing)
    checks.require(not missing, source, f"have columns {listed}", table.colnames, fix)


def _check_positions(ra: np.ndarray, dec: np.ndarray, source: str) -> None:
    """Refuse positions that are not on the sphere."""
    checks.finite(ra, f"{source} (ra)")
    checks.in_range(ra, f"{source} (ra)", -360.0, 360.0, "Give degrees.")
    checks.in_range(dec, f"{source} (dec)", -90.0, 90.0, "Give degrees.")


def _numbers(column: Column) -> np.ndarray:
    """A column as float64, NaN where it is masked."""
    is_plain = column.dtype.kind in "biuf" and column.ndim == 1
    received = f"{column.dtype} of shape {column.shape}"
    checks.require(is_plain, f"column {column.info.name}", "hold one number per row", received)
    return np.asarray(np.ma.filled(np.ma.asarray(column, np.float64), np.nan))


def _degrees(column: Column) -> np.ndarray:
    """A column of angles as float64 degrees."""
    values = _numbers(column)
    if column.unit is None:
        return values
    is_angle = column.unit.is_equivalent(u.deg)
    checks.require(is_angle, f"column {column.info.name}", "be an angle", str(column.unit))
    return values * column.unit.to(u.deg)
