"""Gaussian covariance of angular power spectra."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating, known
from flowpm_ext.cosmology.probes import AbstractProbe


def gaussian_cl_covariance(
    ell: TensorLike,
    probes: Sequence[AbstractProbe],
    cl_signal: TensorLike,
    cl_noise: TensorLike,
    f_sky: TensorLike = 0.25,
    delta_ell: TensorLike | None = None,
) -> tf.Tensor:
    """Covariance matrix of binned spectra, as if the fields were Gaussian.

    Bins of different multipoles are independent, so that most entries are zero: for a
    likelihood, `gaussian_cl_covariance_blocks` is smaller and faster.

    Args:
        ell: Centres of the bins, increasing, shape [num_ell].
        probes: Probes, in the order of `angular_cl`.
        cl_signal: Spectra without noise (any unit), shape [num_cl, num_ell].
        cl_noise: Noise of the spectra, as from `noise_cl`, shape [num_cl, num_ell].
        f_sky: Fraction of the sky that was observed.
        delta_ell: Widths of the bins, shape [num_ell] or a number. None for bins that meet
            halfway between their centres, the outer two as wide on either side.

    Returns:
        Covariance in the squared unit of the spectra, shape [num_cl * num_ell,
        num_cl * num_ell], for the spectra flattened row by row: all multipoles of the
        first spectrum come first.

    Raises:
        ValueError: If `ell` does not increase or is not positive, the spectra do not fit
            `ell` and `probes`, `f_sky` is outside (0, 1], a width is not positive, or there
            is one multipole and no width.

    References:
        Knox 1995, arXiv:astro-ph/9504054; Hu & Jain 2004, arXiv:astro-ph/0312395, equation 27.
    """
    blocks = gaussian_cl_covariance_blocks(ell, probes, cl_signal, cl_noise, f_sky, delta_ell)
    num_ell, num_cl = blocks.shape[0], blocks.shape[1]
    dense = tf.linalg.diag(tf.transpose(blocks, [1, 2, 0]))  # [cl, cl, ell, ell]
    return tf.reshape(tf.transpose(dense, [0, 2, 1, 3]), [num_cl * num_ell] * 2)


def gaussian_cl_covariance_blocks(
    ell: TensorLike,
    probes: Sequence[AbstractProbe],
    cl_signal: TensorLike,
    cl_noise: TensorLike,
    f_sky: TensorLike = 0.25,
    delta_ell: TensorLike | None = None,
) -> tf.Tensor:
    """Covariance of binned spectra for each multipole, as if the fields were Gaussian.

    cov(C_ij, C_kl) = (C_ik C_jl + C_il C_jk) / ((2 ell + 1) delta_ell f_sky), with the sum of
    signal and noise in each C; differentiable in it.

    Args:
        ell: Centres of the bins, increasing, shape [num_ell].
        probes: Probes, in the order of `angular_cl`.
        cl_signal: Spectra without noise (any unit), shape [num_cl, num_ell].
        cl_noise: Noise of the spectra, as from `noise_cl`, shape [num_cl, num_ell].
        f_sky: Fraction of the sky that was observed.
        delta_ell: Widths of the bins, shape [num_ell] or a number. None for bins that meet
            halfway between their centres, the outer two as wide on either side.

    Returns:
        Covariances in the squared unit of the spectra, shape [num_ell, num_cl, num_cl].

    Raises:
        ValueError: If `ell` does not increase or is not positive, the spectra do not fit
            `ell` and `probes`, `f_sky` is outside (0, 1], a width is not positive, or there
            is one multipole and no width.

    References:
        Knox 1995, arXiv:astro-ph/9504054; Hu & Jain 2004, arXiv:astro-ph/0312395, equation 27.
    """
    dtype = floating(cl_signal)
    checks.positive(ell, "ell")
    checks.increasing(ell, "ell")
    _check_fraction(f_sky)
    ell, signal, noise = (cast(x, dtype) for x in (ell, cl_signal, cl_noise))
    num_tracers = _num_tracers(probes, ell, signal, noise)
    rows, columns = np.triu_indices(num_tracers)
    spectrum = np.zeros([num_tracers, num_tracers], np.int32)  # which spectrum a pair has
    spectrum[rows, columns] = spectrum[columns, rows] = np.arange(rows.size)
    total = tf.transpose(signal + noise)  # [num_ell, num_cl]

    def pairs(left: np.ndarray, right: np.ndarray) -> tf.Tensor:
        return tf.gather(total, spectrum[left[:, None], right], axis=-1)  # [ell, cl, cl]

    products = pairs(rows, rows) * pairs(columns, columns)
    products += pairs(rows, columns) * pairs(columns, rows)
    num_modes = (2 * ell + 1) * _widths(ell, delta_ell) * cast(f_sky, dtype)
    return products / num_modes[:, None, None]


def _num_tracers(
    probes: Sequence[AbstractProbe], ell: tf.Tensor, signal: tf.Tensor, noise: tf.Tensor
) -> int:
    """Number of tracers, which the shapes of the spectra must fit."""
    num_tracers = sum(probe.num_tracers for probe in probes)
    num_cl = num_tracers * (num_tracers + 1) // 2
    expected = (num_cl, ell.shape[0])
    for name, value in (("cl_signal", signal), ("cl_noise", noise)):
        checks.require(
            tuple(value.shape) == expected, name,
            f"have shape {expected} for {num_tracers} tracers", f"shape {tuple(value.shape)}",
        )  # fmt: skip
    return num_tracers


def _widths(ell: tf.Tensor, delta_ell: TensorLike | None) -> tf.Tensor:
    """Widths of the bins, [num_ell] or a scalar."""
    if delta_ell is not None:
        checks.positive(delta_ell, "delta_ell")
        return cast(delta_ell, ell.dtype)
    checks.require(ell.shape[0] > 1, "delta_ell", "be given for a single multipole", delta_ell)
    middle = 0.5 * (ell[1:] + ell[:-1])
    first, last = 2 * ell[:1] - middle[:1], 2 * ell[-1:] - middle[-1:]
    edges = tf.concat([first, middle, last], axis=0)
    return edges[1:] - edges[:-1]


def _check_fraction(f_sky: TensorLike) -> None:
    checks.positive(f_sky, "f_sky")
    value = known(f_sky)
    checks.require(value is None or value <= 1, "f_sky", "be at most 1, the whole sky", f_sky)
