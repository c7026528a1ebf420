"""Matter power spectra, P(k, a) in (Mpc/h)**3 for k in h/Mpc."""

import dataclasses

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.halofit import Halofit
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.spectrum import LinearSpectrum, TabulatedPower

__all__ = [
    "TabulatedPower",
    "camb_power",
    "linear_matter_power",
    "nonlinear_matter_power",
    "sigma8",
]


def linear_matter_power(
    cosmo: Cosmology,
    k: TensorLike,
    a: TensorLike = 1.0,
    transfer: str | TabulatedPower = "eisenstein_hu",
) -> tf.Tensor:
    """Linear matter power spectrum, amplitude k**n_s T(k)**2 D1(a)**2.

    Args:
        cosmo: Cosmology, or a batch, with `sigma8` or `A_s`.
        k: Wavenumber (h/Mpc), any shape; or an astropy quantity.
        a: Scale factor, any shape.
        transfer: "eisenstein_hu", "eisenstein_hu_nowiggle", "bbks" or a `TabulatedPower`.

    Returns:
        P ((Mpc/h)**3), shape [batch..., *a.shape, *k.shape].

    Raises:
        ValueError: If `k` is not in [1e-7, 1e6], `a` not in (0, 1], `transfer` unknown, or
            the cosmology has no amplitude.

    References:
        Eisenstein & Hu 1998, arXiv:astro-ph/9709112.
    """
    k, a = _arguments(cosmo, k, a)
    p = cosmo.columns()
    growth = GrowthTable.of(p)
    at_today = LinearSpectrum.of(p, growth, transfer)(tf.reshape(k, [-1]))
    factor = growth.factor(tf.reshape(a, [-1]))
    return _shaped(factor[..., None] ** 2 * at_today[..., None, :], k, a)


def nonlinear_matter_power(
    cosmo: Cosmology,
    k: TensorLike,
    a: TensorLike = 1.0,
    transfer: str | TabulatedPower = "eisenstein_hu",
    effective_w: bool = True,
) -> tf.Tensor:
    """Nonlinear matter power spectrum by halofit, as calibrated by Takahashi et al.

    Where nothing above 1 kpc/h is nonlinear yet (z > 9 or so), it is the linear spectrum.

    Args:
        cosmo: Cosmology, or a batch, with `sigma8` or `A_s`.
        k: Wavenumber (h/Mpc), any shape; or an astropy quantity.
        a: Scale factor, any shape.
        transfer: "eisenstein_hu", "eisenstein_hu_nowiggle", "bbks" or a `TabulatedPower`.
        effective_w: Where wa is not zero, take the constant w with the same distance to the
            drag epoch, since halofit was calibrated with a constant w; False takes w0.

    Returns:
        P ((Mpc/h)**3), shape [batch..., *a.shape, *k.shape].

    Raises:
        ValueError: If `k` is not in [1e-7, 1e6], `a` not in (0, 1], `transfer` unknown, or
            the cosmology has no amplitude.

    References:
        Takahashi et al. 2012, arXiv:1208.2701; Casarini et al. 2016, arXiv:1601.07230.
    """
    k, a = _arguments(cosmo, k, a)
    p = cosmo.columns()
    growth = GrowthTable.of(p)
    linear = LinearSpectrum.of(p, growth, transfer)
    spectrum = Halofit.of(linear, growth, tf.reshape(a, [-1]), effective_w)
    return _shaped(spectrum(tf.reshape(k, [-1])), k, a)


def sigma8(cosmo: Cosmology, transfer: str | TabulatedPower = "eisenstein_hu") -> tf.Tensor:
    """Root mean square of the linear overdensity in spheres of 8 Mpc/h at a = 1.

    Args:
        cosmo: Cosmology, or a batch, with `sigma8` or `A_s`.
        transfer: "eisenstein_hu", "eisenstein_hu_nowiggle", "bbks" or a `TabulatedPower`.

    Returns:
        sigma8 of the spectrum that `linear_matter_power` returns, shape [batch...].

    Raises:
        ValueError: If `transfer` is unknown or the cosmology has no amplitude.

    References:
        Eisenstein & Hu 1998, arXiv:astro-ph/9709112.
    """
    require_cosmology(cosmo)
    p = cosmo.columns()
    linear = LinearSpectrum.of(p, GrowthTable.of(p), transfer)
    return tf.sqrt(linear.variance())[..., 0]


