"""Learned displacements beside the particle mesh: `python -m benchmarks.displacement_network`.

A U-Net learns, at one cosmology, what to add to the displacements of the Zel'dovich approximation
to have those of a particle mesh of 40 steps (He et al. 2019, arXiv:1811.06533, in small). Both it
and a particle mesh of 10 steps are then compared with 40 steps at sigma8 20 % lower, the same and
20 % higher. The network is trained on the spot.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from flowpm_ext.core.seeds import fold
from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.nn import UNet
from flowpm_ext.pm import lpt_init, nbody
from flowpm_ext.stats import cross_correlation, power_spectrum

SIDE, BOX = 32, 128.0  # as He et al. have them
MESH = LocalMesh((SIDE,) * 3)
K = np.geomspace(1e-3, 20, 512)
FIDUCIAL = power.linear_matter_power(Planck15(), K).numpy()
SCALES = (0.8, 1.0, 1.2)  # of sigma8


def displacement(state) -> tf.Tensor:
    """From the lattice (cells), [batch, SIDE, SIDE, SIDE, 3]."""
    path = state.position - MESH.lattice(state.position.dtype)
    return tf.reshape(path, [-1, SIDE, SIDE, SIDE, 3])


@tf.function(jit_compile=True)
def simulated(seed: tf.Tensor, scale: tf.Tensor, num_steps: int = 40) -> tuple:
    """Displacements (cells) of Zel'dovich and of a particle mesh, from the same field."""
    cosmo = Planck15()
    x = scale * linear_field(MESH.shape, BOX, (K, FIDUCIAL), 2, seed)
    first = displacement(lpt_init(cosmo, x, 1.0, order=1))
    stages = np.linspace(0.1, 1.0, num_steps + 1)
    last = nbody(cosmo, lpt_init(cosmo, x, 0.1), stages, MESH.shape)
    return first, displacement(last)


def density(path: tf.Tensor) -> tf.Tensor:
    """Overdensity of particles displaced from the lattice."""
    position = MESH.lattice(path.dtype) + tf.reshape(path, [path.shape[0], -1, 3])
    return MESH.paint(position) - 1


class Displacements(keras.Model):
    """Zel'dovich displacements and what a U-Net adds to them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = UNet((16, 32, 64), 3)
        self.network.build((None, None, None, None, 3))

    def call(self, first: tf.Tensor) -> tf.Tensor:
        return first + self.network(first)


def trained(num_updates: int) -> Displacements:
    """The network, trained at the fiducial cosmology."""
    keras.utils.set_random_seed(0)
    model = Displacements()
    rate = keras.optimizers.schedules.CosineDecay(2e-3, num_updates, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate), "mse")
    one = tf.ones([])
    data = tf.data.Dataset.range(num_updates).map(lambda i: simulated(fold(1, i), one))
    model.fit(data.prefetch(2), shuffle=False, verbose=2)
    return model


def compared(model: Displacements, num: int) -> dict[float, dict[str, dict[str, np.ndarray]]]:
    """Errors of displacements and densities, by sigma8 and by method."""
    found = {}
    for scale in SCALES:
        sums = {}
        for i in range(num):
            seed, size = fold(2, i), tf.constant(scale)
            first, truth = simulated(seed, size)
            others = {
                "U-Net": model(first),
                "particle mesh, 10 steps": simulated(seed, size, 10)[1],
                "Zel'dovich": first,
            }
            for name, path in others.items():
                sums.setdefault(name, []).append(errors(path, truth))
        found[scale] = {
            name: {key: np.mean([row[key] for row in rows], axis=0) for key in rows[0]}
            for name, rows in sums.items()
        }
    return found


def errors(path: tf.Tensor, truth: tf.Tensor) -> dict[str, np.ndarray]:
    """Of displacements, and of power and phases of the density."""
    mine, best = density(path), density(truth)
    spectra = [power_spectrum(field, BOX) for field in (mine, best)]
    ratio = np.mean(spectra[0].power / spectra[1].power, axis=0)
    error = np.sqrt(np.mean((path - truth) ** 2) * 3) * BOX / SIDE
    return {
        "displacement": error,
        "k": spectra[0].k.numpy(),
        "power": ratio,
        "r": cross_correlation(mine, best, BOX).correlation.numpy().mean(axis=0),
    }


def figure(found: dict) -> Figure:
    """Power and correlation over the reference, a column for each sigma8."""
    shown = Figure(figsize=(12.5, 6.4), layout="constrained")
    axes = shown.subplots(2, len(SCALES), sharex=True, sharey="row")
    colours = {"U-Net": "#c9a227", "particle mesh, 10 steps": "#d1495b", "Zel'dovich": "#8a8a8a"}
    for column, scale in enumerate(SCALES):
        for name, values in found[scale].items():
            for row, key in enumerate(("power", "r")):
                axes[row, column].semilogx(
                    values["k"], values[key], color=colours[name], label=name, linewidth=2
                )
        trained_here = " (trained here)" if scale == 1 else ""
        axes[0, column].set_title(f"sigma8 x {scale:g}{trained_here}")
        ticks = (0.1, 0.2, 0.5)
        axes[1, column].set_xticks(ticks, [f"{k:g}" for k in ticks])
        axes[1, column].xaxis.set_minor_formatter(NullFormatter())
        axes[1, column].set_xlabel("k [h/Mpc]")
        for row in range(2):
            axes[row, column].axhline(1.0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes[0, 0].set(ylabel="power over that of 40 steps", ylim=(0.5, 1.3))
    axes[1, 0].set(ylabel="r(k) with 40 steps", ylim=(0.8, 1.01))
    axes[0, 0].legend(frameon=False)
    return shown


def main() -> None:
    """Train, compare, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=1000, help="default: 1000")
    parser.add_argument("--num", type=int, default=4, help="pairs of fields; default: 4")
    parser.add_argument("--figure", type=pathlib.Path, help="file for the figure")
    options = parser.parse_args()
    found = compared(trained(options.updates), options.num)
    for scale in SCALES:
        for name, values in found[scale].items():
            at = [np.interp([0.2, 0.5], values["k"], values[key]) for key in ("power", "r")]
            print(
                f"sigma8 x {scale:g}  {name:24s} displacement error "
                f"{values['displacement']:.3f} Mpc/h   power over reference at k = 0.2, 0.5: "
                f"{at[0][0]:.3f} {at[0][1]:.3f}   r: {at[1][0]:.4f} {at[1][1]:.4f}"
            )
    if options.figure:
        figure(found).savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
