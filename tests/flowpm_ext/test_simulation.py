"""Simulations from their configuration: the same as by hand, and the same when interrupted."""

import dataclasses
import multiprocessing

import h5py
import numpy as np
import pytest

from flowpm_ext import checkpoint, simulation
from flowpm_ext.configuration import PARAMETERS, SimulationConfig, read_config
from flowpm_ext.cosmology import Planck15, Planck18, background, power
from flowpm_ext.fields import linear_field
from flowpm_ext.io import claimed_folder
from flowpm_ext.mesh import painting
from flowpm_ext.pm import kernels, lpt_init, nbody, steps
from flowpm_ext.simulation import memory_needed, read_table, simulate
from flowpm_ext.snapshot import load_snapshot

CONFIG = SimulationConfig(mesh=8, box_size=32.0, steps=4, snapshots=(0.5, 1.0), seed=5)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Arrays of the snapshots of a run that was never stopped."""
    return [arrays(path) for path in simulate(CONFIG, tmp_path_factory.mktemp("reference"))]


def arrays(path):
    with h5py.File(path) as file:
        return file["position"][:], file["velocity"][:]


def assert_same(paths, reference):
    """Bit for bit."""
    for path, expected in zip(paths, reference, strict=True):
        for one, other in zip(arrays(path), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def stop_at(monkeypatch, number, error=KeyboardInterrupt):
    """Let the forces of runs end with an error from the one of this number on; count them."""
    calls, true = [], simulation.integrate

    def integrate(*args):
        if len(calls) == number:
            raise error
        calls.append(1)
        return true(*args)

    monkeypatch.setattr(simulation, "integrate", integrate)
    return calls


def test_a_run_is_what_nbody_gives(tmp_path):
    config = dataclasses.replace(
        CONFIG, integrator="bullfrog", precision="float64", force_mesh_factor=2, window="tsc",
        gradient_kernel="spectral", order=1, snapshots=(0.1, 0.5, 0.775), fixed_amplitude=True,
        paired=True, wa=0.1,
    )  # fmt: skip
    paths = simulate(config, tmp_path)
    cosmo = Planck18(wa=0.1)
    field = linear_field(
        8, 32.0, lambda k: power.linear_matter_power(cosmo, k), seed=5, is_fixed=True,
        is_paired=True, dtype="float64",
    )  # fmt: skip
    state = lpt_init(cosmo, field, 0.1, order=1)
    stages = ([0.1], [0.1, 0.325, 0.5], [0.5, 0.55, 0.775])
    for path, part in zip(paths, stages, strict=True):
        if len(part) > 1:
            state = nbody(
                cosmo, state, part, 8, "bullfrog", force_mesh_factor=2, window="tsc",
                gradient_kernel="spectral",
            )  # fmt: skip
        found = load_snapshot(path).state
        # Rounding of float64, which the steps amplify.
        np.testing.assert_allclose(found.position, state.position, atol=1e-11)
        np.testing.assert_allclose(found.momentum, state.momentum, atol=1e-11)
        assert float(found.a) == part[-1]


def test_initial_velocities_are_those_of_linear_growth(tmp_path):
    # Zel'dovich: the peculiar velocity (km/s) is the displacement (Mpc/h) times a H f.
    config = dataclasses.replace(
        CONFIG, snapshots=(0.3,), a_start=0.3, order=1, precision="float64", wa=0.1
    )
    position, velocity = arrays(*simulate(config, tmp_path))
    lattice = 4.0 * np.moveaxis(np.mgrid[:8, :8, :8], 0, -1).reshape(-1, 3)
    displacement = np.mod(position - lattice + 16, 32) - 16
    rate = 0.3 * background.H(config.cosmo, 0.3) * background.growth_rate(config.cosmo, 0.3)
    # Rounding of positions in a box of 32 Mpc/h.
    np.testing.assert_allclose(velocity, displacement * float(rate), rtol=1e-9, atol=1e-10)


def test_default_options_are_those_of_nbody(reference):
    cosmo = Planck18()
    field = linear_field(8, 32.0, lambda k: power.linear_matter_power(cosmo, k), seed=5)
    state = nbody(cosmo, lpt_init(cosmo, field, 0.1), [0.1, 0.325, 0.5], 8)
    # Rounding of float32, which the steps amplify.
    expected = np.mod(state.position.numpy()[0] * 4.0, 32.0)
    apart = np.abs(reference[0][0] - expected)
    assert np.max(np.minimum(apart, 32.0 - apart)) < 1e-4
    expected = state.momentum.numpy()[0] * (100 * 4.0 / 0.5)
    np.testing.assert_allclose(reference[0][1], expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("number", [1, 4, 6])
def test_a_run_goes_on_bit_for_bit(tmp_path, monkeypatch, reference, number):
    # 3 forces to the first snapshot (0.1, 0.325, 0.5), 4 more to the second.
    with monkeypatch.context() as patch:
        stop_at(patch, number)
        with pytest.raises(KeyboardInterrupt):
            simulate(CONFIG, tmp_path)
    assert checkpoint.forces_done(tmp_path) == number
    calls = stop_at(monkeypatch, None)
    assert_same(simulate(CONFIG, tmp_path), reference)
    assert len(calls) == 7 - number
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "snapshot_a0.5000.h5", "snapshot_a1.0000.h5"
    ]  # fmt: skip


def test_snapshots_that_are_there_are_not_made_again(tmp_path, monkeypatch, reference):
    paths = simulate(CONFIG, tmp_path)
    first = paths[0].stat().st_mtime_ns
    calls = stop_at(monkeypatch, None)
    simulate(CONFIG, tmp_path)
    assert not calls
    paths[1].unlink()
    assert_same(simulate(CONFIG, tmp_path), reference)
    assert len(calls) == 7 and paths[0].stat().st_mtime_ns == first
    paths[0].unlink()
    assert_same(simulate(CONFIG, tmp_path), reference)
    assert len(calls) == 7 + 3  # no further than what is missing


def test_a_checkpoint_behind_a_missing_snapshot_is_not_used(tmp_path, monkeypatch, reference):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            simulate(CONFIG, tmp_path)
    (tmp_path / "snapshot_a0.5000.h5").unlink()
    assert_same(simulate(CONFIG, tmp_path), reference)


def test_checkpoints_are_written_when_due(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    kept = checkpoint.Checkpoint(tmp_path, {})
    particles = np.zeros((1, 1, 3), np.float32)
    writes = []
    monkeypatch.setattr(
        checkpoint.hdf5, "write", lambda path, kind, version, data, about: writes.append(
            about["num_forces"])
    )  # fmt: skip
    state = checkpoint.Progress(0, *[checkpoint.tf.constant(particles)] * 2)
    for number, seconds in enumerate([0.3, 0.1, 0.1, 0.26, 0.1] + [0.2] * 10, start=1):
        now[0] += seconds
        kept.offer(state._replace(num_forces=number))
    # Long steps, and the first after two seconds without: 0.1 + 10 * 0.2 = 2.1.
    assert writes == [1, 4, 15]
    with pytest.raises(KeyboardInterrupt), kept:
        kept.offer(state._replace(num_forces=16))
        raise KeyboardInterrupt
    assert writes == [1, 4, 15, 16]


def test_another_configuration_is_refused_and_named(tmp_path, monkeypatch, reference):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            simulate(CONFIG, tmp_path)
    other = dataclasses.replace(CONFIG, seed=6, snapshots=(1.0,))
    message = r"checkpoint.h5.*snapshots \[0.5, 1. \] and not \[1.\], seed 5 and not 6. .*--overwr"
    with pytest.raises(ValueError, match=message):
        simulate(other, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "__version__", "9.9")
        with pytest.raises(ValueError, match=r"version 0.* and not 9.9"):
            simulate(CONFIG, tmp_path)
    assert_same(simulate(CONFIG, tmp_path), reference)
    with pytest.raises(ValueError, match=r"snapshot_a0.5000.h5` must be of the same"):
        simulate(other, tmp_path)
    simulate(other, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot_a1.0000.h5"]
    (tmp_path / "checkpoint.h5").write_text("cut")
    with pytest.raises(ValueError, match=r"checkpoint.h5` must be a whole.*--overwrite"):
        simulate(other, tmp_path)


def test_a_table_is_known_by_its_numbers(tmp_path):
    config = dataclasses.replace(CONFIG, steps=1, spectrum=str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("# k P\n0.01 1e4\n10 1\n")
    (tmp_path / "b.txt").write_text("0.01  10000\n10.0 1.0\n")
    (tmp_path / "c.txt").write_text("0.01  20000\n10.0 1.0\n")
    paths = simulate(config, tmp_path / "out")
    np.testing.assert_array_equal(load_snapshot(paths[0]).table, [[0.01, 10], [1e4, 1]])
    simulate(dataclasses.replace(config, spectrum=str(tmp_path / "b.txt")), tmp_path / "out")
    with pytest.raises(ValueError, match=r"spectrum table .* and not table"):
        simulate(dataclasses.replace(config, spectrum=str(tmp_path / "c.txt")), tmp_path / "out")


def test_the_table_of_the_data_is_read(data_folder):
    table = read_table(data_folder / "linear_power_planck15_eh.txt")
    expected = power.linear_matter_power(Planck15(), table[0][1000])
    assert table[1][1000] == pytest.approx(float(expected), rel=0.01)  # two codes for one formula


def test_a_folder_serves_one_run_at_a_time(tmp_path):
    with claimed_folder(tmp_path):
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        other = context.Process(target=claim, args=(tmp_path, queue))
        other.start()
        other.join()
        assert "where another run works" in queue.get()
    claim(tmp_path, queue)
    assert queue.get() == "free"


def claim(folder, queue):
    try:
        with claimed_folder(folder):
            queue.put("free")
    except ValueError as error:
        queue.put(str(error))


def test_a_folder_that_stays_empty_is_removed(tmp_path, monkeypatch):
    stop_at(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        simulate(CONFIG, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_memory_is_asked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("flowpm_ext.core.memory.available_memory", lambda: 24 * 10**9)
    with pytest.raises(ValueError, match=r"1024\^3 particles needs about \d+ GB, the machine has"):
        simulate(SimulationConfig(mesh=1024), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    small, fine = (SimulationConfig(mesh=256, force_mesh_factor=f) for f in (1, 2))
    # Measured: 6.7 GB for 256^3 particles.
    assert memory_needed(small) == pytest.approx(6.7e9, rel=0.15)
    assert memory_needed(fine) - memory_needed(small) == 4 * 12 * 256**3 * 7
    assert memory_needed(small, 8, 16) - memory_needed(small, 8) == 4 * 12 * 256**2 * 32


def test_stages_hold_the_snapshots():
    def stages(**options):
        return [part.tolist() for part in SimulationConfig(**options).segments]

    found = stages(a_start=0.2, steps=4, snapshots=[0.7, 0.4])
    assert [pytest.approx(part) for part in found] == [[0.2, 0.4], [0.4, 0.6, 0.7]]
    found = stages(a_start=0.5, steps=2, snapshots=[0.5, 1])
    assert found == [[0.5], [0.5, 0.75, 1.0]]


def test_options_are_those_of_the_engine():
    choices = {f.name: f.metadata["choices"] for f in dataclasses.fields(SimulationConfig)}
    assert choices["integrator"] == steps.INTEGRATORS
    assert choices["gradient_kernel"] == kernels.GRADIENTS
    assert choices["window"] == painting.WINDOWS


def test_the_cosmology_takes_every_parameter():
    values = dict(zip(PARAMETERS, (0.3, 0.04, 0.7, 0.9, 0.7, 0.01, -0.9, 0.2), strict=True))
    assert SimulationConfig(cosmology="planck15", **values).cosmo == Planck15(**values)
    assert SimulationConfig().cosmo == Planck18()


def test_configurations_come_back_from_files(tmp_path):
    (tmp_path / "c.toml").write_text('mesh = 16\nsnapshots = [0.5, 1]\nwindow = "tsc"\n')
    config = SimulationConfig.from_dict(read_config(tmp_path / "c.toml"))
    assert (config.mesh, config.snapshots, config.window) == (16, (0.5, 1.0), "tsc")
    assert SimulationConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "options, message",
    [
        ({"boxsize": 3}, "`boxsize` is no option of a simulation. The nearest is box_size."),
        ({"mesh": 3}, "`mesh` must be at least 4. Received: 3."),
        ({"mesh": "64"}, "`mesh` must be an integer. Received: '64'."),
        ({"mesh": True}, "`mesh` must be an integer."),
        ({"paired": 1}, "`paired` must be true or false."),
        ({"box_size": -1}, "`box_size` must be positive."),
        ({"box_size": float("inf")}, "`box_size` must be finite."),
        ({"steps": 0}, "`steps` must be at least 1."),
        ({"force_mesh_factor": 0}, "`force_mesh_factor` must be at least 1."),
        ({"order": 3}, "`order` must be 1 or 2."),
        ({"a_start": 0}, "`a_start` must lie between 0 and 1."),
        ({"snapshots": [0.05]}, "`snapshots` must lie in [0.1, 1]. Received: [0.05]."),
        ({"snapshots": []}, "`snapshots` must name a scale factor."),
        ({"snapshots": "1"}, "`snapshots` must be scale factors."),
        ({"snapshots": [0.5, 0.50001]}, "`snapshots` must differ in four decimals."),
        ({"integrator": "euler"}, "`integrator` must be one of 'fastpm', 'leapfrog', 'bullfrog'."),
        ({"w0": 0.5}, "`w0 + wa` must be negative."),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises((ValueError, TypeError)) as error:
        SimulationConfig.from_dict(options)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_simulate_takes_a_configuration(tmp_path):
    with pytest.raises(TypeError, match="`config` must be a SimulationConfig"):
        simulate({"mesh": 8}, tmp_path)
