"""Growth of structure to second order: D1, f1, D2, f2, by their exact differential equations."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import Structure, TensorLike
from flowpm_ext.cosmology import expansion
from flowpm_ext.cosmology.expansion import EARLIEST, of_scale_factor
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.numerics import ode
from flowpm_ext.numerics.interpolate import hermite

NUM_FIRST, NUM_SECOND = 2048, 1024  # steps in ln a; errors 1e-11 in D1, 6e-10 in D2


@of_scale_factor
def growth_factor(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Linear growth factor D1 of the overdensity, D1(a=1) = 1.

    Growing solution of D'' + (2 + d ln E / d ln a) D' = 3/2 Omega_m(a) D in ln a.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        D1, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Linder & Jenkins 2003, arXiv:astro-ph/0305286.
    """
    return GrowthTable.of(cosmo).factor(a)


@of_scale_factor
def growth_rate(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Linear growth rate f1 = d ln D1 / d ln a.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        f1, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Linder & Jenkins 2003, arXiv:astro-ph/0305286.
    """
    return GrowthTable.of(cosmo).rate(a)


@of_scale_factor
def growth_factor_second(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Second-order growth factor D2 < 0 of Lagrangian perturbation theory.

    Solution of D2'' + (2 + d ln E / d ln a) D2' = 3/2 Omega_m(a) (D2 - D1**2) in ln a,
    which is -3/7 D1**2 in an Einstein-de Sitter universe; D1(a=1) = 1.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        D2, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    return GrowthTable.of(cosmo).second_factor(a)


@of_scale_factor
def growth_rate_second(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Second-order growth rate f2 = d ln |D2| / d ln a.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        f2, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    return GrowthTable.of(cosmo).second_rate(a)


@dataclasses.dataclass(frozen=True)
class GrowthTable(Structure):
    """Growth on a uniform grid of ln a, for callers that need it at many places.

    Holds g1 = D1 / a and g2 = D2 / a**2 before normalisation, each with its first and second
    derivative in ln a; interpolation is quintic, of class C2. Before a = 1e-4 both are constant,
    which is right without radiation only.

    Attributes:
        first: (g1, g1', g1'') at the entries, shape [..., 1025, 3].
        second: (g2, g2', g2'') at the entries, shape [..., 1025, 3].
    """

    first: tf.Tensor
    second: tf.Tensor

    @classmethod
    def of(cls, p: Cosmology) -> "GrowthTable":
        """Solve for the parameters [..., 1] of `Cosmology.columns`."""
        first = _solve_first(p)  # [..., 2 * 1024 + 1, 3]
        return cls(first[..., ::2, :], _solve_second(p, first[..., 0]))

    @property
    def normalisation(self) -> tf.Tensor:
        """g1 at a = 1: D1 today over the D1 = a of matter domination, shape [..., 1]."""
        return self.first[..., -1, :1]

    def factor(self, a: tf.Tensor) -> tf.Tensor:
        """D1 at a of [n]: [..., n]."""
        return a * self._value(self.first, a) / self.normalisation

    def rate(self, a: tf.Tensor) -> tf.Tensor:
        """f1 at a of [n]: [..., n]."""
        return 1 + self._slope(self.first, a) / self._value(self.first, a)

    def second_factor(self, a: tf.Tensor) -> tf.Tensor:
        """D2 at a of [n]: [..., n]."""
        return a**2 * self._value(self.second, a) / self.normalisation**2

    def second_rate(self, a: tf.Tensor) -> tf.Tensor:
        """f2 at a of [n]: [..., n]."""
        return 2 + self._slope(self.second, a) / self._value(self.second, a)

    def _value(self, table: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        h = _spacing(NUM_SECOND)
        return hermite(_position(a, h), table[..., 0], h * table[..., 1], h**2 * table[..., 2])

    def _slope(self, table: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        h = _spacing(NUM_SECOND)
        return hermite(_position(a, h), table[..., 1], h * table[..., 2])


def _solve_first(p: Cosmology) -> tf.Tensor:
    """(g1, g1', g1'') on the grid of `NUM_FIRST` steps."""
    a = _grid(2 * NUM_FIRST, p)
    slope, matter = expansion.log_rate_slope(p, a), expansion.matter_fraction(p, a)
    friction, pull = 4 + slope, 3 + slope - 1.5 * matter
    state = ode.solve_linear(_companion(friction, pull), None, _early_first(p), _spacing(NUM_FIRST))
    return _with_curvature(state, friction[..., ::2], pull[..., ::2], 0.0)


def _solve_second(p: Cosmology, g1: tf.Tensor) -> tf.Tensor:
    """(g2, g2', g2'') on the grid of `NUM_SECOND` steps, driven by g1 on the finer one."""
    a = _grid(NUM_FIRST, p)
    slope, matter = expansion.log_rate_slope(p, a), expansion.matter_fraction(p, a)
    friction, pull = 6 + slope, 8 + 2 * slope - 1.5 * matter
    drive = -1.5 * matter * g1**2
    state = ode.solve_linear(
        _companion(friction, pull),
        tf.stack([tf.zeros_like(drive), drive], axis=-1),
        _early_second(p),
        _spacing(NUM_SECOND),
    )
    return _with_curvature(state, friction[..., ::2], pull[..., ::2], drive[..., ::2])


def _early_first(p: Cosmology) -> tf.Tensor:
    """(g1, g1') at the first entry: matter with a trace of curvature, dark energy, radiation.

    A component with density eps ~ a**n relative to matter changes the growing mode by
    g1 = 1 - eps (n + 3) / (2 n (n + 5/2)); with radiation it is D1 = a + 2/3 Omega_r / Omega_m
    (Meszaros 1974, A&A 37, 225).
    """
    g, slope = tf.ones_like(p.Omega_m), tf.zeros_like(p.Omega_m)
    for eps, n in _early_components(p):
        change = -eps * (n + 3) / (2 * n * (n + 2.5))
        g, slope = g + change, slope + n * change
    radiation = 2 / 3 * p.Omega_r / (p.Omega_m * EARLIEST)
    return tf.concat([g + radiation, slope - radiation], axis=-1)


def _early_second(p: Cosmology) -> tf.Tensor:
    """(g2, g2') at the first entry, to the same order; with radiation, from D2 = 0 before."""
    g, slope = _second_with_radiation(p.Omega_r / (p.Omega_m * EARLIEST))
    for eps, n in _early_components(p):
        first = -(n + 3) / (2 * n * (n + 2.5))
        change = -3 / 7 * eps * (3.5 * (2 * first - 1) - (n + 1.5)) / (n**2 + 4.5 * n + 3.5)
        g, slope = g + change, slope + n * change
    return tf.concat([g, slope], axis=-1)


def _second_with_radiation(ratio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(g2, g2') where the energy is matter and radiation, in this ratio x of densities.

    In s = sqrt(1 + 1 / x) the equation of D1 is that of the Legendre polynomial P2(s), and
    D2 has the source 6 P2**2 = 108/35 P4 + 12/7 P2 + 6/5. The middle term solves the equation
    without source, so it drives dP_n/dn at n = 2, which brings the logarithm. The constants
    make D2 vanish at s = 1.
    """
    x = tf.maximum(ratio, 1e-30)  # finite gradients where there is no radiation
    root = tf.sqrt(x / (1 + x))
    log = tf.math.log((1 + root) / (2 * root))
    g = -3 / 7 - x / 35 * (26 + 8 * x - 8 * (1 + x) * root) - 8 / 105 * x * (3 + 2 * x) * log
    slope = 8 / 105 * ((3 + 4 * x) * log + (1.5 + x) * (root - 1))
    return g, x * (slope + (26 + 16 * x - (12 + 16 * x) * root) / 35)


def _early_components(p: Cosmology) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Density over that of matter at the first entry, and its power of a: curvature, dark energy.

    Each is [..., 1], broadcast so that batched and scalar parameters meet.
    """
    start = tf.constant([EARLIEST], p.Omega_m.dtype)
    dark = p.Omega_de * expansion.dark_energy(p, start) * EARLIEST**3 / p.Omega_m
    curved = p.Omega_k * EARLIEST / p.Omega_m
    return [(curved, tf.ones_like(curved)), (dark, -3 * (p.w0 + p.wa))]


def _companion(friction: tf.Tensor, pull: tf.Tensor) -> tf.Tensor:
    """Matrix [..., points, 2, 2] of g'' + friction g' + pull g = 0 for the state (g, g')."""
    zero, one = tf.zeros_like(friction), tf.ones_like(friction)
    return tf.stack(
        [tf.stack([zero, one], axis=-1), tf.stack([-pull, -friction], axis=-1)], axis=-2
    )


def _with_curvature(
    state: tf.Tensor, friction: tf.Tensor, pull: tf.Tensor, drive: tf.Tensor | float
) -> tf.Tensor:
    """(g, g', g''), the last from the equation itself."""
    g, slope = state[..., 0], state[..., 1]
    return tf.stack([g, slope, drive - friction * slope - pull * g], axis=-1)


def _spacing(num_steps: int) -> float:
    return -math.log(EARLIEST) / num_steps


def _grid(num_steps: int, p: Cosmology) -> tf.Tensor:
    """Scale factors from 1e-4 to 1, uniform in ln a."""
    return tf.constant(np.geomspace(EARLIEST, 1.0, num_steps + 1), p.Omega_m.dtype)


def _position(a: tf.Tensor, spacing: float) -> tf.Tensor:
    """Place in the table, in entries; before the first entry growth is that of the first."""
    return tf.maximum((tf.math.log(a) - math.log(EARLIEST)) / spacing, 0.0)
