"""Nonlinear matter power by halofit, whose roots carry exact first and second derivatives."""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import Structure
from flowpm_ext.cosmology import expansion
from flowpm_ext.cosmology.expansion import deeper
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.cosmology.spectrum import LinearSpectrum
from flowpm_ext.cosmology.transfer import drag_scale_factor
from flowpm_ext.numerics import quadrature
from flowpm_ext.numerics.roots import implicit_step, inverse_of_table

SMALLEST = 1e-3  # Mpc/h; where less than this is nonlinear, the spectrum stays linear
NUM_RADII = 97


@dataclasses.dataclass(frozen=True)
class Halofit(Structure):
    """The nonlinear spectrum at given scale factors: call it with k.

    Attributes:
        linear: The linear spectrum at a = 1.
        growth: D1 at the scale factors, shape [..., n, 1].
        k_nonlinear: Wavenumber where the Gaussian-smoothed variance is one (h/Mpc), [..., n, 1].
        slope: Effective spectral index there, [..., n, 1].
        curvature: Its running, [..., n, 1].
        matter: Omega_m(a), [..., n, 1].
        dark: Omega_de(a), [..., n, 1].
        pressure: (1 + w) Omega_de(a), [..., n, 1].
        is_nonlinear: Whether there is such a wavenumber, [..., n, 1].

    References:
        Takahashi et al. 2012, arXiv:1208.2701; Smith et al. 2003, arXiv:astro-ph/0207664;
        Casarini et al. 2016, arXiv:1601.07230 (the effective w).
    """

    linear: LinearSpectrum
    growth: tf.Tensor
    k_nonlinear: tf.Tensor
    slope: tf.Tensor
    curvature: tf.Tensor
    matter: tf.Tensor
    dark: tf.Tensor
    pressure: tf.Tensor
    is_nonlinear: tf.Tensor

    @classmethod
    def of(
        cls, linear: LinearSpectrum, growth: GrowthTable, a: tf.Tensor, effective_w: bool
    ) -> "Halofit":
        """Prepare for scale factors [n] or [..., n]."""
        p = linear.parameters
        factor = growth.factor(a)  # [..., n]
        log_radius, slope, curvature, is_nonlinear = _nonlinear_scale(linear, factor)
        if effective_w:
            # The densities too are those of the cosmology with a constant w.
            p = p.replace(w0=effective_equation_of_state(p, a), wa=tf.zeros_like(p.wa))
        matter = expansion.matter_fraction(p, a)
        dark = p.Omega_de * expansion.dark_energy(p, a) / expansion.squared_rate(p, a)
        columns = (
            factor, tf.exp(-log_radius), -3 - slope, -curvature, matter, dark,
            (1 + p.w0) * dark, is_nonlinear,
        )  # fmt: skip
        return cls(linear, *(x[..., None] for x in columns))

    def with_local_pressure(self, a: tf.Tensor) -> "Halofit":
        """The same with the equation of state of each time, at the scale factors of `of`."""
        p = self.linear.parameters
        w = p.w0 + p.wa * (1 - a)
        return self.replace(pressure=(1 + w)[..., None] * self.dark)

    def __call__(self, k: tf.Tensor) -> tf.Tensor:
        """P (Mpc/h)**3 at k of [m] or, with its own k at each a, [..., n, m]: [..., n, m]."""
        at_today = self.linear(k)[..., None, :] if k.shape.rank == 1 else self.linear.on_grid(k)
        power = self.growth**2 * at_today
        per_mode = k**3 / (2 * math.pi**2)
        y = k / self.k_nonlinear
        total = self._quasi_linear(per_mode * power, y) + self._one_halo(y)
        return tf.where(self.is_nonlinear, total / per_mode, power)

    def _quasi_linear(self, linear: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Equation A2, k**3 P / 2 pi**2 between halos, from that of the linear spectrum."""
        n, c = self.slope, self.curvature
        alpha = tf.abs(6.0835 + 1.3373 * n - 0.1959 * n**2 - 5.5274 * c)
        beta = 2.0379 - 0.7354 * n + 0.3157 * n**2 + 1.2490 * n**3 + 0.3980 * n**4 - 0.1682 * c
        cut = tf.exp(-(y / 4 + y**2 / 8))
        return linear * (1 + linear) ** beta / (1 + alpha * linear) * cut

    def _one_halo(self, y: tf.Tensor) -> tf.Tensor:
        """Equation A3, k**3 P / 2 pi**2 within halos."""
        n, c = self.slope, self.curvature
        log_a = 1.5222 + 2.8553 * n + 2.3706 * n**2 + 0.9903 * n**3 + 0.2250 * n**4
        a = _power_of_ten(log_a - 0.6038 * c + 0.1749 * self.pressure)
        b = _power_of_ten(
            -0.5642 + 0.5864 * n + 0.5716 * n**2 - 1.5474 * c + 0.2279 * self.pressure
        )
        c_n = _power_of_ten(0.3698 + 2.0404 * n + 0.8161 * n**2 + 0.5869 * c)
        gamma = 0.1971 - 0.0843 * n + 0.8460 * c
        nu = _power_of_ten(5.2105 + 3.6902 * n)
        f1, f2, f3 = self._matter_powers()
        log_y = tf.math.log(y)
        total = a * tf.exp(3 * f1 * log_y)
        total /= 1 + b * tf.exp(f2 * log_y) + tf.exp((3 - gamma) * (tf.math.log(c_n * f3) + log_y))
        return total / (1 + nu / y**2)

    def _matter_powers(self) -> list[tf.Tensor]:
        """f1, f2, f3: powers of Omega_m, between those of open and of flat universes.

        The weight of flat is Omega_de / (1 - Omega_m), so the sum is written with the ratio
        (Omega_m**flat - Omega_m**open) / (1 - Omega_m), which is smooth at Omega_m = 1.
        """
        rest = 1 - self.matter
        log_matter = tf.math.log(self.matter)
        near_one = tf.abs(rest) < 1e-6
        safe = tf.where(near_one, tf.ones_like(rest), rest)
        powers = []
        for flat, curved in ((-0.0307, -0.0732), (-0.0585, -0.1423), (0.0743, 0.0725)):
            step = flat - curved
            ratio = tf.math.expm1(step * log_matter) / safe
            ratio = tf.where(near_one, -step * tf.ones_like(rest), ratio)
            powers.append(tf.exp(curved * log_matter) * (1 + self.dark * ratio))
        return powers


def effective_equation_of_state(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """The constant w with the same distance from `a` to the drag epoch.

    Args:
        p: Parameters, each [..., 1].
        a: Scale factors, shape [n].

    Returns:
        w, shape [..., n]; equal to w0 where wa = 0.

    References:
        Casarini et al. 2016, arXiv:1601.07230.
    """
    nodes, weights = (tf.constant(x, p.w0.dtype) for x in quadrature.gauss_legendre(32))
    start = tf.math.log(drag_scale_factor(p))
    end = tf.math.log(a)
    log_x = start[..., None] + (end - start)[..., None] * nodes  # [..., n, nodes]
    x = tf.exp(log_x)
    deep = deeper(p)
    matter = deep.Omega_k / x**2 + deep.Omega_m / x**3 + deep.Omega_r / x**4
    target = 1 / tf.sqrt(matter + deep.Omega_de * expansion.dark_energy(deep, x))
    w = tf.stop_gradient(p.w0 + p.wa * (1 - a) / 2)
    for _ in range(2):
        excess, slope, _ = _distance_excess(w, target, matter, deep.Omega_de, log_x, weights)
        w = tf.clip_by_value(w - tf.math.divide_no_nan(excess, slope), -3.0, 0.0)
    w = tf.stop_gradient(w)
    return w + implicit_step(*_distance_excess(w, target, matter, deep.Omega_de, log_x, weights))


def _distance_excess(
    w: tf.Tensor,
    target: tf.Tensor,
    matter: tf.Tensor,
    Omega_de: tf.Tensor,
    log_x: tf.Tensor,
    weights: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Distance with constant w less the target, and its first two derivatives in w; [..., n]."""
    dark = Omega_de * tf.exp(-3 * (1 + w[..., None]) * log_x)
    rate = tf.math.rsqrt(matter + dark)
    inverse = tf.exp(-log_x)
    first = 1.5 * log_x * dark * rate**3
    second = 3 * log_x * first * (1.5 * dark * rate**2 - 1)
    terms = ((rate - target) * inverse, first * inverse, second * inverse)
    return tuple(tf.linalg.matvec(term, weights) for term in terms)


def _nonlinear_scale(
    linear: LinearSpectrum, factor: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the variance times D1**2 is one: ln R, the slope and curvature of ln variance in
    ln R there, and whether there is such a radius; [..., n] each.

    The root is found without gradients; a Taylor series around it then carries them, exact to
    second order, for one evaluation of the integrals.
    """
    log_radii = np.linspace(math.log(SMALLEST), math.log(100.0), NUM_RADII)
    k, weights = (tf.constant(x, factor.dtype) for x in _gaussian_rule())
    log_variance = functools.partial(_log_variance, k, linear(k) * weights)
    table = log_variance(tf.constant(log_radii, factor.dtype))[0]  # [..., NUM_RADII]
    target = -2 * tf.math.log(factor)  # [..., n]
    is_nonlinear = target < table[..., :1]
    target = tf.minimum(target, table[..., :1])
    guess = inverse_of_table(log_radii, tf.stop_gradient(table), tf.stop_gradient(target))
    for _ in range(2):
        value, slope, *_ = log_variance(guess)
        guess -= (value - target) / slope
    root = tf.stop_gradient(guess)
    value, d1, d2, d3, d4 = log_variance(root)
    step = implicit_step(value - target, d1, d2)
    slope = d1 + step * (d2 + step * d3 / 2)
    curvature = d2 + step * (d3 + step * d4 / 2)
    return root + step, slope, curvature, is_nonlinear


def _log_variance(k: tf.Tensor, variance: tf.Tensor, log_radius: tf.Tensor) -> list[tf.Tensor]:
    """ln of the Gaussian-smoothed variance and four derivatives in ln R; [..., n] each.

    From the variance at each node k, [..., nodes].
    """
    u = (k * tf.exp(log_radius)[..., None]) ** 2  # [..., n, nodes]
    term = variance[..., None, :] * tf.exp(-u)
    moments = []
    for _ in range(5):
        moments.append(tf.reduce_sum(term, axis=-1))
        term = term * u
    total, m1, m2, m3, m4 = moments
    # d M_j / d ln R = 2 j M_j - 2 M_(j+1), from total downwards.
    d1 = -2 * m1 / total
    d2 = 4 * (m2 - m1) / total
    d3 = 8 * (3 * m2 - m3 - m1) / total
    d4 = 16 * (7 * m2 - 6 * m3 + m4 - m1) / total
    second = d2 - d1**2
    third = d3 - 3 * d1 * second - d1**3
    fourth = d4 - 4 * d1 * third - 3 * second**2 - 6 * d1**2 * second - d1**4
    return [tf.math.log(total), d1, second, third, fourth]


@functools.lru_cache
def _gaussian_rule() -> tuple[np.ndarray, np.ndarray]:
    """Nodes k, and weights k**3 dlnk / 2 pi**2, of the smoothed variance; float64 [n] each."""
    edges = np.log(np.concatenate([
        np.geomspace(1e-5, 1e-2, 5)[:-1], np.geomspace(1e-2, 1, 15)[:-1],
        np.geomspace(1, 10 / SMALLEST, 22),
    ]))  # fmt: skip
    nodes, weights = quadrature.panel_nodes(edges, 8)
    k = np.exp(nodes).ravel()
    return k, weights.ravel() * k**3 / (2 * np.pi**2)


def _power_of_ten(x: tf.Tensor) -> tf.Tensor:
    return tf.exp(math.log(10) * x)
