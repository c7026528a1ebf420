"""One door to three methods, their products, and what is refused."""

import json

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
import rim
from rim import presets, product, reconstruction
from rim.__main__ import main, read_problem
from rim.checkpoint import Checkpoint
from rim.observation import _painted, read_observation
from rim.reconstruction import load_machine, reconstruct

COSMO = fpm.Planck15()


@pytest.fixture(scope="module")
def problem():
    return rim.preset("matter", 16)


@pytest.fixture(scope="module")
def pair(problem):
    return problem.simulate(5)


@pytest.fixture(scope="module")
def machine(problem):
    keras.utils.set_random_seed(0)
    return rim.CosmicRIM(problem, 3, (4, 4))


@pytest.fixture(scope="module")
def weights(machine, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.keras"
    machine.save(path)
    return path


def quietly(problem, y, method, weights=None, **options):
    return rim.reconstruct(problem, y, method, weights, progress=False, **options)


@pytest.mark.parametrize("method", ["rim", "map"])
def test_product_holds_what_was_found(problem, pair, weights, method, tmp_path):
    truth, y = pair
    found = quietly(problem, y, method, weights, truth=truth)
    assert found.num_gradients == {"rim": 3, "map": 24}[method]
    np.testing.assert_array_equal(found.x, found.trajectory[:, -1])
    np.testing.assert_allclose(found.final, problem.model(tf.constant(found.x)), atol=1e-3)
    # What the displacement says, painted, is the final field.
    position = problem.mesh.lattice() + found.displacement.reshape(1, -1, 3) / 6.25
    np.testing.assert_allclose(problem.mesh.paint(position) - 1, found.final, atol=2e-3)
    report = product.write(found, tmp_path)
    kept = product.read(tmp_path / "reconstruction.h5")
    np.testing.assert_array_equal(kept["initial"], found.x)
    np.testing.assert_array_equal(kept["truth"], truth)
    assert kept["report"] == report == json.loads((tmp_path / "report.json").read_text())
    again = rim.InitialConditions.from_config(kept["problem"])
    assert not presets.differences(again, problem)
    for name in ("slices", "agreement", "trajectory"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    np.testing.assert_allclose(report["r"], found.agreement()["r"])
    assert "gradients" in product.summary(report)


def test_samples_have_the_spread_of_the_posterior(tmp_path):
    """Of a linear model, where mean and variance of the posterior are known."""
    problem = rim.InitialConditions(COSMO, 8, 50.0, "linear", noise_std=1.0)
    _, y = problem.simulate(1)
    found = quietly(problem, y, "hmc", num_samples=150, num_warmup=60, num_chains=4)
    mean = rim.wiener_filter(problem, y)
    square = problem.spread(tf.float64) ** 2 * problem.mesh.mode_weights()
    spread = float(tf.reduce_sum(square)) / 8**3
    variance = found.samples.var(axis=(0, 1)).mean()
    # 512 cells, and as many draws: a variance is known to some percent.
    assert variance == pytest.approx(spread, rel=0.05)
    error = np.mean((found.x - mean) ** 2)
    assert error < 0.05 * spread
    numbers = found.convergence()
    assert numbers["worst_r_hat"] < 1.2
    assert numbers["median_ess"] > 100
    product.write(found, tmp_path)
    assert product.read(tmp_path / "reconstruction.h5")["samples"].shape == (150, 4, 8, 8, 8)


def test_interrupted_run_goes_on(problem, pair, weights, tmp_path, monkeypatch):
    _, y = pair
    options = {"num_samples": 50, "num_warmup": 5, "num_chains": 2}
    whole = quietly(problem, y, "hmc", weights, **options)
    sampler, calls = reconstruction.sample_posterior, []

    def stopped(*args, **kwargs):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return sampler(*args, **kwargs)

    monkeypatch.setattr(reconstruction, "sample_posterior", stopped)
    with pytest.raises(KeyboardInterrupt):
        quietly(problem, y, "hmc", weights, checkpoint=tmp_path, **options)
    assert len(list(tmp_path.glob("unfinished-*/*.npz"))) == 2
    monkeypatch.setattr(reconstruction, "sample_posterior", sampler)
    parts = quietly(problem, y, "hmc", weights, checkpoint=tmp_path, **options)
    np.testing.assert_allclose(parts.samples, whole.samples, atol=1e-4)
    assert parts.num_gradients == whole.num_gradients
    product.write(parts, tmp_path)
    assert not list(tmp_path.glob("unfinished-*"))


def test_search_is_not_repeated(problem, pair, tmp_path, monkeypatch):
    first = quietly(problem, pair[1], "map", checkpoint=tmp_path)
    monkeypatch.setattr(reconstruction, "map_estimate", None)
    second = quietly(problem, pair[1], "map", checkpoint=tmp_path)
    np.testing.assert_array_equal(first.x, second.x)
    # Of another observation nothing is known.
    with pytest.raises(TypeError):
        quietly(problem, 2 * pair[1], "map", checkpoint=tmp_path)


def test_interrupted_search_goes_on_at_its_scale(problem, pair, tmp_path, monkeypatch):
    whole = quietly(problem, pair[1], "map")
    search, asked = reconstruction.map_estimate, []

    def stopped(*args, on_scale, **options):
        def twice(example, scale, x):
            on_scale(example, scale, x)
            if scale == 0.5:
                raise KeyboardInterrupt

        return search(*args, on_scale=twice, **options)

    def watched(problem, y, scales, *args, **options):
        asked.append(scales)
        return search(problem, y, scales, *args, **options)

    monkeypatch.setattr(reconstruction, "map_estimate", stopped)
    with pytest.raises(KeyboardInterrupt):
        quietly(problem, pair[1], "map", checkpoint=tmp_path)
    monkeypatch.setattr(reconstruction, "map_estimate", watched)
    parts = quietly(problem, pair[1], "map", checkpoint=tmp_path)
    assert asked == [(0.0,)]
    np.testing.assert_allclose(parts.x, whole.x, atol=1e-3)
    assert parts.num_gradients == whole.num_gradients


def test_machine_comes_back_with_its_problem(problem, pair, machine, weights):
    again = load_machine(weights)
    assert not presets.differences(again.problem, problem)
    np.testing.assert_allclose(again(pair[1]), machine(pair[1]), atol=1e-6)


def test_pretrained_machines_are_those_of_the_presets():
    for name in presets.PRESETS:
        machine = rim.load_pretrained(name)
        assert not presets.differences(machine.problem, rim.preset(name, 16))
    with pytest.raises(ValueError, match="`name` must be one of"):
        rim.load_pretrained("galaxies")


def test_longer_and_other_runs_are_not_mixed(problem, pair, weights, tmp_path):
    def draws(num_samples, num_chains):
        options = {"num_warmup": 2, "num_samples": num_samples, "num_chains": num_chains}
        return quietly(problem, pair[1], "hmc", weights, checkpoint=tmp_path, **options).samples

    first = draws(3, 1)
    assert first.shape == (3, 1, 16, 16, 16)
    longer = draws(22, 1)
    assert longer.shape == (22, 1, 16, 16, 16)
    np.testing.assert_array_equal(longer[:3], first)
    assert draws(2, 2).shape == (2, 2, 16, 16, 16)


def test_products_leave_other_runs_alone(problem, pair, weights, tmp_path):
    truth, y = pair
    product.write(quietly(problem, y, "rim", weights, truth=truth), tmp_path)
    assert (tmp_path / "agreement.png").exists()
    other = quietly(problem, y, "map", checkpoint=tmp_path)
    product.write(quietly(problem, y, "rim", weights), tmp_path)
    assert not (tmp_path / "agreement.png").exists()
    assert len(list(tmp_path.glob("unfinished-*"))) == 1
    product.write(other, tmp_path)
    assert not list(tmp_path.glob("unfinished-*"))


def test_double_precision_passes(problem, pair, weights):
    y = pair[1].numpy().astype(np.float64)
    found = quietly(problem, y, "rim", weights, truth=pair[0])
    assert found.x.dtype == found.final.dtype == np.float64
    single = quietly(problem, pair[1], "rim", weights)
    np.testing.assert_allclose(found.x, single.x, atol=1e-4)


def test_catalogue_has_white_noise(problem):
    """Uniform points of density n have a variance of 1 / (n cell**3)."""
    rng = np.random.default_rng(0)
    num = 16_000
    field = _painted(
        rng.uniform(0, 200, [num, 3]), np.array([200.0] * 3), rim.preset("tracers", 32)
    )
    expected = 200.0**3 / num / 6.25**3
    # Of 32768 cells, each with half a point, to two percent.
    assert np.var(field) == pytest.approx(expected, rel=0.03)


def test_checkpoint_without_a_folder_keeps_nothing(problem, pair):
    saved = Checkpoint(None, problem, pair[1], ["map"])
    saved.save("name", x=np.ones(3))
    assert saved.load("name") is None


def test_presets_know_their_weights_whatever_the_mesh(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, "WEIGHTS", tmp_path)
    assert presets.shipped_weights(rim.preset("tracers", 16)) is None
    (tmp_path / "tracers.keras").touch()
    assert presets.shipped_weights(rim.preset("tracers", 24)).name == "tracers.keras"
    other = rim.InitialConditions(COSMO, 16, 100.0, bias=(0.1, 0.0), noise_power=1000.0)
    assert presets.shipped_weights(other) is None
    assert presets.differences(other, rim.preset("tracers", 16)) == ["bias"]


def test_file_of_a_field_and_of_tracers(tmp_path, problem):
    field = np.random.default_rng(0).normal(size=(8, 8, 8))
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["overdensity"] = field
        file["truth"] = 2 * field
        file.attrs["box_size"] = 50.0
    data = read_observation(path, problem)
    assert data.problem.mesh.shape == (8, 8, 8)
    np.testing.assert_allclose(data.y[0], field, rtol=1e-6)
    np.testing.assert_allclose(data.truth[0], 2 * field, rtol=1e-6)
    with h5py.File(path, "w") as file:
        file["position"] = np.tile([[6.25, 12.5, 0.0]], [64, 1])
        file.attrs["box_size"] = [50.0, 25.0, 25.0]
    y = read_observation(path, problem).y[0]
    assert y.shape == (8, 4, 4)
    assert y[1, 2, 0] == pytest.approx(127)  # 64 tracers in one of 128 cells
    assert y.sum() == pytest.approx(0, abs=1e-3)
    counts = rim.InitialConditions(COSMO, 8, 50.0, likelihood="poisson", mean_count=1.0)
    y = read_observation(path, counts).y[0]
    assert y[1, 2, 0] == y.sum() == 64


def test_command_line_end_to_end(weights, tmp_path, capsys, problem, pair):
    words = ["reconstruct", "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert main([*words, "--simulate", "--mesh", "16", "--seed", "3"]) == 0
    said = capsys.readouterr()
    assert "r(k) around 0.1, 0.2, 0.3 h/Mpc" in said.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {"slices.png", "agreement.png", "trajectory.png"}
    assert names == {"reconstruction.h5", "report.json", *figures}
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["overdensity"] = pair[1][0].numpy()
        file.attrs["box_size"] = 100.0
    config = tmp_path / "problem.json"
    config.write_text(json.dumps(problem.get_config()))
    words = ["reconstruct", str(path), "--method", "map", "--problem", str(config)]
    assert main([*words, "--out", str(tmp_path / "map")]) == 0
    names = {path.name for path in (tmp_path / "map").iterdir()}
    assert names == {"reconstruction.h5", "report.json", "slices.png", "trajectory.png"}


def test_mesh_must_be_numbers(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--mesh", "abc", "--out", "x"])
    assert "integers with commas" in capsys.readouterr().err


def test_problem_file_with_a_noise_map_keeps_its_mesh(tmp_path):
    noise = np.full((8, 8, 8), 0.5)
    noise[0] = 1.0
    problem = rim.InitialConditions(COSMO, 8, 50.0, noise_std=noise)
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem.get_config()))
    assert read_problem(str(path), None, (64,)).mesh.shape == (8, 8, 8)
    with pytest.raises(ValueError, match="the same in every cell"):
        read_problem(str(path), (16,), (64,))


def test_command_line_trains_and_goes_on(tmp_path, capsys):
    words = ["train", "--mesh", "16", "--steps", "2", "--filters", "4", "--updates", "2"]
    words += ["--batch-size", "1", "--out", str(tmp_path)]
    assert main([*words, "--epochs", "1"]) == 0
    first = keras.models.load_model(tmp_path / "weights.keras")
    assert main([*words, "--epochs", "2"]) == 0
    second = keras.models.load_model(tmp_path / "weights.keras")
    assert first.count_params() == second.count_params()
    assert np.abs(first.get_weights()[0] - second.get_weights()[0]).max() > 0
    assert (tmp_path / "history.png").stat().st_size > 10_000
    assert "weights" in capsys.readouterr().out


def write(path, name="overdensity", values=None, box=100.0):
    with h5py.File(path, "w") as file:
        file[name] = np.zeros((16, 16, 16)) if values is None else values
        if box is not None:
            file.attrs["box_size"] = box
    return path


def test_bad_files_are_refused(tmp_path, problem):
    path = tmp_path / "data.h5"
    nan = np.full((16, 16, 16), np.nan)
    counts = rim.InitialConditions(COSMO, 16, 100.0, likelihood="poisson", mean_count=1.0)
    negative = np.full((16, 16, 16), -1.0)
    for target, options, message in (
        (problem, {"box": 200.0}, "cells of 6.25 Mpc/h"),
        (problem, {"box": None}, "must say `box_size`"),
        (problem, {"name": "density"}, "must hold `overdensity` or `position`"),
        (problem, {"values": nan}, "`y` must be finite"),
        (problem, {"values": np.zeros((16, 16))}, "must have three axes"),
        (problem, {"name": "position", "values": np.full((3, 3), 101.0)}, "must lie from 0 to"),
        (problem, {"values": np.array(b"text")}, "must be an array of real numbers"),
        (problem, {"values": np.zeros((16,) * 3, complex)}, "must be an array of real numbers"),
        (problem, {"box": [100.0, 100.0]}, "`box_size` must be one number or three"),
        (problem, {"box": "100"}, "`box_size` must be one number or three"),
        (problem, {"name": "truth", "values": nan}, "must hold `overdensity` or `position`"),
        (counts, {"name": "counts", "values": negative}, "`y` must be non-negative"),
    ):
        with pytest.raises(ValueError, match=message):
            read_observation(write(path, **options), target)
    path.write_text("text")
    with pytest.raises(ValueError, match="`DATA` must be an HDF5 file"):
        read_observation(path, problem)
    with pytest.raises(ValueError, match="`DATA` must be a file"):
        read_observation(tmp_path / "nothing.h5", problem)


def test_bad_input_is_refused(tmp_path, problem, pair, machine, weights, monkeypatch):
    truth, y = pair
    with pytest.raises(ValueError, match="`method` must be one of"):
        reconstruct(problem, y, "adam")
    with pytest.raises(ValueError, match="mesh of the problem"):
        reconstruct(problem, np.zeros((8, 8, 8)))
    for name in ("num_samples", "num_chains"):
        with pytest.raises(ValueError, match=f"`{name}` must"):
            reconstruct(problem, y, "hmc", **{name: 0})
    with pytest.raises(ValueError, match="`num_steps` must"):
        reconstruct(problem, y, "rim", machine, num_steps=0)
    odd = rim.preset("matter", 15)
    with pytest.raises(ValueError, match="sides that divide by 2"):
        reconstruct(odd, odd.simulate(0)[1], "rim", machine)
    with pytest.raises(ValueError, match="`truth` must have shape"):
        reconstruct(problem, y, truth=truth[:, :8])
    unknown = rim.InitialConditions(COSMO, 16, 100.0, noise_std=0.5)
    with pytest.raises(ValueError, match="`weights` must be given for a problem"):
        reconstruct(unknown, y)
    with pytest.raises(ValueError, match="`weights` must be a file"):
        reconstruct(problem, y, weights=tmp_path / "no.keras")
    with pytest.warns(UserWarning, match="trained for another problem: noise_std differ"):
        load_machine(weights, unknown)
    coarse = rim.InitialConditions(COSMO, 16, 200.0)
    with pytest.raises(ValueError, match=r"cells of 6\.25 Mpc/h"):
        load_machine(weights, coarse)
    (tmp_path / "broken.keras").write_text("text")
    with pytest.raises(ValueError, match=r"`weights` must be a \.keras file of a CosmicRIM"):
        load_machine(tmp_path / "broken.keras", problem)
    rim.DirectUNet(problem, (2,)).save(tmp_path / "unet.keras")
    with pytest.raises(ValueError, match="`weights` must hold a CosmicRIM"):
        load_machine(tmp_path / "unet.keras", problem)
    monkeypatch.setattr("flowpm_ext.core.memory.available_memory", lambda: 10**6)
    with pytest.raises(ValueError, match=r"needs about .* Take a smaller mesh"):
        reconstruct(problem, y, weights=machine)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reconstruct", "--out", "x"], "`DATA` must be given"),
        (["reconstruct", "data.h5", "--simulate", "--out", "x"], "`DATA` must be given"),
        (["reconstruct", "--simulate", "--problem", "galaxies", "--out", "x"], "`problem` must"),
        (["train", "--problem", "matter", "--epochs", "0", "--out", "x"], "`num_epochs` must"),
        (["train", "--network", "unet", "--steps", "3", "--out", "x"], "without --steps"),
        (["train", "--start-from", "x", "--filters", "3", "--out", "x"], "without --filters"),
    ],
)
def test_command_line_refuses_in_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
