"""`python -m priors map`: files, numbers and refusals."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from flowpm_ext.version import __version__
from priors import posterior_estimators
from priors.__main__ import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZE = "--pixel-size-arcmin=3"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of a simulated survey and its map."""
    out = tmp_path_factory.mktemp("demo")
    assert (
        main(
            [
                "map",
                "--simulate",
                "--method=lognormal",
                "--out",
                str(out),
                "--seed=1",
                SIZE,
                "--num-samples=8",
            ]
        )
        == 0
    )
    return out


def in_a_process(*words):
    # A plain environment, as on a terminal, not the quiet one of the tests.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    command = [sys.executable, "-m", "priors", *words]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=300)


def refusal(capsys, *words):
    """The one line on standard error of a run that ends with exit code 2."""
    try:
        code = main(["map", *map(str, words)])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and "error: " in printed.err
    return printed.err


def test_report_holds_the_numbers(demo):
    report = json.loads((demo / "report.json").read_text())
    assert report["version"] == __version__
    assert (
        report["config"]["seed"] == 1
        and report["config"]["catalogue"] == "simulated_catalogue.fits"
    )
    survey = report["survey"]
    assert survey["galaxies"] == len(Table.read(demo / "simulated_catalogue.fits"))
    assert survey["masked_fraction"] == pytest.approx(1 - survey["observed_fraction"])
    clusters = report["clusters"]
    assert (
        clusters["given"]
        == clusters["stacked"]
        == len(Table.read(demo / "simulated_clusters.ecsv"))
    )
    assert 0 < clusters["on_observed_pixels"] <= clusters["stacked"]
    assert clusters["e_signal_to_noise"] > 8 > abs(clusters["b_signal_to_noise"])
    assert 1 <= len(report["peaks"]) <= 10
    assert set(report["peaks"][0]["nearest_cluster"]) == {"id", "arcmin"}
    assert report["truth"]["rms_error"] < report["truth"]["rms_of_truth"]


def test_maps_have_coordinates_and_the_configuration(demo):
    with fits.open(demo / "mass_map.fits") as file:
        names = [hdu.name for hdu in file[1:]]
        assert names == [
            "KAPPA_E", "KAPPA_B", "STD", "GAMMA1", "GAMMA2", "NOISE", "COUNTS", "MASK", "TRUTH",
            "SAMPLES",
        ]  # fmt: skip
        assert file["SAMPLES"].data.shape == (8, *file["KAPPA_E"].data.shape)
        assert file["COUNTS"].data.sum() == len(Table.read(demo / "simulated_catalogue.fits"))
        config = json.loads(file[0].header["CONFIG"])
        assert config["prior"] == "wiener" and file[0].header["SEED"] == 1
        assert __version__ in file[0].header["ORIGIN"]
        wcs = WCS(file["KAPPA_E"].header)
        peak = json.loads((demo / "report.json").read_text())["peaks"][0]
        x, y = wcs.wcs_world2pix(peak["ra"], peak["dec"], 0)
        value = file["KAPPA_E"].data[round(float(y)), round(float(x))]
        assert value == pytest.approx(peak["kappa"], rel=1e-6)  # stored in float32


def test_figure_is_a_picture(demo):
    assert (demo / "mass_map.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list(demo.glob(".*"))


def test_the_files_of_the_demo_make_the_same_map(demo, tmp_path, capsys):
    words = ["map", str(demo / "simulated_catalogue.fits"), "--nz", str(demo / "simulated_nz.ecsv")]
    words += ["--clusters", str(demo / "simulated_clusters.ecsv"), "--out", str(tmp_path), SIZE]
    for _ in range(2):  # a second time into the same folder
        assert main([*words, "--prior=ks", "--cosmology=planck15"]) == 0
    assert "Highest peak" in capsys.readouterr().out
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["clusters.png", "mass_map.fits", "mass_map.png", "report.json"]
    assert "truth" not in json.loads((tmp_path / "report.json").read_text())


def test_clusters_off_the_map_are_counted(demo, tmp_path, capsys):
    clusters = Table.read(demo / "simulated_clusters.ecsv")[:3]
    clusters["ra"][0] += 5.0
    clusters.write(tmp_path / "clusters.ecsv")
    words = ["map", str(demo / "simulated_catalogue.fits"), "--prior=ks", SIZE]
    words += ["--clusters", str(tmp_path / "clusters.ecsv"), "--out", str(tmp_path)]
    assert main(words) == 0
    assert "Stack on 2 of 3 clusters, " in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())["clusters"]
    assert (found["given"], found["stacked"]) == (3, 2)
    with fits.open(tmp_path / "mass_map.fits") as file:
        wcs, mask = WCS(file["MASK"].header), file["MASK"].data
    x, y = wcs.wcs_world2pix(clusters["ra"][1:], clusters["dec"][1:], 0)
    observed = mask[np.rint(y).astype(int), np.rint(x).astype(int)]
    assert found["on_observed_pixels"] == observed.sum()


