"""Lensing maps per second, and the price of their gradient: `python -m benchmarks.lensing`."""

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import flowpm_ext as fpm
from benchmarks.particle_mesh import hardware, print_table
from flowpm_ext.cosmology import power, redshift
from flowpm_ext.lensing import born, convergence_maps, light_cone, lognormal_maps

COSMO = fpm.Planck15()
FIVE_BINS = [redshift.gaussian_nz(z, 0.1) for z in (0.3, 0.5, 0.7, 0.9, 1.1)]
ONE_PLANE = [redshift.delta_nz(1.0)]
BOX, NUM_PLANES = 205.0, 12  # Mpc/h; to z = 1


def seconds(function: Callable[[int], object], repeats: int) -> list[float]:
    """Times of calls with different numbers, after one that compiles."""
    function(0)
    found = []
    for number in range(1, repeats + 1):
        start = time.perf_counter()
        function(number)
        found.append(time.perf_counter() - start)
    return found


def lognormal(batch_size: int) -> Callable[[int], np.ndarray]:
    """Five bins of 256^2 pixels."""
    return lambda seed: lognormal_maps(COSMO, FIVE_BINS, 5.0, 256, batch_size, seed).numpy()


def simulated(method: str) -> Callable[[int], np.ndarray]:
    """One bin of 128^2 pixels through one simulation of 64^3 particles."""
    return lambda seed: convergence_maps(
        COSMO, ONE_PLANE, 5.0, 128, method, seed=seed, box_size=BOX
    ).numpy()


def born_of_field(size: int) -> tuple[Callable[[int], object], Callable[[int], object]]:
    """A Born map of a linear field, and its mean square with the gradient by the field."""
    field = fpm.linear_field(size, BOX, lambda k: power.linear_matter_power(COSMO, k))

    def kappa(field: tf.Tensor) -> tf.Tensor:
        planes = light_cone(COSMO, field, BOX, NUM_PLANES)
        return born(COSMO, planes, ONE_PLANE, 5.0, 128)

    def gradient(field: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(field)
            loss = tf.reduce_mean(kappa(field) ** 2)
        return tape.gradient(loss, field)

    forward, backward = (
        tf.function(f, jit_compile=True, autograph=False) for f in (kappa, gradient)
    )
    return lambda _: forward(field).numpy(), lambda _: backward(field).numpy()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(f"{hardware()}, tensorflow {tf.__version__}, medians of {repeats}\n")
    rates = [
        ("lognormal, 5 bins, 256^2, batches of 8", 8, lognormal(8)),
        ("lognormal, 5 bins, 256^2, one by one", 1, lognormal(1)),
        ("Born, 1 bin, 128^2, 64^3 particles", 1, simulated("born")),
        ("multi-plane, 1 bin, 128^2, 64^3 particles", 1, simulated("multiplane")),
    ]
    print_table(
        ("maps", "maps per second"),
        ((name, f"{count / np.median(seconds(f, repeats)):.1f}") for name, count, f in rates),
    )
    forward, backward = (np.median(seconds(f, repeats)) for f in born_of_field(64))
    rows = [(f"{forward:.2f}", f"{backward:.2f}", f"{backward / forward:.1f}")]
    print_table(("Born map of a field, 64^3 (s)", "with its gradient (s)", "ratio"), rows)


if __name__ == "__main__":
    main()
