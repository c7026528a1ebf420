"""Fitting a step down the potential to the power spectrum of theory."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.cosmology import power
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.mesh.clouds import cic_paint
from flowpm_ext.pm import steps
from flowpm_ext.pm.lpt import lpt_init
from flowpm_ext.pm.nbody import nbody
from flowpm_ext.pm.potential_descent import Sharpening, potential_gradient_descent
from flowpm_ext.stats import PowerSpectrum, power_spectrum

# Where fits may start, with wavenumbers over the Nyquist frequency: particles that fall past the
# middle of a halo make a second, worse minimum.
STARTS = tuple(itertools.product((0.02, 0.1), (0.15, 0.8), (1.0, 3.0), (0.0,)))
NUM_BINS = 12
PAINTED = 2  # cells of the mesh of the spectrum along one of the particles
STEP = 0.02  # of parameters, where slopes are measured: well above the rounding of spectra
OF_FORCE = ("force_mesh_factor", "gradient_kernel", "window")


class SharpeningFit(NamedTuple):
    """A fitted sharpening, and what it does to the power spectrum."""

    sharpening: Sharpening
    a: np.ndarray
    """Scale factors that it was fitted at, [num_a]."""
    k: np.ndarray
    """Wavenumbers (h/Mpc), [nk]."""
    before: np.ndarray
    """Power of the simulation over that of theory, [num_a, nk]."""
    after: np.ndarray
    """The same after sharpening, [num_a, nk]."""


def fit_sharpening(
    cosmo: Cosmology,
    mesh_shape: int = 64,
    box_size: float = 100.0,
    a: Sequence[float] = (0.5, 0.65, 0.8, 1.0),
    k_max: float | None = None,
    *,
    stages: Sequence[float] | None = None,
    integrator: str = "fastpm",
    order: int = 2,
    seed: int = 0,
    max_iterations: int = 15,
    progress: bool = True,
    **of_force: Any,
) -> SharpeningFit:
    """The sharpening that brings the power of simulations nearest to that of halofit.

    Two simulations run, whose modes start with the mean amplitude and opposite phases, so that
    their mean power scatters little. Strength, growth and band of one step down the potential
    then follow from the least squares of log(power / halofit), over wavenumbers and
    times. What matters is the side of a cell, the time steps and the force: a fit in a small box
    serves larger ones.

    Args:
        cosmo: Cosmology.
        mesh_shape: Particles along a side of the box.
        box_size: Side of the box (Mpc/h).
        a: Scale factors to fit at, increasing.
        k_max: Largest wavenumber fitted (h/Mpc); three quarters of the Nyquist frequency of the
            particles by default.
        stages: Scale factors of the steps; 10 steps from 0.1 to 1 by default.
        integrator: As for `nbody`.
        order: Order of the initial conditions.
        seed: Of the phases.
        max_iterations: Of the fit, at most.
        progress: Whether to show a progress bar.
        **of_force: force_mesh_factor, gradient_kernel or window, as for `nbody`.

    Returns:
        `SharpeningFit`, with numbers in float64.

    Raises:
        ValueError: If cosmologies are a batch, a scale factor is not reached, no wavenumber is
            left, or an option does not fit.
        TypeError: If `cosmo` is not a Cosmology, or an option is unknown.

    References:
        Dai, Feng & Seljak 2018, arXiv:1804.00671; Angulo & Pontzen 2016, arXiv:1603.05253, for
        paired simulations.
    """
    require_cosmology(cosmo)
    checks.require(cosmo.batch_size is None, "cosmo", "be one cosmology, no batch", cosmo)
    checks.rank(a, "a", 1)
    checks.increasing(a, "a")
    checks.positive_integers(mesh_shape=mesh_shape, max_iterations=max_iterations)
    checks.positive(box_size, "box_size")
    if unknown := sorted(set(of_force) - set(OF_FORCE)):
        raise TypeError(f"`of_force` must hold only {OF_FORCE}. Received: {unknown}.")
    stages = steps.checked_stages(np.linspace(0.1, 1.0, 11) if stages is None else stages)
    k_edges = _k_edges(mesh_shape, box_size, k_max)
    state = lpt_init(cosmo, _paired_fields(cosmo, mesh_shape, box_size, seed), stages[0], order)
    states = nbody(
        cosmo, state, stages, mesh_shape, integrator, snapshots=a, **of_force
    )  # fmt: skip
    simulated = _Simulated(
        [s.position for s in states], np.asarray(a, float), box_size, mesh_shape, k_edges, of_force
    )
    k = simulated.spectrum(states[0].position).k.numpy().astype(np.float64)
    theory = power.nonlinear_matter_power(cosmo, k, simulated.a).numpy()
    x = _fitted(simulated, theory, max_iterations, progress)
    before = [tf.reduce_mean(simulated.spectrum(s.position).power, 0) for s in states]
    after = [simulated.sharpened(i, x) for i in range(len(states))]
    return SharpeningFit(
        _sharpening(x), simulated.a, k, np.array(before) / theory, np.array(after) / theory
    )


class _Simulated(NamedTuple):
    """Simulations at several times, whose spectra are to be fitted."""

    positions: list[tf.Tensor]
    a: np.ndarray
    box_size: float
    mesh_shape: int
    k_edges: np.ndarray
    of_force: dict[str, Any]

    def spectrum(self, position: tf.Tensor) -> PowerSpectrum:
        """Power spectrum of particles."""
        sides = [PAINTED * self.mesh_shape] * 3
        empty = tf.zeros([position.shape[0], *sides], position.dtype)
        painted = cic_paint(empty, position * float(PAINTED))
        return power_spectrum(
            painted * float(PAINTED**3) - 1, self.box_size, self.k_edges, window="cic"
        )

    def sharpened(self, i: int, x: np.ndarray) -> np.ndarray:
        """Mean power at time i after sharpening, [nk]."""
        sharpening, position = _sharpening(x), self.positions[i]
        k_long, k_short = tf.unstack(sharpening.band(self.box_size / self.mesh_shape, tf.float64))
        alpha = sharpening.strength(tf.constant(self.a[i]))
        moved = potential_gradient_descent(
            position, self.mesh_shape, alpha, k_long, k_short, **self.of_force
        )
        return tf.reduce_mean(self.spectrum(moved).power, axis=0).numpy()


def _fitted(
    simulated: _Simulated, theory: np.ndarray, max_iterations: int, progress: bool
) -> np.ndarray:
    """Parameters of the least misfit to theory [num_a, nk], without bounds."""
    nyquist = np.pi * simulated.mesh_shape / simulated.box_size
    low = Sharpening(alpha=1e-4, k_long=0.01, k_short=0.2, exponent=-4.0)
    high = Sharpening(alpha=1.0, k_long=nyquist, k_short=8 * nyquist, exponent=8.0)
    bar = tqdm(total=max_iterations, unit="step", desc="sharpening", disable=not progress)

    def misfit(x: np.ndarray) -> np.ndarray:
        rows = [np.log(simulated.sharpened(i, x) / row) for i, row in enumerate(theory)]
        return np.concatenate(rows)

    def slope(x: np.ndarray) -> np.ndarray:
        here = misfit(x)
        bar.set_postfix(rms=f"{np.sqrt(np.mean(here**2)):.3f}")
        bar.update()
        return np.stack([(misfit(x + h) - here) / STEP for h in STEP * np.eye(x.size)], axis=1)

    starts = [
        _unbounded(Sharpening(alpha, long * nyquist, short * nyquist, exponent))
        for alpha, long, short, exponent in STARTS
    ]
    best = min(starts, key=lambda x: np.sum(misfit(x) ** 2))
    with bar:
        found = optimize.least_squares(
            misfit, best, slope, (_unbounded(low), _unbounded(high)),
            max_nfev=max_iterations, xtol=STEP, ftol=1e-3,
        )  # fmt: skip
    return found.x


def _k_edges(mesh_shape: int, box_size: float, k_max: float | None) -> np.ndarray:
    """Edges of bins (h/Mpc) in even steps of log k, from where there are modes in each."""
    nyquist = np.pi * mesh_shape / box_size
    low, high = 6 * np.pi / box_size, 0.75 * nyquist if k_max is None else k_max
    rule = f"lie between {2 * low:.3g} and {PAINTED * nyquist:.3g} h/Mpc"
    checks.require(2 * low <= high <= PAINTED * nyquist, "k_max", rule, high)
    return np.geomspace(low, high, NUM_BINS + 1)


def _paired_fields(cosmo: Cosmology, mesh_shape: int, box_size: float, seed: int) -> tf.Tensor:
    """Two linear fields of opposite sign, every mode of which has the mean amplitude."""
    mesh = LocalMesh(mesh_shape)
    modes = mesh.rfft3(mesh.white_noise(seed))
    phases = modes * tf.cast(mesh_shape**1.5 / tf.abs(modes), modes.dtype)
    white = mesh.irfft3(phases)
    return linear_field(
        mesh_shape, box_size, lambda k: power.linear_matter_power(cosmo, k),
        white_noise=tf.concat([white, -white], axis=0),
    )  # fmt: skip


def _sharpening(x: np.ndarray) -> Sharpening:
    """From numbers without bounds, [4]."""
    *positive, exponent = x
    return Sharpening(*(float(np.exp(number)) for number in positive), float(exponent))


def _unbounded(sharpening: Sharpening) -> np.ndarray:
    """The inverse of `_sharpening`."""
    *positive, exponent = tf.nest.flatten(sharpening)
    return np.array([*np.log(positive), exponent])
