"""Reading shear catalogues, redshift distributions and clusters."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from priors.catalogue import read_clusters, read_nz, read_shear_catalogue

X_RAY = """# a comment whose words are no column names
# ID RA DEC r500 flux z
3\t150.80244\t1.98985\t1.0\t0.70   0.16\t0.25\t0.69
9\t150.75121\t1.52793\t1.1\t1.97   0.38\t0.75\t9.62
"""


def galaxies(**changes):
    columns = {
        "ra": [150.0, 150.1, 150.2],
        "dec": [2.0, 2.1, 2.2],
        "e1": [0.1, -0.2, 0.3],
        "e2": [0.0, 0.4, -0.1],
        "weight": [1.0, 2.0, 0.5],
    }
    return Table({name: changes.get(name, values) for name, values in columns.items()})


@pytest.mark.parametrize("name", ["g.fits", "g.hdf5", "g.ecsv", "g.txt", "g.cat"])
def test_formats_agree(tmp_path, name):
    options = {"path": "table", "serialize_meta": False} if name == "g.hdf5" else {}
    if name in ("g.txt", "g.cat"):
        options = {"format": "ascii.commented_header" if name == "g.txt" else "fits"}
    galaxies().write(tmp_path / name, **options)
    read = read_shear_catalogue(tmp_path / name)
    np.testing.assert_array_equal(read.ellipticity, [0.1, -0.2 + 0.4j, 0.3 - 0.1j])
    np.testing.assert_array_equal(read.weight, [1.0, 2.0, 0.5])
    np.testing.assert_array_equal(read.dec, [2.0, 2.1, 2.2])


def test_columns_units_and_sign():
    table = galaxies()
    table["ra"] = (np.asarray(table["ra"]) * u.deg).to(u.rad)
    table.rename_columns(["dec", "weight"], ["DELTA", "w"])
    for kind in (Table, QTable):
        read = read_shear_catalogue(kind(table), {"dec": "DELTA", "weight": "w"}, flip_e2=True)
        # A rounding or two from the change of unit.
        np.testing.assert_allclose(read.ra, [150.0, 150.1, 150.2], rtol=1e-15)
        np.testing.assert_array_equal(read.ellipticity.imag, [0.0, -0.4, 0.1])
        np.testing.assert_array_equal(read.weight, [1.0, 2.0, 0.5])


def test_no_weight_means_one():
    table = galaxies()
    table.remove_column("weight")
    np.testing.assert_array_equal(read_shear_catalogue(table).weight, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"e1": [0.1, np.nan, 0.3]}, r"`e1` must be finite. Received: \[ ?0.1, +nan"),
        ({"e2": [np.inf, 0.0, 0.3]}, "`e2` must be finite"),
        ({"e1": [0.1, -99.0, 0.3]}, r"`e1` must lie in \[-10, 10\]. Received: .*Remove these"),
        ({"e2": [0.1, 0.2, 999.0]}, r"`e2` must lie in \[-10, 10\]"),
        ({"weight": [1.0, -2.0, 0.5]}, "`weight` must be non-negative"),
        ({"weight": [0.0, 0.0, 0.0]}, "`weight` must be positive somewhere"),
        ({"dec": [2.0, 91.0, 2.2]}, r"`catalogue \(dec\)` must lie in \[-90, 90\]"),
        ({"ra": [np.nan, 1.0, 2.2]}, r"`catalogue \(ra\)` must be finite"),
    ],
)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        read_shear_catalogue(galaxies(**changes))


def test_missing_columns_are_named_with_those_there_are():
    table = galaxies()
    table.rename_columns(["e1", "e2"], ["g1", "g2"])
    with pytest.raises(ValueError, match=r"have columns e1, e2. Received: \['ra', 'dec', 'g1'"):
        read_shear_catalogue(table)
    with pytest.raises(ValueError, match="`columns` must rename any of ra, dec, e1, e2, weight"):
        read_shear_catalogue(table, {"shear": "g1"})


def test_masked_values_and_empty_tables_are_refused():
    table = Table(galaxies(), masked=True)
    table["e1"].mask[1] = True
    with pytest.raises(ValueError, match="`e1` must be finite"):
        read_shear_catalogue(table)
    with pytest.raises(ValueError, match="hold at least one galaxy"):
        read_shear_catalogue(galaxies()[:0])


def test_columns_that_are_no_numbers_or_no_angles_are_refused():
    with pytest.raises(
        ValueError, match=r"`column e1` must hold one number per row. Received: '<U"
    ):
        read_shear_catalogue(galaxies(e1=["a", "b", "c"]))
    with pytest.raises(ValueError, match="`column e2` must hold one number per row"):
        read_shear_catalogue(galaxies(e2=np.zeros([3, 2])))
    table = galaxies()
    table["dec"].unit = "km"
    with pytest.raises(ValueError, match=r"`column dec` must be an angle. Received: 'km'"):
        read_shear_catalogue(table)


@pytest.mark.parametrize("keep", [0, 100, 2000, 5800])
def test_truncated_files_are_refused(tmp_path, keep):
    path = tmp_path / "g.fits"
    Table({key: np.zeros(100) for key in ("ra", "dec", "e1", "e2")}).write(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="`catalogue` must be a whole table that astropy can"):
        read_shear_catalogue(path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`catalogue` must be a file that exists"):
        read_shear_catalogue(tmp_path / "none.fits")


@pytest.mark.parametrize("kind", ["text", "named", "arrays"])
def test_nz_is_a_histogram_without_its_empty_ends(tmp_path, kind):
    z, counts = np.array([0.0, 0.1, 0.2, 0.4]), np.array([0.0, 2.0, 3.0, 0.0])
    path = tmp_path / "nz.txt"
    if kind == "text":
        np.savetxt(path, np.c_[z, counts], header="z n")
    else:
        Table({"z": z, "n": counts}).write(path, format="ascii")
    edges, read = read_nz((z, counts) if kind == "arrays" else path)
    np.testing.assert_allclose(edges, [0.1, 0.2, 0.4])
    np.testing.assert_allclose(read, [2.0, 3.0])


@pytest.mark.parametrize(
    ("z", "counts", "message"),
    [
        ([0.1, 0.3, 0.2], [1, 1, 1], r"`nz \(z\)` must increase.*Sort the rows"),
        ([0.1, np.nan, 0.2], [1, 1, 1], r"`nz \(z\)` must be finite"),
        ([-0.1, 0.1, 0.2], [1, 1, 1], r"`nz \(z\)` must be non-negative"),
        ([0.1, 0.2, 0.3], [1, -1, 1], r"`nz \(n\)` must be non-negative"),
        ([0.1, 0.2, 0.3], [1, np.inf, 1], r"`nz \(n\)` must be non-negative"),
        ([0.1, 0.2, 0.3], [0, 0, 0], r"`nz \(n\)` must be positive somewhere"),
        ([0.1], [1], "`nz` must list at least two redshifts"),
    ],
)
def test_bad_nz_is_refused(z, counts, message):
    with pytest.raises(ValueError, match=message):
        read_nz((z, counts))
    with pytest.raises(ValueError, match=message):
        read_nz([z, counts])


def test_kinds_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match="`nz` must have two columns"):
        read_nz(Table({"z": [0.1, 0.2]}))
    with pytest.raises(ValueError, match=r"`nz` must be a pair of arrays, z and n. Received: '3"):
        read_nz([0.1, 0.2, 0.3])
    with pytest.raises(TypeError, match="`nz` must hold numbers"):
        read_nz((["a", "b"], [1, 2]))
    for source, kind in ((None, "NoneType"), ({"ra": [1.0]}, "dict")):
        message = f"`catalogue` must be a path or an astropy table. Received: 'a {kind}'"
        with pytest.raises(TypeError, match=message):
            read_shear_catalogue(source)


def test_clusters_by_position_and_by_name(tmp_path):
    path = tmp_path / "groups.txt"
    path.write_text(X_RAY)
    by_position = read_clusters(path)
    table = Table({"ID": [3, 9], "RA": [150.80244, 150.75121], "Dec": [1.98985, 1.52793]})
    by_name = read_clusters(table)
    for read in (by_position, by_name):
        assert list(read.name) == ["3", "9"]
        np.testing.assert_array_equal(read.ra, [150.80244, 150.75121])
        np.testing.assert_array_equal(read.dec, [1.98985, 1.52793])
    np.testing.assert_array_equal(by_position.z, [0.25, 0.75])
    assert np.isnan(by_name.z).all()


def test_clusters_without_positions_are_refused():
    with pytest.raises(ValueError, match="`clusters` must have columns ra"):
        read_clusters(Table({"x": [1.0], "dec": [2.0]}))
    with pytest.raises(ValueError, match="hold at least one position"):
        read_clusters(Table({"ra": np.zeros(0), "dec": np.zeros(0)}))
