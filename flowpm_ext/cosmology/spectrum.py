"""The linear spectrum at a = 1 as an object: a shape, a table or a formula, with its amplitude."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import Structure, TensorLike, static
from flowpm_ext.cosmology.expansion import HUBBLE_RADIUS, deeper
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.cosmology.transfer import TRANSFERS
from flowpm_ext.numerics import quadrature
from flowpm_ext.numerics.interpolate import cubic_spline

PIVOT = 0.05  # wavenumber of A_s, 1/Mpc


@dataclasses.dataclass(frozen=True)
class TabulatedPower(Structure):
    """A linear spectrum from a table: a natural cubic spline in log-log, straight outside.

    Give it as `transfer=` where a spectrum is asked for. With a cosmology that has `sigma8`
    it is rescaled to it; with `sigma8=None` its amplitude is kept. Growth with time comes
    from the cosmology.

    Args:
        k: Wavenumbers (h/Mpc), increasing.
        power: P(k) at a = 1 ((Mpc/h)**3), as many as `k`; differentiable.

    Raises:
        ValueError: If `k` does not increase or is not positive, `power` is not positive, or
            their lengths differ.
    """

    k: Sequence[float] = static()
    power: TensorLike = None

    def __post_init__(self) -> None:
        k = np.asarray(units.to_value(self.k, "h/Mpc", "k"), np.float64)
        checks.rank(k, "k", 1)
        checks.positive(k, "k")
        checks.increasing(k, "k")
        power = units.to_value(self.power, "Mpc3/littleh3", "power")
        checks.positive(power, "power")
        checks.require(
            len(power) == k.size >= 4, "power", f"have as many values as `k`, {k.size}, and 4",
            len(power),
        )  # fmt: skip
        object.__setattr__(self, "k", tuple(k.tolist()))
        object.__setattr__(self, "power", power)

    def __call__(self, k: tf.Tensor) -> tf.Tensor:
        """P at k of any shape, at a = 1 and with the amplitude of the table."""
        table = tf.math.log(tf.convert_to_tensor(self.power, k.dtype))
        flat = tf.reshape(tf.math.log(k), [-1])
        return tf.reshape(tf.exp(cubic_spline(flat, np.log(self.k), table)), tf.shape(k))


@dataclasses.dataclass(frozen=True)
class LinearSpectrum(Structure):
    """P(k) at a = 1 of a batch of cosmologies, normalised: call it with k.

    Attributes:
        parameters: The cosmology, each parameter [..., 1].
        table: The shape of the spectrum, or None where a formula gives it.
        amplitude: Factor between the shape and the spectrum, shape [..., 1].
        formula: Name of the transfer function where there is no table.
    """

    parameters: Cosmology
    table: TabulatedPower | None
    amplitude: tf.Tensor
    formula: str | None = static(default=None)

    @classmethod
    def of(
        cls, p: Cosmology, growth: GrowthTable, transfer: str | TabulatedPower
    ) -> "LinearSpectrum":
        """Normalise to sigma8 or A_s; `p` are parameters [..., 1]."""
        table = transfer if isinstance(transfer, TabulatedPower) else None
        if table is None:
            checks.one_of(transfer, "transfer", tuple(TRANSFERS))
        unit = cls(p, table, tf.ones_like(p.Omega_m), None if table is not None else transfer)
        return unit.replace(amplitude=unit._amplitude(growth))

    def __call__(self, k: tf.Tensor) -> tf.Tensor:
        """P (Mpc/h)**3 at k of [n]: [..., n]."""
        return self.amplitude * self._shape(self.parameters, k)

    def on_grid(self, k: tf.Tensor) -> tf.Tensor:
        """P (Mpc/h)**3 at k of [..., m, n], with its own k in each row: [..., m, n]."""
        return self.amplitude[..., None] * self._shape(deeper(self.parameters), k)

    def variance(self) -> tf.Tensor:
        """Variance in spheres of 8 Mpc/h, shape [..., 1]."""
        k, weights = _sphere_rule()
        power = self(tf.constant(k, self.amplitude.dtype))  # [..., n]
        return tf.reduce_sum(power * tf.constant(weights, power.dtype), axis=-1, keepdims=True)

    def _shape(self, p: Cosmology, k: tf.Tensor) -> tf.Tensor:
        if self.table is not None:
            return self.table(k)
        return k**p.n_s * TRANSFERS[self.formula](p, k) ** 2

    def _amplitude(self, growth: GrowthTable) -> tf.Tensor:
        p = self.parameters
        if p.sigma8 is not None:
            return p.sigma8**2 / self.variance()
        if self.table is not None:
            checks.require(
                p.A_s is None, "A_s", "be None with a tabulated spectrum, which has its own",
                p.A_s,
            )  # fmt: skip
            return tf.ones_like(p.Omega_m)
        checks.require(
            p.A_s is not None, "sigma8", "be given, or `A_s`, for a power spectrum", p.sigma8
        )
        # delta = 2/5 k**2 (c / H0)**2 / Omega_m R T D, with D = a in matter domination.
        potential = 0.4 * HUBBLE_RADIUS**2 / p.Omega_m * growth.normalisation
        return 2 * np.pi**2 * p.A_s * (PIVOT / p.h) ** (1 - p.n_s) * potential**2


@functools.lru_cache
def _sphere_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes k and weights of the variance in spheres of 8 Mpc/h, float64 [n] each.

    Panels in ln k, dense where the spectrum oscillates (0.01 < k < 1) and where the window
    does (k up to 30, beyond which less than 1e-8 of the variance is left).
    """
    edges = np.log(np.concatenate([
        np.geomspace(1e-5, 1e-2, 6)[:-1], np.geomspace(1e-2, 1, 17)[:-1], np.arange(1, 41, 1.0)
    ]))  # fmt: skip
    nodes, weights = quadrature.panel_nodes(edges, 8)
    k = np.exp(nodes).ravel()
    x = 8 * k
    series = 1 - x**2 / 10 + x**4 / 280  # where the difference would cancel
    window = np.where(x < 1e-2, series, 3 * (np.sin(x) - x * np.cos(x)) / x**3)
    return k, weights.ravel() * k**3 / (2 * np.pi**2) * window**2
