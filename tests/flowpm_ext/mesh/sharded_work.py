"""What each of several processes does for `test_sharded.py`: numbers on a mesh in slabs.

As a program, `sharded_work.py FOLDER TASK...` runs in every process. Each writes what it found to
files of its own, and the test compares the whole with one device and with NumPy.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext import lensing
from flowpm_ext.cosmology import power
from flowpm_ext.mesh import LocalMesh, ShardedMesh, join_cluster
from flowpm_ext.stats import power_spectrum

SHAPE = (8, 12, 6)
SIDE, CELL, STAGES = 8, 4.0, np.linspace(0.2, 1.0, 4)
BOX = SIDE * CELL
TABLE = (np.array([0.01, 1.0]), np.array([2e4, 10.0]))  # a power law


def inputs(dtype, processes=None):
    """A field, positions and weights of the whole mesh, or of the slab of a process."""
    rng = np.random.default_rng(0)
    field = rng.normal(size=(2, *SHAPE, 3))
    lattice = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    position = lattice[None] + rng.uniform(-1.4, 1.4, (2, *SHAPE, 3))
    # Some have gone around the box: only the nearest image counts.
    position = position + np.array(SHAPE) * rng.integers(-1, 2, (2, 1, *SHAPE[1:], 3))
    weight = rng.normal(size=(2, *SHAPE, 3))
    size, rank = (processes.size, processes.rank) if processes else (1, 0)
    planes = SHAPE[0] // size
    field, position, weight = (x[:, rank * planes :][:, :planes] for x in (field, position, weight))
    flat = (field, position.reshape(2, -1, 3), weight.reshape(2, -1, 3))
    return [tf.constant(x, dtype) for x in flat]


def operations(mesh, dtype):
    """Operations by name: a function, and which it takes of field, position and weight."""

    def squared_modes(field):
        modes = mesh.rfft3(tf.transpose(field, [0, 4, 1, 2, 3]))
        weights = tf.constant(mesh.mode_weights(), field.dtype)
        return mesh.sum(weights * tf.abs(modes) ** 2, axis=(2, 3, 4))

    def moved(field):
        # Another distance along each axis, so that a wrong order of the modes shows.
        by = zip(mesh.wavenumbers(), (1.0, 2.0, 3.0), strict=True)
        phase = sum(tf.constant(k * distance, field.dtype) for k, distance in by)
        return mesh.irfft3(mesh.rfft3(field[..., 0]) * tf.complex(tf.cos(phase), tf.sin(phase)))

    def scaled_by_its_sum(field):
        return field[..., 0] * mesh.replicated(mesh.sum(field, axis=(0, 1, 2, 3))[0])

    def once(wide):
        """A wide part folded, where each cell counts once however many hold it."""
        copies = mesh.folded(mesh.widened(tf.ones([1, *mesh.local_shape, 1], dtype)))
        return mesh.folded(wide) / copies

    return {
        "squared_modes": (squared_modes, "f"),
        "moved": (moved, "f"),
        "differences": (lambda f: mesh.differences(f[..., 0]), "f"),
        "wide_differences": (lambda f: once(mesh.differences(f[..., 0], is_wide=True)), "f"),
        "widened": (lambda f: once(mesh.widened(f)), "f"),
        "paint": (mesh.paint, "p"),
        "paint_vectors": (mesh.paint, "pw"),
        "readout": (lambda f, p: mesh.readout(f[..., 0], p), "fp"),
        "readout_vectors": (mesh.readout, "fp"),
        "slopes": (lambda f, p, w: mesh.slopes(mesh.widened(f), p, w), "fpw"),
        "mean": (lambda f: mesh.mean(f[..., 0]) * f[..., 1], "f"),
        "scaled_by_its_sum": (scaled_by_its_sum, "f"),
    }


def each_operation(mesh, dtype, processes=None):
    """Values of all operations, and their gradients by all arguments."""
    given = dict(zip("fpw", inputs(dtype, processes), strict=True))

    @tf.function(autograph=False)
    def run():
        found = {"white_noise": mesh.white_noise(3, 2, dtype), "lattice": mesh.lattice(dtype)}
        for name, (function, takes) in operations(mesh, dtype).items():
            arguments = [given[letter] for letter in takes]
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                found[name] = function(*arguments)
                loss = tf.reduce_sum(found[name] ** 3 + found[name] ** 2)
                loss = loss if name == "squared_modes" else mesh.sum(loss)
            gradients = tape.gradient(loss, arguments)
            found |= {f"{name}_by_{x}": d for x, d in zip(takes, gradients, strict=True)}
        return found

    return run()


def adjoint_products(mesh, dtype, processes=None):
    """<A x, y> and <x, A* y> of every linear operation, [2] each."""
    field, position, weight = inputs(dtype, processes)
    scalar, mass = field[..., 0], weight[..., 0]
    linear = {
        "rfft3": (mesh.rfft3, scalar),
        "irfft3": (mesh.irfft3, mesh.rfft3(scalar**2)),
        "differences": (mesh.differences, scalar),
        "wide_differences": (lambda x: mesh.differences(x, True), scalar),
        "widened": (mesh.widened, field),
        "folded": (mesh.folded, mesh.widened(scalar)),
        "paint": (lambda x: mesh.paint(position, x), mass),
        "paint_vectors": (lambda x: mesh.paint(position, x), weight),
        "readout": (lambda x: mesh.readout(x, position), scalar),
        "readout_vectors": (lambda x: mesh.readout(x, position), field),
        "slopes": (lambda x: mesh.slopes(mesh.widened(x), position, weight), field),
    }

    def product(a, b):
        return mesh.sum(tf.math.real(tf.reduce_sum(a * tf.math.conj(b))))

    @tf.function(autograph=False)
    def run():
        found = {}
        for name, (function, x) in linear.items():
            with tf.GradientTape() as tape:
                tape.watch(x)
                image = function(x)
            y = tf.cast(tf.math.real(image) ** 2 + 1, image.dtype)
            pulled = tape.gradient(image, x, output_gradients=y)
            found[name] = tf.stack([product(image, y), product(x, pulled)])
        return found

    return run()


def transforms(mesh, dtype, processes=None):
    """Modes of a field, and what comes back from them."""
    field = inputs(dtype, processes)[0][..., 0]
    modes = mesh.rfft3(field)
    return {"modes": modes, "back": mesh.irfft3(modes)}


def simulation(mesh, dtype, processes=None, stages=STAGES, window="cic"):
    """Density at the end, its spectrum, and gradients by noise and cosmology."""
    box = CELL * mesh.shape[0]

    def spectra_and_density(white, parameters):
        cosmo = fpm.Planck15(**parameters)
        field = fpm.linear_field(
            mesh, box, lambda k: power.linear_matter_power(cosmo, k), white_noise=white
        )
        state = fpm.lpt_init(cosmo, field, stages[0], mesh=mesh)
        density = mesh.paint(fpm.nbody(cosmo, state, stages, mesh, window=window).position)
        return power_spectrum(density - 1, box, mesh=mesh).power, density

    @tf.function(autograph=False)
    def run(white, parameters):
        with tf.GradientTape() as tape:
            tape.watch([white, parameters])
            spectrum, density = spectra_and_density(white, parameters)
            loss = mesh.sum(density**2) + tf.reduce_sum(spectrum)
        by_white, by_parameters = tape.gradient(loss, [white, parameters])
        return {"density": density, "spectrum": spectrum, "by_white": by_white, **by_parameters}

    parameters = {"Omega_c": tf.constant(0.26, tf.float64), "sigma8": tf.constant(0.8, tf.float64)}
    return run(mesh.white_noise(1, 1, dtype), parameters)


def large_simulation(mesh, dtype, processes=None):
    """Ten steps of a mesh that is no toy.

    The gradient of clouds in cells jumps where a particle passes the edge of a cell, which rounding
    in float32 does to one or another of so many; that of wider clouds does not.
    """
    return simulation(mesh, dtype, processes, np.linspace(0.1, 1.0, 11), "tsc")


def leapfrog(mesh, dtype, processes=None):
    """Density of a simulation that NumPy makes too, and its gradient by the noise."""

    @tf.function(autograph=False)
    def run(white):
        with tf.GradientTape() as tape:
            tape.watch(white)
            field = fpm.linear_field(mesh, BOX, TABLE, white_noise=white)
            state = fpm.lpt_init(fpm.Planck15(), field, STAGES[0], order=1, mesh=mesh)
            options = {"integrator": "leapfrog", "gradient_kernel": "spectral"}
            end = fpm.nbody(fpm.Planck15(), state, STAGES, mesh, **options)
            density = mesh.paint(end.position)
            loss = mesh.sum(density**2)
        return {"white": white, "density": density, "by_white": tape.gradient(loss, white)}

    return run(mesh.white_noise(1, 1, dtype))


def eager_steps(mesh, dtype, processes=None):
    """A simulation called eagerly, on a finer mesh of the force and with wider clouds."""
    cosmo = fpm.Planck15()
    field = fpm.linear_field(mesh, BOX, TABLE, dtype=dtype)
    state = fpm.lpt_init(cosmo, field, STAGES[0], mesh=mesh)
    options = {"force_mesh_factor": 2, "window": "tsc", "gradient_kernel": "spectral"}
    end = fpm.nbody(cosmo, state, STAGES[[0, -1]], mesh, "bullfrog", **options)
    return {"field": field, "position": end.position[0], "momentum": end.momentum[0]}


def light_cone(mesh, dtype, processes=None):
    """Lens planes and the gradients of their squares by noise and cosmology."""

    @tf.function(autograph=False)
    def run(white, sigma8):
        with tf.GradientTape() as tape:
            tape.watch([white, sigma8])
            field = fpm.linear_field(mesh, BOX, TABLE, white_noise=white)
            field *= mesh.replicated(sigma8)
            planes = lensing.light_cone(
                fpm.Planck15(), field, BOX, 3, num_slabs=2, plane_resolution=2,
                stages=STAGES, mesh=mesh,
            ).overdensity  # fmt: skip
            loss = tf.reduce_sum(planes**2)
        by_white, by_amplitude = tape.gradient(loss, [white, sigma8])
        return {"planes": planes, "by_white": by_white, "by_amplitude": by_amplitude}

    return run(mesh.white_noise(1, 1, dtype), tf.constant(1.0, dtype))


def split(mesh, dtype, processes):
    """What comes from the neighbours where both are sent one of several results, in a graph."""

    @tf.function(autograph=False)
    def run(x):
        _, second = tf.split(x, 2)
        return tf.stack(processes.to_neighbours(up=second, down=second))

    return {"received": run(tf.constant([10.0 + processes.rank, 20.0 + processes.rank], dtype))}


def refusals(mesh, dtype, processes):
    """What is said where a halo is too narrow, eagerly and in a graph."""
    position = mesh.lattice(dtype)[None] + tf.constant([2.5, 0.0, 0.0], dtype)
    found = {}
    for name, paint in (("eager", mesh.paint), ("graph", tf.function(mesh.paint))):
        try:
            paint(position)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            found[name] = f"{type(error).__name__}: {error}"
    return {name: tf.constant(text) for name, text in found.items()}


def mesh_of(task, processes):
    """The mesh of a task, on the processes or, for None, on one device."""
    on_shape = ("each_operation", "adjoint_products", "transforms")
    shape, window, halo = SHAPE if task in on_shape else SIDE, "cic", 2
    if task == "large_simulation":
        shape, window = 64, "tsc"
    if processes is None:
        return LocalMesh(shape, window)
    if processes.size == 4:
        halo = 5  # beyond the neighbours' slabs of two planes
    if task == "large_simulation":
        halo = None
    return ShardedMesh(shape, window, processes=processes, halo=halo)


def main(folder, *tasks):
    processes = join_cluster(timeout=120.0)
    for task in tasks:
        name, dtype = task.split("-")
        found = globals()[name](mesh_of(name, processes), tf.as_dtype(dtype), processes)
        arrays = {key: value.numpy() for key, value in found.items()}
        np.savez(pathlib.Path(folder) / f"{task}_{processes.rank}.npz", **arrays)
    processes.sum(tf.zeros([]))  # wait for the others


if __name__ == "__main__":
    main(*sys.argv[1:])
