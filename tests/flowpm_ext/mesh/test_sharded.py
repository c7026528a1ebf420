"""A mesh in slabs over processes against one device, NumPy, and its own adjoints."""

import itertools
import sys

import numpy as np
import pytest
import sharded_work as work
import tensorflow as tf

from flowpm_ext.launcher import launch
from flowpm_ext.mesh import LocalMesh, Processes, ShardedMesh

TASKS = {
    1: ["each_operation-float64", "adjoint_products-float64", "transforms-float64"],
    2: ["each_operation-float64", "adjoint_products-float64", "transforms-float64",
        "simulation-float32", "simulation-float64", "eager_steps-float64", "light_cone-float64",
        "refusals-float32"],
    4: ["each_operation-float64", "adjoint_products-float64", "transforms-float64"],
}  # fmt: skip
everywhere = pytest.mark.parametrize("num_processes", [1, 2, 4])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of so many processes found, by task: started once, when first asked for."""
    made = {}

    def of(num_processes, task):
        if num_processes not in made:
            folder = made[num_processes] = tmp_path_factory.mktemp(f"processes_{num_processes}")
            command = [sys.executable, work.__file__, str(folder), *TASKS[num_processes]]
            ended = launch(command, num_processes, shows_first=False, timeout=1500)
            assert ended.code == 0, ended.output[ended.failed]
        files = [made[num_processes] / f"{task}_{rank}.npz" for rank in range(num_processes)]
        return [dict(np.load(path)) for path in files]

    return of


def on_one_device(task):
    name, dtype = task.split("-")
    found = getattr(work, name)(work.mesh_of(name, None), tf.as_dtype(dtype))
    return {key: value.numpy() for key, value in found.items()}


def joined(parts, key, shape):
    """The slabs of all processes together; what all have alike, once."""
    values = [part[key] for part in parts]
    if values[0].shape == shape:
        for other in values[1:]:
            np.testing.assert_array_equal(other, values[0])
        return values[0]
    (axis,) = np.flatnonzero(np.not_equal(values[0].shape, shape))
    return np.concatenate(values, axis=axis)


def relative_rms(ours, expected):
    return np.sqrt(np.mean((ours - expected) ** 2) / np.mean(expected**2))


@everywhere
def test_every_operation_and_its_gradient_are_those_of_one_device(results, num_processes):
    parts = results(num_processes, "each_operation-float64")
    for key, expected in on_one_device("each_operation-float64").items():
        ours = joined(parts, key, expected.shape)
        scale = np.max(np.abs(expected))
        # Rounding, of sums in another order.
        np.testing.assert_allclose(ours, expected, atol=1e-13 * scale, err_msg=key)


@everywhere
def test_products_with_the_adjoint_agree(results, num_processes):
    for found in results(num_processes, "adjoint_products-float64"):
        assert len(found) == 8
        for name, (there, back) in found.items():
            # The project's bar for adjoints in float64.
            np.testing.assert_allclose(there, back, rtol=1e-12, err_msg=name)


@everywhere
def test_modes_are_those_of_numpy(results, num_processes):
    parts = results(num_processes, "transforms-float64")
    field = work.inputs(tf.float64)[0].numpy()[..., 0]
    modes = np.concatenate([part["modes"] for part in parts], axis=1)  # [batch, ny, nz', nx]
    np.testing.assert_allclose(
        np.moveaxis(modes, -1, 1), np.fft.rfftn(field, axes=(1, 2, 3)), atol=1e-12
    )
    back = np.concatenate([part["back"] for part in parts], axis=1)
    np.testing.assert_allclose(back, field, atol=1e-14)


def numpy_clouds(position):
    """Clouds in cells of particles [num_particles, 3] of unit mass."""
    mesh, first = np.zeros(work.SHAPE), np.floor(position).astype(int)
    for corner in itertools.product((0, 1), repeat=3):
        share = np.prod(1 - np.abs(position - first - corner), axis=-1)
        np.add.at(mesh, tuple(np.mod(first + corner, work.SHAPE).T), share)
    return mesh


@everywhere
def test_painted_mass_is_that_of_numpy(results, num_processes):
    parts = results(num_processes, "each_operation-float64")
    ours = np.concatenate([part["paint"] for part in parts], axis=1)
    for mass, position in zip(ours, work.inputs(tf.float64)[1].numpy(), strict=True):
        np.testing.assert_allclose(mass, numpy_clouds(position), atol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "of_density", "of_gradient"), [("float32", 5e-5, 5e-4), ("float64", 1e-12, 1e-10)]
)
def test_simulation_and_its_gradients_are_those_of_one_device(
    results, dtype, of_density, of_gradient
):
    parts = results(2, f"simulation-{dtype}")
    for key, expected in on_one_device(f"simulation-{dtype}").items():
        ours = joined(parts, key, expected.shape)
        # What the project asks of meshes on several devices.
        bar = of_density if key in ("density", "spectrum") else of_gradient
        assert relative_rms(ours, expected) < bar, key


def test_eager_calls_are_those_of_one_device(results):
    parts = results(2, "eager_steps-float64")
    for key, expected in on_one_device("eager_steps-float64").items():
        assert relative_rms(joined(parts, key, expected.shape), expected) < 1e-12, key


def test_a_light_cone_and_its_gradients_are_those_of_one_device(results):
    parts = results(2, "light_cone-float64")
    for key, expected in on_one_device("light_cone-float64").items():
        bar = 1e-12 if key == "planes" else 1e-10
        assert relative_rms(joined(parts, key, expected.shape), expected) < bar, key


def test_all_processes_say_which_halo_is_needed(results):
    for found in results(2, "refusals-float32"):
        # A lattice moved by 2.5 cells: the last plane of a slab is spread to the third beyond it.
        words = "`halo` must be at least 3. Received: 2. Set `halo`, up to the 4 planes of a slab"
        eager, graph = (found[name].item().decode() for name in ("eager", "graph"))
        assert words in eager and words in graph
        assert eager.startswith("ValueError") and graph.startswith("InvalidArgumentError")


class Five(Processes):
    """Five processes to ask about, which do not talk."""

    def __init__(self):
        self.size, self.rank = 5, 0


def test_a_mesh_that_does_not_divide_is_refused_with_what_would():
    words = r"divide by the 5 processes .* Received: \(12, 8, 6\). Take 4 .*of \(15, 10, 6\)"
    with pytest.raises(ValueError, match=words):
        ShardedMesh((12, 8, 6), processes=Five())


@pytest.mark.parametrize("halo", [0, 9, 1.5])
def test_a_halo_that_no_slab_has_is_refused(halo):
    with pytest.raises(ValueError, match="`halo` must be an integer from 1 to 8"):
        ShardedMesh(8, halo=halo)


def test_a_slab_is_not_moved_further_than_its_planes():
    mesh = ShardedMesh(4)
    with pytest.raises(ValueError, match="`shift` must be at most 4"):
        mesh.roll(tf.zeros([1, 4, 4, 4]), 5, 0)


def test_refined_meshes_have_refined_halos():
    fine = ShardedMesh(8, halo=3).refined(2, "tsc")
    assert (fine.shape, fine.halo, fine.window) == ((16, 16, 16), 6, "tsc")
    assert LocalMesh(4).refined(3, "tsc") == LocalMesh(12, "tsc")


def test_other_strategies_are_refused():
    with pytest.raises(TypeError, match="`strategy` must be a MultiWorkerMirroredStrategy"):
        Processes(tf.distribute.get_strategy())
