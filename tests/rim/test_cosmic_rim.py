"""The machine of initial conditions: symmetry, size, Keras workflows and the baselines."""

import csv
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
import rim
from flowpm_ext.stats import cross_correlation
from rim.cosmic import filtered_reconstruction
from rim.presets import PRESETS
from rim.training import bands_in

COSMO = fpm.Planck15()
# r(k) at 0.05, 0.1, 0.2 and 0.3 h/Mpc: a little less than the model card says.
PROMISED = {
    "matter": (0.98, 0.965, 0.86, 0.62),
    "tracers": (0.94, 0.89, 0.70, 0.44),
    "tracers_without_unity": (0.96, 0.91, 0.71, 0.43),
}


@pytest.fixture(scope="module")
def problem():
    return rim.InitialConditions(COSMO, 16, 100.0)


@pytest.fixture(scope="module")
def pair(problem):
    return problem.simulate(3, 2)


def small(problem, seed=0, **options):
    """A machine with weights that all matter."""
    keras.utils.set_random_seed(seed)
    machine = rim.CosmicRIM(problem, 3, (4, 4), **options)
    last = machine.network.last.inner.kernel
    last.assign(0.02 * tf.random.stateless_normal(last.shape, [1, 2]))
    return machine


def r_of(x, truth, box, edges):
    return float(cross_correlation(x, truth, box, edges).correlation.numpy().mean())


def test_rolling_the_input_rolls_the_output(problem, pair):
    machine, (_, y) = small(problem), pair
    rolled = machine(tf.roll(y, [2, 4, -2], [1, 2, 3]))
    expected = tf.roll(machine(y), [2, 4, -2], [2, 3, 4])
    np.testing.assert_allclose(rolled, expected, atol=1e-4)


def test_a_box_repeated_is_solved_twice(problem, pair):
    """A mesh of twice the side adds longer waves, of which a repeated box has none."""
    problem = rim.InitialConditions(COSMO, 8, 50.0)
    _, y = problem.simulate(0)
    machine = small(problem, unit=1.4)
    double = machine.with_problem(problem.with_mesh(16))
    repeated = tf.tile(y, [1, 2, 2, 2])
    np.testing.assert_allclose(
        double(repeated)[:, -1], tf.tile(machine(y)[:, -1], [1, 2, 2, 2]), atol=2e-3
    )