def test_help_is_quick_because_tensorflow_is_not_imported():
    done = in_a_process("map", "--help")
    assert done.returncode == 0 and "--clusters FILE" in done.stdout
    program = (
        "import sys, priors.__main__ as m; m.build_parser(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_run_says_nothing_but_its_result(demo, tmp_path):
    done = in_a_process(
        "map",
        str(demo / "simulated_catalogue.fits"),
        "--prior=ks",
        "--out",
        str(tmp_path / "out"),
        SIZE,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.filterwarnings("default")
def test_a_map_that_is_not_solved_for_is_told(tmp_path, capsys):
    words = ["map", "--simulate", "--out", str(tmp_path), SIZE, "--max-iterations=2"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "NOT converged in 2 iterations to" in printed.out
    assert all(line.startswith("priors map: warning: The") for line in printed.err.splitlines())
    assert "Raise `max_iterations`" in printed.err
    assert json.loads((tmp_path / "report.json").read_text())["survey"]["converged"] is False


def test_bare_command_with_a_learned_prior(tmp_path, monkeypatch):
    """No draws are asked for and no nulls: peaks are compared with draws all the same."""
    rng = np.random.default_rng(0)
    ra, dec = (centre + rng.uniform(-0.1, 0.1, 2000) for centre in (150, 2))
    e1, e2 = 0.3 * rng.normal(size=(2, 2000))
    Table({"ra": ra, "dec": dec, "e1": e1, "e2": e2}).write(tmp_path / "catalogue.fits")
    quick = posterior_estimators.METHOD | {"num_chains": 4, "num_warmup": 1, "num_leapfrog": 2}
    monkeypatch.setattr(posterior_estimators, "METHOD", quick)
    monkeypatch.setattr(posterior_estimators, "NUM_SAMPLES", 4)
    out = tmp_path / "out"
    words = ["map", str(tmp_path / "catalogue.fits"), "--prior=learned", "--padding-arcmin=1"]
    assert main([*words, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        "mass_map.fits", "mass_map.png", "report.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "size"),
    [((), 0.29), (("--prior=learned",), 1.0), (("--prior=learned", "--pixel-size-arcmin=2"), 2.0)],
)
def test_simulated_survey_has_the_pixels_of_its_prior(tmp_path, capsys, monkeypatch, words, size):
    def simulate_survey(pixel_size_arcmin, *rest):
        raise ValueError(f"pixels of {pixel_size_arcmin}")

    monkeypatch.setattr("priors.simulated_survey.simulate_survey", simulate_survey)
    message = refusal(capsys, "--simulate", "--out", tmp_path, *words)
    assert message.endswith(f"pixels of {size}\n")


def test_bad_catalogues_are_refused_in_one_line(demo, tmp_path, capsys):
    good = Table.read(demo / "simulated_catalogue.fits")
    out = tmp_path / "out"
    paths = {name: tmp_path / f"{name}.fits" for name in ("columns", "nan", "empty", "cut")}
    Table({"RA": good["ra"], "dec": good["dec"]}).write(paths["columns"])
    bad = good.copy()
    bad["e1"][7] = np.nan
    bad.write(paths["nan"])
    good[:0].write(paths["empty"])
    whole = (demo / "simulated_catalogue.fits").read_bytes()
    paths["cut"].write_bytes(whole[: len(whole) // 2])
    expected = {
        "columns": "have columns ra, e1, e2. Received: ['RA', 'dec']",
        "nan": "`e1` must be finite. Received: '1 of",
        "empty": "hold at least one galaxy",
        "cut": "be a whole table",
    }
    for name, message in expected.items():
        assert message in refusal(capsys, paths[name], "--prior=ks", "--out", out)
    assert "file that exists" in refusal(capsys, tmp_path / "no.fits", "--out", out)
    assert not out.exists()


def test_bad_options_are_refused_in_one_line(demo, tmp_path, capsys):
    catalogue, out = demo / "simulated_catalogue.fits", tmp_path / "out"
    nz = tmp_path / "nz.txt"
    nz.write_text("0.1 1\n0.3 1\n0.2 1\n")
    far = tmp_path / "far.ecsv"
    Table({"id": ["x"], "ra": [10.0], "dec": [50.0]}).write(far)
    ks = (catalogue, "--prior=ks", "--out", out)
    assert "`nz` must be given" in refusal(capsys, catalogue, "--out", out, SIZE)
    assert "`nz (z)` must increase" in refusal(capsys, catalogue, "--out", out, SIZE, "--nz", nz)
    assert "`clusters` must have a position" in refusal(capsys, *ks, SIZE, "--clusters", far)
    assert "leave at least 8 pixels" in refusal(capsys, *ks, "--pixel-size-arcmin=90")
    assert "leave at most 4096 pixels" in refusal(capsys, *ks, "--pixel-size-arcmin=1e-4")
    assert "invalid float value" in refusal(capsys, *ks, "--pixel-size-arcmin=small")
    assert "must read like ra=RA" in refusal(capsys, *ks, "--columns", "ra")
    assert "have columns RA" in refusal(capsys, *ks, "--columns", "ra=RA")
    assert "invalid choice: 'flat'" in refusal(capsys, catalogue, "--prior=flat", "--out", out)
    assert "`CATALOGUE` must be given" in refusal(capsys, "--out", out)
    simulate = ("--simulate", "--out", out)
    assert "must come without CATALOGUE: it makes" in refusal(capsys, catalogue, *simulate)
    given = ("--clusters", far, "--flip-e2", "--columns", "ra=RA")
    message = "`--simulate` must come without --clusters, --columns, --flip-e2: it makes its"
    assert message in refusal(capsys, *simulate, *given)
    assert "--out" in refusal(capsys, catalogue)
    assert "folder that can be written" in refusal(capsys, catalogue, "--out", nz / "below")
    assert not out.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_and_no_traceback(tmp_path, number):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "priors", "map", "--simulate", "--out", str(out)]
    # Background jobs of a shell ignore Ctrl-C, and so would this one if the tests are such a job.
    run = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(out.glob(".partial-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(number)
    _, printed = run.communicate(timeout=60)
    assert run.returncode == (130 if number == signal.SIGINT else 143)
    assert printed.count("\n") == (1 if number == signal.SIGINT else 0)
    assert not out.exists()
