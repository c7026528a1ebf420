"""A mesh in slabs over processes against one device, NumPy, and its own adjoints."""

import functools
import sys

import numpy as np
import pytest
import sharded_work as work
import tensorflow as tf
from reference.simulation import clouds, simulation

import flowpm_ext as fpm
from flowpm_ext.launcher import launch
from flowpm_ext.mesh import LocalMesh, Processes, ShardedMesh

TASKS = {
    1: ["each_operation-float64", "adjoint_products-float64", "transforms-float64"],
    2: ["each_operation-float64", "adjoint_products-float64", "transforms-float64",
        "simulation-float32", "simulation-float64", "leapfrog-float64", "eager_steps-float64",
        "light_cone-float64", "refusals-float32", "split-float64"],
    4: ["each_operation-float64", "adjoint_products-float64", "transforms-float64",
        "eager_steps-float64"],
}  # fmt: skip
LARGE = ["large_simulation-float32", "large_simulation-float64"]
everywhere = pytest.mark.parametrize("num_processes", [1, 2, 4])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of so many processes found, by task: started once, when first asked for."""
    made = {}

    def of(num_processes, task):
        tasks = [task] if task in LARGE else TASKS[num_processes]
        run = (num_processes, tasks[0])
        if run not in made:
            folder = made[run] = tmp_path_factory.mktemp(f"processes_{num_processes}")
            command = [sys.executable, work.__file__, str(folder), *tasks]
            ended = launch(command, num_processes, shows_first=False, timeout=1500)
            assert ended.code == 0, ended.output[ended.failed]
        files = [made[run] / f"{task}_{rank}.npz" for rank in range(num_processes)]
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
        assert len(found) == 11
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


@everywhere
def test_painted_mass_is_that_of_numpy(results, num_processes):
    parts = results(num_processes, "each_operation-float64")
    ours = np.concatenate([part["paint"] for part in parts], axis=1)
    for mass, position in zip(ours, work.inputs(tf.float64)[1].numpy(), strict=True):
        np.testing.assert_allclose(mass, clouds(position, work.SHAPE), atol=1e-13)


# What the project asks of meshes on several devices: in float32, one changed last bit of the
# positions is 5e-6 of the density.
bars = pytest.mark.parametrize(
    ("dtype", "of_density", "of_gradient"), [("float32", 5e-5, 5e-4), ("float64", 1e-12, 1e-10)]
)


def require_alike(parts, whole, of_density, of_gradient):
    """Print and check how far each result is from that of one device."""
    for key, expected in whole.items():
        found = relative_rms(joined(parts, key, expected.shape), expected)
        print(f"{key}: {found:.1e}")
        assert found < (of_density if key in ("density", "spectrum") else of_gradient), key


@bars
def test_simulation_and_its_gradients_are_those_of_one_device(
    results, dtype, of_density, of_gradient
):
    task = f"simulation-{dtype}"
    require_alike(results(2, task), on_one_device(task), of_density, of_gradient)


@pytest.fixture(scope="module")
def whole_of(request):
    """The same on one device, made once."""
    return functools.cache(on_one_device)


@pytest.mark.slow
@everywhere
@bars
def test_a_large_simulation_and_its_gradients_are_those_of_one_device(
    results, whole_of, num_processes, dtype, of_density, of_gradient
):
    task = f"large_simulation-{dtype}"
    require_alike(results(num_processes, task), whole_of(task), of_density, of_gradient)


def test_simulation_and_its_gradient_are_those_of_numpy(results):
    parts = results(2, "leapfrog-float64")
    shape = (1, *[work.SIDE] * 3)
    white, density, by_white = (joined(parts, key, shape)[0] for key in parts[0])

    def reference(white):
        (first, last), (high, low) = work.TABLE
        slope = np.log(low / high) / np.log(last / first)
        omega_m = float(fpm.Planck15().Omega_m)
        return simulation(
            white, work.CELL, lambda k: high * (k / first) ** slope, omega_m, work.STAGES
        )

    # Tables of growth and times are good to a few 1e-9.
    np.testing.assert_allclose(density, reference(white), atol=1e-8)
    along, step = np.random.default_rng(0).normal(size=white.shape), 1e-6
    high, low = (np.sum(reference(white + side * step * along) ** 2) for side in (1, -1))
    # The step leaves 1e-7, of rounding and where a particle passes a lattice plane.
    assert np.sum(by_white * along) == pytest.approx((high - low) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("num_processes", [2, 4])  # with halos within a slab and beyond it
def test_eager_calls_are_those_of_one_device(results, num_processes):
    parts = results(num_processes, "eager_steps-float64")
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
        words = "`halo` must be at least 3. Received: 2. Make the mesh with `halo=` at least that."
        eager, graph = (found[name].item().decode() for name in ("eager", "graph"))
        assert words in eager and words in graph
        assert eager.startswith("ValueError") and graph.startswith("InvalidArgumentError")


def test_neighbours_get_what_is_theirs_of_an_operation_with_several_results(results):
    for rank, found in enumerate(results(2, "split-float64")):
        np.testing.assert_array_equal(found["received"], [[21 - rank]] * 2)


class Five(Processes):
    """Five processes to ask about, which do not talk."""

    def __init__(self):
        self.size, self.rank = 5, 0


def test_differentiating_all_operations_of_a_run_is_refused_on_several_devices():
    mesh = ShardedMesh(10, processes=Five())
    state = fpm.ParticleState(tf.zeros([1, 200, 3]), tf.zeros([1, 200, 3]), 0.5)
    with pytest.raises(ValueError, match='`gradient` must be "adjoint" or "checkpoint" on several'):
        fpm.nbody(fpm.Planck15(), state, [0.5, 1.0], mesh, gradient="autodiff")


def test_a_mesh_that_does_not_divide_is_refused_with_what_would():
    words = r"divide by the 5 processes .* Received: \(12, 8, 6\). Take 4 .*of \(15, 10, 6\)"
    with pytest.raises(ValueError, match=words):
        ShardedMesh((12, 8, 6), processes=Five())


@pytest.mark.parametrize("halo", [0, -2, 1.5])
def test_a_halo_that_makes_no_sense_is_refused(halo):
    with pytest.raises(ValueError, match="`halo` must be a positive integer"):
        ShardedMesh(8, halo=halo)


def test_a_halo_is_never_wider_than_particles_can_reach():
    # Every particle is in the only slab; a wide cloud spreads it to two planes beyond.
    assert ShardedMesh(8, halo=5).halo == 2
    # Five slabs of two planes: the particles farthest from one are four planes beyond it.
    assert ShardedMesh(10, processes=Five(), halo=100).halo == 6


def test_refined_meshes_have_refined_halos():
    fine = ShardedMesh(20, processes=Five(), halo=3).refined(2, "tsc")
    assert (fine.shape, fine.halo, fine.window) == ((40, 40, 40), 6, "tsc")
    assert LocalMesh(4).refined(3, "tsc") == LocalMesh(12, "tsc")


def test_other_strategies_are_refused():
    with pytest.raises(TypeError, match="`strategy` must be a MultiWorkerMirroredStrategy"):
        Processes(tf.distribute.get_strategy())