@pytest.mark.parametrize("start", ["standard", "wiener", "zeros", "noise"])
@pytest.mark.parametrize("scaling", ["newton", "adam", "raw"])
def test_options_run_and_learn(problem, pair, start, scaling):
    x, y = pair
    keras.utils.set_random_seed(0)
    machine = rim.CosmicRIM(problem, 2, (4,), memory="none", start=start, scaling=scaling)
    machine.compile(keras.optimizers.Adam(3e-3), metrics=[])
    losses = machine.fit(y, x, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "options",
    [
        {"likelihood": "poisson", "mean_count": 2.0},
        {"redshift_space": True, "bias": (0.5, 0.1), "noise_power": 500.0},
        {"mask": np.arange(16)[:, None, None] * np.ones([1, 16, 16]) < 12},
        {"dynamics": "pm", "num_steps": 3},
        {"noise_power": lambda k: 300 * (1 + k)},
        {"dynamics": "linear", "bias": (0.5, 0.0)},
    ],
    ids=["poisson", "redshift space", "mask", "particle mesh", "coloured noise", "linear"],
)
def test_every_kind_of_problem_learns(options):
    problem = rim.InitialConditions(COSMO, 16, 100.0, **options)
    keras.utils.set_random_seed(0)
    machine = rim.CosmicRIM(problem, 2, (4,))
    machine.compile(keras.optimizers.Adam(3e-3), metrics=[])
    x, y = problem.simulate(1, 2)
    losses = machine.fit(y, x, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    # Most of a linear field is on scales that the data say nothing about.
    assert losses[-1] < 1.1 * float(tf.math.reduce_variance(x))


def test_before_training_a_step_is_part_of_one_of_newton(problem, pair):
    _, y = pair
    machine = rim.CosmicRIM(problem, 1, (4,), start="zeros")
    wiener = rim.wiener_filter(problem, y)
    # At x = 0 the model is linear, but each particle sits at the kink of its cloud, whose slope
    # there is one-sided: waves come out half a cell off.
    r = r_of(machine(y)[:, 0], wiener, 100.0, [0.05, 0.2])
    size = np.std(machine(y)[:, 0]) / np.std(wiener)
    assert r > 0.93
    assert 0.07 < size < 0.13


def test_wiener_filter_is_the_posterior_mean_of_a_linear_model():
    problem = rim.InitialConditions(COSMO, 16, 100.0, "linear", bias=(0.3, 0.0), noise_power=800.0)
    _, y = problem.simulate(1)
    x = rim.wiener_filter(problem, y)
    likelihood, prior = problem.gradients(x, y)
    largest = np.abs(likelihood).max()
    np.testing.assert_allclose(likelihood + prior, np.zeros(y.shape), atol=1e-4 * largest)


def test_standard_reconstruction_undoes_bulk_flows():
    """Without noise and with little structure on small scales it beats the data by far."""
    problem = rim.InitialConditions(COSMO, 32, 200.0, "1lpt", noise_std=0.05)
    x, y = problem.simulate(2)
    bands = [0.15, 0.25]
    before, after = (
        r_of(field, x, 200.0, bands) for field in (y, rim.standard_reconstruction(problem, y))
    )
    assert after > before + 0.2
    assert r_of(filtered_reconstruction(problem, y), x, 200.0, bands) > before + 0.2


def test_standard_reconstruction_removes_redshift_distortions():
    """Waves along the line of sight keep the amplitude of those across it."""
    options = {"dynamics": "1lpt", "noise_std": 0.05}
    ratios = []
    for is_shifted in (False, True):
        problem = rim.InitialConditions(COSMO, 32, 200.0, redshift_space=is_shifted, **options)
        x, y = problem.simulate(2, 4)
        found = rim.standard_reconstruction(problem, y)
        for field in (found, y):
            modes, truth = (problem.mesh.rfft3(part).numpy() for part in (field, x))
            # The longest waves: (2, 0, 0) and (0, 2, 0), and (0, 0, 2) along the line of sight.
            across = np.vdot(truth[:, [2, 0], [0, 2], 0], modes[:, [2, 0], [0, 2], 0])
            across /= np.sum(np.abs(truth[:, [2, 0], [0, 2], 0]) ** 2)
            along = np.vdot(truth[:, 0, 0, 2], modes[:, 0, 0, 2])
            along /= np.sum(np.abs(truth[:, 0, 0, 2]) ** 2)
            ratios.append(np.real(along / across))
    real, seen_real, redshift, seen_redshift = ratios
    # Linear theory says 1 + f = 1.5; on these scales structure along the line of sight smears it.
    assert seen_redshift > 1.25 * seen_real
    assert redshift == pytest.approx(real, abs=0.1)


@pytest.mark.parametrize("has_unity", [True, False])
@pytest.mark.parametrize("redshift_space", [True, False])
def test_linear_response_is_that_of_a_faint_field(has_unity, redshift_space):
    problem = rim.InitialConditions(
        COSMO, 16, 100.0, "1lpt", bias=(0.6, 0.0), noise_std=1.0, a=0.6,
        has_unity=has_unity, redshift_space=redshift_space,
    )  # fmt: skip
    z = np.arange(16) * 2 * np.pi / 16
    response = np.broadcast_to(problem.linear_response(), (16, 16, 9))
    for axis, mode in ((0, (1, 0, 0)), (2, (0, 0, 1))):
        wave = np.cos(z).reshape([-1 if i == axis else 1 for i in range(3)])
        # Particles half a cell off the lattice would be better, whose clouds have slopes; so
        # this is the mean of both directions.
        x = 1e-3 * tf.constant(np.broadcast_to(wave, (1, 16, 16, 16)), tf.float64)
        seen = (problem.model(x) - problem.model(-x)) / 2
        found = float(tf.reduce_sum(seen * x) / tf.reduce_sum(x * x))
        # Differences of clouds instead of slopes lower the displaced part by (k d)**2 / 6 = 2.6 %.
        assert found == pytest.approx(response[mode], rel=0.03)


@pytest.mark.parametrize("kind", ["half", "random"])
def test_wiener_filter_behind_a_mask_has_the_right_size(kind):
    mask = np.ones([16] * 3)
    mask[:8] = 0
    if kind == "random":
        mask = np.random.default_rng(0).integers(0, 2, [16] * 3)
    problem = rim.InitialConditions(COSMO, 16, 100.0, "linear", noise_std=1.0, mask=mask)
    x, y = problem.simulate(4, 8)
    found = rim.wiener_filter(problem, y)
    np.testing.assert_array_equal(found, rim.wiener_filter(problem, y + 100.0 * (1 - mask)))
    # Scaled by a number it gets no better by much: it is as large as it should be where it saw.
    best = float(tf.reduce_sum(found * x * mask) / tf.reduce_sum(found**2 * mask))
    assert best == pytest.approx(1.0, abs=0.1 if kind == "half" else 0.35)


def test_fit_evaluate_save_and_load(problem, tmp_path):
    machine = small(problem)
    machine.compile()
    data = rim.mocks(problem, 2, seed=1, num=2)
    machine.fit(data, verbose=0, shuffle=False)
    report = machine.evaluate(data, verbose=0, return_dict=True)
    assert set(report) == {"loss", *(f"{c}({k})" for c in "rT" for k in ("0.1", "0.2", "0.3"))}
    machine.save(tmp_path / "machine.keras")
    again = keras.models.load_model(tmp_path / "machine.keras")
    y, _ = next(iter(data))
    np.testing.assert_allclose(again(y), machine(y), atol=1e-6)
    assert again.evaluate(data, verbose=0, return_dict=True) == pytest.approx(report, rel=1e-4)
    assert again.optimizer.iterations == machine.optimizer.iterations


def test_reported_agreement_is_that_of_the_last_step(problem):
    machine = small(problem)
    machine.compile()
    data = rim.mocks(problem, 2, seed=1, num=2)
    report = machine.evaluate(data, verbose=0, return_dict=True)
    y, x = (tf.concat(parts, 0) for parts in zip(*data, strict=True))
    r = cross_correlation(machine(y)[:, -1], x, 100.0, bands_in(100.0)).correlation
    found = [report[f"r({k})"] for k in ("0.1", "0.2", "0.3")]
    np.testing.assert_allclose(found, np.mean(r, axis=0)[::2], atol=1e-5)


TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import rim
problem = rim.preset("matter", 8)
weights = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        machine = rim.CosmicRIM(problem, 2, (4, 4))
        machine.compile(keras.optimizers.SGD(0.1), metrics=[])
    machine.fit(rim.mocks(problem, 4, num=2), verbose=0, shuffle=False)
    weights.append(machine.get_weights())
assert strategy.num_replicas_in_sync == 2
for one, other in zip(*weights):
    np.testing.assert_allclose(one, other, atol=1e-5)
fresh = rim.CosmicRIM(problem, 2, (4, 4)).get_weights()
assert any(np.abs(one - other).max() > 1e-3 for one, other in zip(fresh[-2:], weights[0][-2:]))
"""


def test_two_devices_give_the_weights_of_one():
    subprocess.run([sys.executable, "-W", "ignore", "-c", TWO_DEVICES], check=True, timeout=300)


def test_mocks_differ_and_repeat(problem):
    first, second = rim.mocks(problem, 2, seed=0, num=2)
    again = next(iter(rim.mocks(problem, 2, seed=0, num=1)))
    later = next(iter(rim.mocks(problem, 2, seed=0, first=1)))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(second[1], later[1])
    assert np.abs(first[0] - second[0]).max() > 1
    assert np.abs(first[0] - next(iter(rim.mocks(problem, 2, seed=1)))[0]).max() > 1


def test_training_goes_on_where_it_was_stopped(problem, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                raise KeyboardInterrupt

    def run(folder, **options):
        return rim.train(small(problem), folder, 2, 2, 1, num_validation=1, verbose=0, **options)

    whole = run(tmp_path / "whole")
    # Callbacks of the caller come after the checkpoint.
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", callbacks=[Stop()])
    parts = run(tmp_path / "parts")
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with open(tmp_path / "parts" / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    other = rim.CosmicRIM(problem, 3, (6,))
    with pytest.raises(ValueError, match="`folder` must hold no other machine"):
        rim.train(other, tmp_path / "parts", 2, 2)


def test_training_that_diverges_keeps_the_last_good_epoch(problem, tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.network.direct.kernel.assign(np.nan * self.model.network.direct.kernel)

    with pytest.raises(ValueError, match="The loss of epoch 2 is not finite"):
        rim.train(
            small(problem), tmp_path, 2, 1, 1, num_validation=1, callbacks=[Spoil()], verbose=0
        )
    kept = keras.models.load_model(tmp_path / "last.keras")
    assert all(np.all(np.isfinite(weight)) for weight in kept.get_weights())


def test_bands_are_those_that_a_mesh_holds():
    assert bands_in(400.0)[0] == 0.04
    assert bands_in(100.0)[:2] == (0.08, 0.12)
    assert bands_in(400.0, 0.2) == (0.04, 0.06, 0.08, 0.12)
    assert bands_in(10.0) == ()
    coarse = rim.InitialConditions(COSMO, 16, 400.0)
    machine = small(coarse)
    machine.compile()
    report = machine.evaluate(rim.mocks(coarse, 1, num=1), verbose=0, return_dict=True)
    assert set(report) == {"loss", "r(0.05)", "r(0.1)", "T(0.05)", "T(0.1)"}
    tiny = small(rim.InitialConditions(COSMO, 16, 8.0))
    tiny.compile()
    tiny.evaluate(rim.mocks(tiny.problem, 1, num=1), verbose=0)


def test_direct_unet_trains_in_the_same_way(problem, pair, tmp_path):
    x, y = pair
    machine = rim.DirectUNet(problem, (4, 8))
    machine.compile(keras.optimizers.Adam(1e-2))
    losses = machine.fit(y, x, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert machine(y).shape == (2, 1, 16, 16, 16)
    machine.save(tmp_path / "unet.keras")
    again = keras.models.load_model(tmp_path / "unet.keras")
    np.testing.assert_allclose(again(y), machine(y), atol=1e-6)


def test_default_unet_has_at_least_as_many_weights_as_the_machine(problem):
    unet, machine = rim.DirectUNet(problem), rim.CosmicRIM(problem)
    assert unet.count_params() >= machine.count_params()


def test_bad_input_is_refused(problem, pair):
    with pytest.raises(ValueError, match="`start` must be one of"):
        rim.CosmicRIM(problem, start="ones")
    with pytest.raises(ValueError, match="`scaling` must be one of"):
        rim.CosmicRIM(problem, scaling="rms")
    with pytest.raises(ValueError, match=r"cells of 6\.25 Mpc/h"):
        small(problem).with_problem(rim.InitialConditions(COSMO, 16, 200.0))
    with pytest.raises(ValueError, match="mesh of the problem"):
        rim.wiener_filter(problem, tf.zeros([1, 8, 8, 8]))
    with pytest.raises(ValueError, match="`smoothing` must be positive"):
        rim.standard_reconstruction(problem, pair[1], 0.0)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        rim.mocks(problem, 0)


@pytest.mark.slow
def test_a_small_machine_learns_to_beat_the_others(tmp_path):
    """Retrained from nothing: better than standard reconstruction, and than a search."""
    problem = rim.preset("matter", 32)
    keras.utils.set_random_seed(0)
    machine = rim.train(rim.CosmicRIM(problem, 6), tmp_path, 3, 80, verbose=0)
    x, y = problem.simulate(1, 4)
    found = machine(y)[:, -1]
    for k_edges, margin in (([0.08, 0.12], 0.005), ([0.17, 0.23], 0.02)):
        r = r_of(found, x, 200.0, k_edges)
        assert r > r_of(rim.standard_reconstruction(problem, y), x, 200.0, k_edges) + margin
    best = rim.map_estimate(problem, y, progress=False).x
    assert r_of(found, x, 200.0, [0.17, 0.23]) > r_of(best, x, 200.0, [0.17, 0.23]) - 0.01


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_shipped_weights_hold_their_promise(name):
    """On fields they never saw, in a larger box than that of training."""
    problem = rim.preset(name, 48)
    x, y = problem.simulate(31, 2)
    found = rim.reconstruct(problem, y, truth=x, progress=False)
    bands = bands_in(300.0)
    r = cross_correlation(found.x, x, 300.0, bands).correlation.numpy().mean(axis=0)[::2]
    t = fpm.stats.transfer_function(found.x, x, 300.0, bands).transfer.numpy().mean(axis=0)[::2]
    assert np.all(r >= PROMISED[name])
    # Of a posterior mean, to the scatter of two fields.
    assert np.all(np.abs(t - r)[:3] < 0.06)
