"""The command `lightcone`: words to maps, and refusals in one line."""

import numpy as np
import pytest

from flowpm_ext.__main__ import main
from flowpm_ext.lensing import MapDataset
from flowpm_ext.lightcone_command import parse_nz, parse_range

# Tests simulate on few cells.
pytestmark = pytest.mark.filterwarnings("ignore:A pixel of:flowpm_ext.lensing.FinePixelWarning")

WORDS = ["--nz", "delta:0.5", "--method", "lognormal", "--num-pixels", "8"]


def run(*words):
    try:
        return main(["lightcone", *map(str, words)])
    except SystemExit as end:
        return end.code


def test_maps_are_made_and_added_to(tmp_path, capsys):
    out = tmp_path / "maps"
    options = (*WORDS, "--prior", "sigma8=0.7:0.9", "--maps-per-shard", 2, "--out", out)
    assert run("--num-maps", 2, *options) == 0
    assert run("--num-maps", 3, *options) == 0
    assert capsys.readouterr().out.endswith(f"{out}: 3 maps of 3\n")
    maps = MapDataset(out)
    assert maps.names == ("sigma8",) and maps.num_maps == 3
    assert np.all((maps.theta > 0.7) & (maps.theta < 0.9))


def test_options_of_simulations_reach_them(tmp_path):
    words = ("--num-maps", 1, "--nz", "delta:0.2", "--num-pixels", 8, "--mesh", 8, "--steps", 2)
    words += ("--integrator", "bullfrog")
    assert run(*words, "--out", tmp_path / "blunt") == 0
    assert run(*words, "--sharpening", "0.1,0.01,0.1,-1", "--out", tmp_path / "sharp") == 0
    blunt, sharp = (MapDataset(tmp_path / name) for name in ("blunt", "sharp"))
    assert blunt.map_shape == sharp.map_shape == (8, 8, 1)
    maps = [each.read(np.array([0]))[0] for each in (blunt, sharp)]
    assert np.std(maps[0] - maps[1]) > 1e-3 * np.std(maps[0])


def test_files_of_redshifts(tmp_path):
    path = tmp_path / "nz.txt"
    np.savetxt(path, np.transpose([[0.0, 0.1, 0.2], [0.0, 1.0, 1.0]]), header="z n")
    nz = parse_nz(str(path))
    assert float(nz.mean()) == pytest.approx(0.2)
    assert float(parse_nz("smail:2,1.5,0.5").mean()) > 0.5
    assert parse_range("w0=-1.2:-0.8") == ("w0", (-1.2, -0.8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--nz", "smail:1"), "`nz` must give 3 numbers for smail"),
        (("--nz", "nowhere.txt"), "`nz` must be a file, or begin with one of"),
        (("--sharpening", "0.1"), "`sharpening` must be four numbers"),
        (("--prior", "sigma8"), "`prior` must read like sigma8=0.6:1"),
        (("--prior", "s8=0:1"), "`prior` must be one of"),
        (("--num-maps", "0"), "`num_maps` must be a positive integer"),
        (("--num-workers", "0"), "`num_workers` must be a positive integer"),
        (("--mesh", "16"), '`mesh_shape` must be left out with method="lognormal"'),
        (("--steps", "0"), "`steps` must be positive"),
        (("--method", "full"), "invalid choice"),
    ],
)
def test_refusals_are_one_line(tmp_path, capfd, change, words):
    assert run("--num-maps", 1, *WORDS, *change, "--out", tmp_path) == 2
    error = capfd.readouterr().err
    assert words in error and error.count("\n") == 1
