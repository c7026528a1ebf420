"""Error of simulated power spectra: `python -m benchmarks.particle_mesh_accuracy`.

Against many FastPM steps of the same field, start and force mesh, for every force mesh, gradient,
integrator and number of steps; then against halofit. Particles start at a = 0.1 in a box of
256 Mpc/h and are painted at a = 1 onto a mesh twice as fine.
"""

import argparse
import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from benchmarks.particle_mesh import A_START, print_table
from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import cic_paint
from flowpm_ext.pm import lpt_init, nbody
from flowpm_ext.pm.steps import INTEGRATORS
from flowpm_ext.stats import power_spectrum

BOX = 256.0  # Mpc/h
EDGES = np.arange(0.05, 0.31, 0.05)  # h/Mpc
# Refinement and gradient of the force mesh; the finest comes first.
MESHES = ((2, "spectral"), (2, "finite_difference"), (1, "spectral"), (1, "finite_difference"))
SPACINGS = {"a": np.linspace, "ln a": np.geomspace}
NUM_STEPS = (3, 5, 6, 10, 20)
REFERENCE_STEPS = 100
NUM_PAIRS = 4
COSMO = Planck15()


def initial_field(size: int, seed: int, is_paired: bool = False) -> tf.Tensor:
    """Linear overdensity of fixed amplitudes, [1, size, size, size]; paired: of opposite phase."""
    k = np.geomspace(1e-3, 20.0, 400)
    table = (k, power.linear_matter_power(COSMO, k).numpy())
    return linear_field(size, BOX, table, seed=seed, is_fixed=True, is_paired=is_paired)


def spectrum(
    field: tf.Tensor,
    num_steps: int,
    integrator: str = "fastpm",
    spacing: str = "a",
    mesh: tuple[int, str] = MESHES[0],
) -> tuple[np.ndarray, np.ndarray]:
    """Mean wavenumbers (h/Mpc) and power ((Mpc/h)^3) in bins between `EDGES` at a = 1.

    Args:
        field: Linear overdensity at a = 1.
        num_steps: Steps from the start to a = 1.
        integrator: One of `INTEGRATORS`.
        spacing: Steps uniform in "a" or in "ln a".
        mesh: Refinement and gradient of the force mesh.
    """
    size = field.shape[1]
    stages = SPACINGS[spacing](A_START, 1.0, num_steps + 1)
    start = lpt_init(COSMO, field, A_START)
    factor, kernel = mesh
    end = nbody(COSMO, start, stages, size, integrator, force_mesh_factor=factor,
                gradient_kernel=kernel)  # fmt: skip
    fine = tf.zeros([1, 2 * size, 2 * size, 2 * size])
    density = cic_paint(fine, 2 * end.position, 8 * tf.ones_like(end.position[..., 0]))
    k, measured, _ = power_spectrum(density - 1, BOX, EDGES, window="cic")
    return np.asarray(k), np.asarray(measured)[0]


def integrator_rows(size: int, reference_steps: int) -> Iterator[tuple]:
    """Rows of errors against many FastPM steps, and of those against the finest mesh."""
    field = initial_field(size, seed=1)
    finest = None
    runs = list(itertools.product(INTEGRATORS, SPACINGS, NUM_STEPS))
    with tqdm(total=len(MESHES) * (1 + len(runs)), unit="run") as bar:
        for mesh in MESHES:
            reference = spectrum(field, reference_steps, mesh=mesh)[1]
            finest = reference if finest is None else finest
            bar.update()
            yield *mesh, "fastpm, of the finest", "a", reference_steps, *errors(reference, finest)
            for integrator, spacing, num_steps in runs:
                found = spectrum(field, num_steps, integrator, spacing, mesh)[1]
                bar.update()
                yield *mesh, integrator, spacing, num_steps, *errors(found, reference)


def halofit_rows(size: int, num_pairs: int) -> Iterator[tuple]:
    """Rows of errors of ten FastPM steps against halofit: means of pairs of opposite phase."""
    for mesh in MESHES:
        spectra = [
            spectrum(initial_field(size, seed, is_paired), 10, mesh=mesh)
            for seed, is_paired in itertools.product(range(num_pairs), (False, True))
        ]
        theory = power.nonlinear_matter_power(COSMO, spectra[0][0]).numpy()
        yield *mesh, *errors(np.mean([found for _, found in spectra], axis=0), theory)


def errors(found: np.ndarray, expected: np.ndarray) -> list[str]:
    """Relative differences, in percent."""
    return [f"{100 * ratio:.1f} %" for ratio in found / expected - 1]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="particles along an axis")
    parser.add_argument("--reference-steps", type=int, default=REFERENCE_STEPS)
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS, help="fields against halofit")
    arguments = parser.parse_args()
    bins = tuple(f"{low:.2f} < k < {high:.2f}" for low, high in itertools.pairwise(EDGES))
    print(f"{arguments.size}^3 particles in {BOX:g} Mpc/h, from a = {A_START}\n")
    head = ("force mesh", "gradient", "integrator", "uniform in", "steps", *bins)
    print_table(head, integrator_rows(arguments.size, arguments.reference_steps))
    print("Against halofit, 10 FastPM steps\n")
    print_table(head[:2] + bins, halofit_rows(arguments.size, arguments.pairs))


if __name__ == "__main__":
    main()
