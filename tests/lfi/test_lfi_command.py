"""`python -m lfi`: from simulations to a posterior, and what is refused."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lfi import dataset
from lfi.__main__ import build_parser, main
from lfi.chains import Chains
from lfi.dataset import Simulations
from lfi.saving import load_estimator

SIGMA = 0.5
SLOPES = np.array([[1.0, 0.3], [-0.4, 0.9], [0.5, 0.5]])
TRUTH = np.array([0.3, 0.8])
BOX = ["--low", "-1", "0", "--high", "1", "2"]
PNG = b"\x89PNG\r\n\x1a\n"


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def simulated(num, seed):
    rng = np.random.default_rng(seed)
    theta = rng.uniform([-1, 0], [1, 2], (num, 2))
    return {"theta": theta, "x": theta @ SLOPES.T + SIGMA * rng.normal(size=(num, 3))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Simulations, an observation and trained estimators of both kinds."""
    folder = tmp_path_factory.mktemp("command")
    write(folder / "train.h5", names=["a", "sigma8"], **simulated(900, 0))
    write(folder / "held.h5", **simulated(60, 1))
    x_obs = SLOPES @ TRUTH + SIGMA * np.array([0.3, -0.5, 0.2])
    write(folder / "obs.h5", x=x_obs, truth=TRUTH)
    for method, epochs in (("npe", 40), ("nle", 25)):
        words = ["train", folder / "train.h5", "--output", folder / method, "--method", method]
        assert run(*words, *BOX, "--density=mdn", "--members=1", f"--epochs={epochs}") == 0
    return folder


def run(*words):
    return main([str(word) for word in words])


def refusal(capsys, *words):
    """The one line on standard error of a run that ends with exit code 2."""
    capsys.readouterr()
    try:
        code = run(*words)
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and "error: " in printed.err
    assert len(printed.err) < 700
    return printed.err