def camb_power(cosmo: Cosmology, k: TensorLike | None = None) -> TabulatedPower:
    """Linear spectrum of CAMB at a = 1, as a table for `transfer=`.

    The parameters must be known numbers: gradients reach the amplitude, the growth and the
    geometry computed from the table, not its shape. Massless neutrinos (N_eff = 3.046).

    Args:
        cosmo: One cosmology, with `sigma8` or `A_s`.
        k: Wavenumbers of the table (h/Mpc), shape [n]; 800 from 1e-4 (more in a
            closed universe) to 100 by default.

    Returns:
        The table, normalised to `sigma8` where the cosmology has it.

    Raises:
        ImportError: If camb is not installed.
        ValueError: If the parameters are traced tensors or a batch, or `k` begins below what
            CAMB computes.

    References:
        Lewis, Challinor & Lasenby 2000, arXiv:astro-ph/9911177.
    """
    try:
        import camb
    except ImportError as error:
        raise ImportError("`camb_power` needs camb: pip install 'flowpm-ext[theory]'") from error
    given = {f.name: getattr(cosmo, f.name) for f in dataclasses.fields(cosmo)}
    values = {name: known(value) for name, value in given.items() if value is not None}
    checks.require(
        all(v is not None and v.ndim == 0 for v in values.values()), "cosmo",
        "be one cosmology of known numbers", cosmo, "Call outside of the graph.",
    )  # fmt: skip
    p = {name: float(value) for name, value in values.items()}
    k = None if k is None else np.asarray(units.to_value(k, "h/Mpc", "k", p["h"]), np.float64)
    settings = camb.set_params(
        ombh2=p["Omega_b"] * p["h"] ** 2, omch2=p["Omega_c"] * p["h"] ** 2, H0=100 * p["h"],
        omk=p["Omega_k"], ns=p["n_s"], As=p.get("A_s", 2e-9), TCMB=p["T_cmb"], mnu=0.0, nnu=3.046,
        w=p["w0"], wa=p["wa"], dark_energy_model="ppf", kmax=20.0, redshifts=[0.0],
        WantCls=False,
    )  # fmt: skip
    spectrum = camb.get_results(settings).get_matter_power_interpolator(
        nonlinear=False, extrap_kmax=100.0 if k is None else k[-1]
    )
    lowest = spectrum.kmin * (1 + 1e-6)
    k = np.geomspace(max(lowest, 1e-4), 100.0, 800) if k is None else k
    checks.require(
        k[0] >= lowest, "k", f"not be below {lowest:.3g} h/Mpc, where CAMB begins", k[0],
        "The table continues itself as a power law.",
    )  # fmt: skip
    table = TabulatedPower(k, spectrum.P(0.0, k))
    if "sigma8" not in p:
        return table
    return table.replace(power=table.power * (p["sigma8"] / _amplitude(table)) ** 2)


def _amplitude(table: TabulatedPower) -> float:
    """sigma8 of a table as it is."""
    return float(sigma8(Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=1.0), table))


def _arguments(cosmo: Cosmology, k: TensorLike, a: TensorLike) -> tuple[tf.Tensor, tf.Tensor]:
    """k and a, checked, in the dtype of the cosmology."""
    require_cosmology(cosmo)
    k = units.to_value(k, "h/Mpc", "k", known(cosmo.h))
    a = units.to_value(a, "", "a")
    checks.in_range(k, "k", 1e-7, 1e6, "Wavenumbers are in h/Mpc.")
    checks.in_range(a, "a", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
    return tuple(cast(x, cosmo.dtype) for x in (k, a))


def _shaped(power: tf.Tensor, k: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    """[..., na, nk] with the axes of `a` and `k` as they came."""
    shape = tf.concat([tf.shape(power)[:-2], tf.shape(a), tf.shape(k)], axis=0)
    return tf.reshape(power, shape)
