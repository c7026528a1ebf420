"""Snapshots hold physical units, come back as they were, and are refused when not whole."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.configuration import SimulationConfig
from flowpm_ext.pm import ParticleState
from flowpm_ext.snapshot import load_snapshot, snapshot_name, write_snapshot
from flowpm_ext.version import __version__

CONFIG = SimulationConfig(mesh=4, box_size=10.0, seed=3, snapshots=(0.5,), Omega_c=0.3)


def lattice(side):
    return np.array([(x, y, z) for x in range(side) for y in range(side) for z in range(side)])


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    displacement = rng.uniform(-1.9, 1.9, (64, 3))
    momentum = rng.normal(size=(1, 64, 3)).astype(np.float32)
    position = tf.constant((lattice(4) + displacement)[None], tf.float32)
    return ParticleState(position, tf.constant(momentum), 0.5)


@pytest.fixture
def path(state, tmp_path):
    write_snapshot(tmp_path / "s.h5", state, CONFIG)
    return tmp_path / "s.h5"


def test_a_user_of_h5py_finds_physical_units(path, state):
    with h5py.File(path) as file:
        position, velocity = file["position"], file["velocity"]
        assert position.shape == velocity.shape == (64, 3) and position.dtype == np.float32
        assert (position.attrs["unit"], velocity.attrs["unit"]) == ("Mpc/h", "km/s")
        assert np.all((position[:] >= 0) & (position[:] < 10.0))
        expected = np.mod(state.position.numpy()[0].astype(float) * 2.5, 10.0)
        np.testing.assert_allclose(position[:], expected, atol=1e-6)  # rounding of float32
        # a dx/dt = p H0 / a, with H0 = 100 km/s/(Mpc/h) and cells of 2.5 Mpc/h.
        expected = state.momentum.numpy()[0] * (100 * 2.5 / 0.5)
        np.testing.assert_allclose(velocity[:], expected, rtol=3e-7)  # rounding of float32
        about = dict(file.attrs)
    assert about["scale_factor"] == 0.5 and about["box_size"] == 10.0 and about["cell_size"] == 2.5
    assert about["mesh_shape"].tolist() == [4, 4, 4] and about["seed"] == 3
    assert about["Omega_c"] == 0.3 and about["h"] == 0.6766 and about["w0"] == -1.0
    assert about["package_version"] == __version__ and about["format_version"] == 1
    assert SimulationConfig.from_dict(json.loads(about["config"])) == CONFIG


@pytest.mark.parametrize("dtype, rounding", [("float32", 2e-6), ("float64", 1e-14)])
def test_a_snapshot_comes_back_unwrapped(tmp_path, state, dtype, rounding):
    state = ParticleState(*(tf.cast(x, dtype) for x in state))
    table = np.array([[0.1, 1.0], [30.0, 2.0]])
    write_snapshot(tmp_path / "s.h5", state, CONFIG, table)
    found = load_snapshot(tmp_path / "s.h5")
    assert found.config == CONFIG and float(found.state.a) == 0.5
    assert found.state.position.dtype == found.state.momentum.dtype == tf.as_dtype(dtype)
    np.testing.assert_allclose(found.state.position, state.position, atol=rounding)
    np.testing.assert_allclose(found.state.momentum, state.momentum, atol=rounding)
    np.testing.assert_array_equal(found.table, table)


def test_what_rounds_to_the_box_size_is_at_its_other_side(tmp_path):
    position = np.full((1, 64, 3), -1e-9, np.float32)
    state = ParticleState(tf.constant(position), tf.zeros([1, 64, 3]), 1.0)
    write_snapshot(tmp_path / "s.h5", state, CONFIG)
    with h5py.File(tmp_path / "s.h5") as file:
        assert np.all(file["position"][:] == 0.0)


def test_bad_states_are_not_written(tmp_path, state):
    with pytest.raises(ValueError, match="`momentum` must be finite"):
        bad = tf.fill([1, 64, 3], np.float32(np.nan))
        write_snapshot(tmp_path / "s.h5", state._replace(momentum=bad), CONFIG)
    with pytest.raises(ValueError, match=r"`state` must have shape \(1, 64, 3\)"):
        two = tf.zeros([2, 64, 3])
        write_snapshot(tmp_path / "s.h5", ParticleState(two, two, 0.5), CONFIG)
    with pytest.raises(OSError):
        write_snapshot(tmp_path / "no" / "s.h5", state, CONFIG)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_what_was_there(path, state, monkeypatch):
    before = path.read_bytes()

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.File, "create_dataset", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_snapshot(path, state, CONFIG)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_files_that_are_no_whole_snapshots_are_refused(path, tmp_path):
    def refusal(name):
        with pytest.raises(ValueError) as error:
            load_snapshot(tmp_path / name)
        text = str(error.value)
        assert str(tmp_path / name) in text and "\n" not in text
        assert text.endswith("Make it again with `python -m flowpm_ext simulate`.")
        return text

    whole = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("position\n")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["position"] = np.zeros(3)
    for name in ("future.h5", "partial.h5"):
        (tmp_path / name).write_bytes(whole)
    with h5py.File(tmp_path / "future.h5", "a") as file:
        file.attrs.update({"format_version": 2, "package_version": "9.9"})
    with h5py.File(tmp_path / "partial.h5", "a") as file:
        del file["velocity"]
    assert "there is no such file" in refusal("absent.h5")
    assert "be a whole flowpm_ext snapshot in HDF5" in refusal("cut.h5")
    assert "be a whole flowpm_ext snapshot in HDF5" in refusal("text.h5")
    assert "another HDF5 file" in refusal("foreign.h5")
    assert "have format 1. Received: format 2, written by flowpm_ext 9.9" in refusal("future.h5")
    assert "velocity" in refusal("partial.h5")


def test_names_tell_scale_factors_apart():
    assert snapshot_name(0.5) == "snapshot_a0.5000.h5" and snapshot_name(1) == "snapshot_a1.0000.h5"