def exact(x_obs):
    """Mean and standard deviations of the posterior on a fine grid."""
    a, b = np.meshgrid(np.linspace(-1, 1, 400), np.linspace(0, 2, 400), indexing="ij")
    grid = np.stack([a, b], -1).reshape(-1, 2)
    weight = np.exp(-0.5 * np.sum((x_obs - grid @ SLOPES.T) ** 2, 1) / SIGMA**2)
    mean = np.average(grid, axis=0, weights=weight)
    return mean, np.sqrt(np.average((grid - mean) ** 2, axis=0, weights=weight))


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_posterior_is_near_the_exact_one(folder, method, tmp_path, capsys):
    root = tmp_path / "new" / "posterior"
    words = ["sample", folder / method, "--observation", folder / "obs.h5", "--num", 2000]
    assert run(*words, "--output", root) == 0
    printed = capsys.readouterr().out
    assert "of simulations are as strange as the observation" in printed.splitlines()[0]
    assert ("R-hat at most" in printed) == (method == "nle")
    chains = Chains.read_hdf5(f"{root}.h5")
    assert chains.names == ("a", "sigma8") and chains.samples.shape == (2000, 2)
    mean, std = exact(h5py.File(folder / "obs.h5")["x"][()])
    # 900 simulations and a short training leave some tenths of a standard deviation.
    assert np.all(np.abs(chains.mean - mean) < 0.5 * std)
    np.testing.assert_allclose(chains.std, std, rtol=0.3)
    np.testing.assert_array_equal(chains.bounds, [[-1, 1], [0, 2]])
    rows = np.loadtxt(f"{root}.txt")
    np.testing.assert_allclose(rows[:, 2:], chains.samples, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(rows[:, 1], -chains.log_prob, rtol=1e-6, atol=1e-6)
    assert (root.parent / "posterior.png").read_bytes()[:8] == PNG


@pytest.mark.filterwarnings("always")
def test_strange_observation_is_named(folder, tmp_path, capsys):
    np.savetxt(tmp_path / "obs.txt", SLOPES @ TRUTH + [0, 0, 9])
    words = ["sample", folder / "npe", "--observation", tmp_path / "obs.txt", "--num", 50]
    assert run(*words, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "lfi sample: warning: " in printed.err and "the summary x_2 is most off" in printed.err


def test_same_seed_same_draws(folder, tmp_path):
    np.save(tmp_path / "obs.npy", (SLOPES @ TRUTH)[None])  # with an axis for one observation
    draws = []
    for seed in (1, 1, 2):
        words = ["--observation", tmp_path / "obs.npy", "--seed", seed, "--num", 50]
        root = tmp_path / "same"
        assert run("sample", folder / "npe", *words, "--output", root, "--overwrite") == 0
        draws.append(Chains.read_hdf5(f"{root}.h5").samples)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.01


@pytest.mark.parametrize("method", ["npe", "nle"])
def test_diagnosis_is_that_of_a_calibrated_posterior(folder, method, tmp_path, capsys):
    out = tmp_path / "diagnosis"
    words = ["--data", folder / "held.h5", "--num", 60, "--draws", 60, "--output", out]
    assert run("diagnose", folder / method, *words) == 0
    printed = capsys.readouterr().out
    assert "TARP: ATC" in printed and "sigma8" in printed
    report = json.loads((out / "diagnosis.json").read_text())
    assert report["num_observations"] == 60 and report["names"] == ["a", "sigma8"]
    # Of 60, 68 % is known to 0.06; four of those.
    np.testing.assert_allclose(report["coverage"][0], 0.68, atol=0.24)
    assert report["joint"][0] == pytest.approx(0.68, abs=0.24)
    # One of a thousand exact posteriors would be refused.
    assert report["tarp_p_value"] > 1e-3
    for name in ("coverage.png", "ranks.png"):
        assert (out / name).read_bytes()[:8] == PNG


def test_estimator_is_saved_with_its_loss(folder):
    estimator = load_estimator(folder / "npe")
    assert estimator.prior.names == ["a", "sigma8"]
    assert len(estimator.x) == 900 and len(estimator.ensemble.histories[0]["loss"]) <= 40
    assert (folder / "npe" / "loss.png").read_bytes()[:8] == PNG


def test_vectors_are_compressed_and_taken_on(folder, tmp_path, capsys):
    path, box = tmp_path / "summaries.h5", {"low": [-1, 0], "high": [1, 2]}
    data = write(tmp_path / "data.h5", **simulated(300, 3), **box)
    words = ["compress", data, "--network=dense", "--loss=gnll", "--noise=0.1", "--split=0.6"]
    assert run(*words, "--epochs=15", "--output", path) == 0
    assert "nats about the parameters" in capsys.readouterr().out
    found = dataset.read_simulations(path)
    assert found.x.shape == (120, 2) and found.low.tolist() == [-1, 0]
    # What is left of the parameters are simulations of the file, in its order.
    every = dataset.read_simulations(data).theta
    places = [int(np.flatnonzero((every == row).all(1))[0]) for row in found.theta]
    assert places == sorted(set(places))
    # Summaries of a trained network say something: the first parameter can be read off them.
    fit = np.linalg.lstsq(np.c_[found.x, np.ones(120)], found.theta, rcond=None)[0]
    rest = found.theta - np.c_[found.x, np.ones(120)] @ fit
    assert np.all(rest.std(0) < 0.9 * found.theta.std(0))
    assert (tmp_path / "summaries_loss.png").read_bytes()[:8] == PNG
    # The trained compressor gives the same again, for the same split and seed.
    trained = ["--compressor", tmp_path / "summaries_compressor.keras"]
    again = tmp_path / "again.h5"
    assert run("compress", data, *trained, "--split=0.6", "--output", again) == 0
    np.testing.assert_allclose(dataset.read_simulations(again).x, found.x, atol=1e-5)
    # An observation has its own noise.
    observed = tmp_path / "observed.h5"
    assert run("compress", folder / "obs.h5", *trained, "--output", observed) == 0
    summaries = dataset.read_observation(observed)
    assert summaries.x.shape == (2,) and np.allclose(summaries.truth, TRUTH)
    # The box of the file is the prior.
    words = ["train", path, "--density=mdn", "--members=1", "--epochs=1"]
    assert run(*words, "--output", tmp_path / "est") == 0
    assert load_estimator(tmp_path / "est").prior.high.tolist() == [1, 2]
    line = refusal(capsys, "compress", folder / "train.h5", *trained, "--noise=3",
                   "--output", tmp_path / "x.h5")  # fmt: skip
    assert "`noise` must be left out" in line and "trained with 0.1" in line


@pytest.mark.slow
@pytest.mark.parametrize("network", ["cnn", "resnet"])
def test_maps_are_compressed(network, tmp_path):
    rng = np.random.default_rng(0)
    theta = rng.uniform(-1, 1, (600, 1))
    x = theta[:, :, None, None] + rng.normal(size=(600, 16, 16, 2))
    data = write(tmp_path / "maps.h5", theta=theta, x=x, low=[-1], high=[1])
    words = ["compress", data, "--network", network, "--noise=0.5", "--epochs=20"]
    assert run(*words, "--output", tmp_path / "out.h5") == 0
    found = dataset.read_simulations(tmp_path / "out.h5")
    # The mean over pixels has an error of 0.05 on a range of 2; a short training gets near it.
    assert abs(np.corrcoef(found.x[:, 0], found.theta[:, 0])[0, 1]) > 0.9
    trained = ["--compressor", tmp_path / "out_compressor.keras"]
    np.save(tmp_path / "observed.npy", x[0])
    words = ["compress", tmp_path / "observed.npy", *trained]
    assert run(*words, "--output", tmp_path / "observed.h5") == 0
    assert dataset.read_observation(tmp_path / "observed.h5").x.shape == (1,)


def test_maps_of_a_folder_are_read(tmp_path):
    from flowpm_ext import hdf5
    from flowpm_ext.lensing.shards import FORMAT_VERSION, KIND

    rng = np.random.default_rng(0)
    maps, theta = rng.normal(size=(4, 8, 8, 2)), rng.uniform(0.2, 0.4, (4, 2))
    prior = {"Omega_c": [0.2, 0.4], "sigma8": [0.1, 0.5]}
    datasets = {
        "convergence": (maps.astype(np.float32), {}),
        "theta": (theta, {"names": json.dumps(["sigma8", "Omega_c"])}),
        "index": (np.arange(4), {}),
    }
    attributes = {"identity": json.dumps({"prior": prior})}
    hdf5.write(tmp_path / "maps_00000.h5", KIND, FORMAT_VERSION, datasets, attributes)
    found = dataset.read_simulations(tmp_path)
    np.testing.assert_allclose(found.x, maps, rtol=1e-6)
    assert found.names == ("sigma8", "Omega_c")
    np.testing.assert_allclose([found.low, found.high], [[0.1, 0.2], [0.5, 0.4]], rtol=1e-6)


@pytest.mark.parametrize("how", ["attribute", "json", "theta", "array"])
def test_names_may_stand_in_several_places(how, tmp_path):
    path = write(tmp_path / "data.h5", **simulated(5, 0))
    with h5py.File(path, "a") as file:
        if how == "array":
            file["names"] = ["a", "b"]
        else:
            place = file["theta"] if how == "theta" else file
            place.attrs["names"] = json.dumps(["a", "b"]) if how == "json" else ["a", "b"]
    assert dataset.read_simulations(path).names == ("a", "b")


def test_written_simulations_come_back(tmp_path):
    arrays = {name: np.float32(values) for name, values in simulated(5, 0).items()}
    before = Simulations(**arrays, names=("a", "b"), low=np.float32([-1, 0]))
    dataset.write_simulations(tmp_path / "data.h5", before)
    after = dataset.read_simulations(tmp_path / "data.h5")
    np.testing.assert_array_equal(after.x, before.x)
    assert after.names == ("a", "b") and after.low.tolist() == [-1, 0] and after.high is None


def test_what_is_there_is_kept(folder, tmp_path, capsys):
    words = ["train", folder / "train.h5", "--output", folder / "npe", *BOX]
    assert "`output` must be new" in refusal(capsys, *words)
    (tmp_path / "out.png").touch()
    words = ["sample", folder / "npe", "--observation", folder / "obs.h5"]
    line = refusal(capsys, *words, "--output", tmp_path / "out")
    assert "out.png" in line and "--overwrite" in line
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_bad_input_is_one_line(folder, tmp_path, capsys):
    train, new = folder / "train.h5", ["--output", tmp_path / "out"]
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    broken = tmp_path / "obs.npy"
    np.save(broken, [1.0, np.nan, 0.0])
    np.savetxt(tmp_path / "short.txt", [1.0, 2.0])
    (tmp_path / "words.txt").write_text("one two")
    arrays = simulated(200, 0)
    odd_truth = write(tmp_path / "truth.h5", x=np.zeros(3), truth=[1.0])
    maps = write(tmp_path / "maps.h5", theta=arrays["theta"], x=np.zeros([200, 4, 4]))
    odd = write(tmp_path / "odd.h5", theta=arrays["theta"][:9], x=arrays["x"])
    holes = write(tmp_path / "holes.h5", **arrays | {"x": np.full([200, 3], np.nan)})
    few = write(tmp_path / "few.h5", **simulated(10, 5))
    sample = ["sample", folder / "npe", *new, "--observation"]
    diagnose = ["diagnose", folder / "npe", *new, "--data"]
    for words, message in (
        (["train", tmp_path / "none.h5", *new, *BOX], "`DATA` must be a file"),
        (["train", text, *new, *BOX], "`DATA` must be an HDF5 file"),
        (["train", folder / "obs.h5", *new, *BOX], "`DATA` must hold theta"),
        (["train", odd, *new, *BOX], "as many rows"),
        (["train", train, *new], "`--low` must be given"),
        (["train", train, *new, "--low", "0", "--high", "1"], "`--low` must be 2 numbers"),
        (["train", train, *new, "--low", "0", "1", "--high", "0", "1"], "`low` must be below"),
        (["train", train, *new, "--low", "0", "0", "--high", "1", "1"], "inside of the prior"),
        (["train", train, *new, *BOX, "--density=nsf"], "`density` must be one of"),
        (["train", train, *new, *BOX, "--members=0"], "`num_members` must be"),
        (["train", maps, *new, *BOX], "Compress maps first"),
        (["train", train, *new, "--method=abc"], "invalid choice"),
        ([*sample, tmp_path / "none.h5"], "`observation` must be a file"),
        ([*sample, broken], "`x_obs` must be finite"),
        ([*sample, tmp_path / "short.txt"], "`observation` must have shape (3,)"),
        ([*sample, tmp_path / "words.txt"], "must be an array of numbers"),
        ([*sample, odd_truth], "`truth` must have shape (2,)"),
        ([*sample, text], "must be an HDF5 file"),
        ([*sample, folder / "obs.h5", "--num=0"], "`num` must be a positive"),
        (["sample", tmp_path, *sample[2:], broken], "has no estimator.json"),
        ([*diagnose, train], "must hold what was not trained on"),
        ([*diagnose, few], "at least 40 simulations"),
        ([*diagnose, maps], "`x_obs` must have shape"),
        (["compress", maps, *new], "sides of at least 16 pixels"),
        (["compress", train, *new], "--network dense"),
        (["compress", few, *new, "--network=dense"], "leave 20 simulations"),
        (["compress", train, *new, "--network=dense", "--split=2"], "`split` must lie in"),
        (["compress", train, *new, "--network=dense", "--noise=-1"], "`noise` must be positive"),
        (["compress", holes, *new, "--network=dense"], "`x` must be finite"),
        (["compress", folder / "obs.h5", *new, "--compressor", text, "--noise=1"], "has its own"),
        (["compress", folder / "obs.h5", *new], "For an observation give --compressor"),
        (["compress", train, *new, "--compressor", text], "must be a .keras file of a Compressor"),
        ([], "required: COMMAND"),
    ):  # fmt: skip
        assert message in refusal(capsys, *words), words
        assert not (tmp_path / "out").exists()


def test_help_needs_no_tensorflow():
    code = "import sys; from lfi.__main__ import build_parser; build_parser().format_help(); "
    code += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    for command in ("compress", "train", "sample", "diagnose"):
        with pytest.raises(SystemExit):
            build_parser().parse_args([command, "--help"])
