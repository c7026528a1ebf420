"""Biased tracers: how galaxies or haloes follow the matter field, to second order.

The bias of particles where they start (Lagrangian) makes weights, to be painted where the
particles have gone; the bias of the evolved field (Eulerian) makes an overdensity. Both are the
same polynomial in the overdensity d and the squared tidal field s**2, without factors of one half.
"""

import numpy as np
import tensorflow as tf

from flowpm_ext.core.compile import compiled, unfolded
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields.arguments import field_on_mesh, per_field
from flowpm_ext.fields.spectrum import scaled
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier


def lagrangian_bias_weights(
    linear_field: TensorLike,
    b1: TensorLike,
    b2: TensorLike = 0.0,
    bs: TensorLike = 0.0,
    growth: TensorLike = 1.0,
    mesh: AbstractMesh | None = None,
) -> tf.Tensor:
    """Weights of particles that start on the lattice, so that they trace galaxies.

    1 + b1 d + b2 (d**2 - <d**2>) + bs (s**2 - <s**2>) with d = growth · linear_field, means over
    each box, and s**2 as in `squared_tidal_field`. The Eulerian linear bias is 1 + b1. Flattened,
    the weights are the masses of the particles of `lpt_init`; their mean is 1. Nothing is
    smoothed: the means and the second-order terms depend on the size of the cells. Weights may
    be negative. Differentiable with respect to all arguments but the mesh.

    Args:
        linear_field: Linear overdensity at a = 1, shape [batch, nx, ny, nz].
        b1: Linear Lagrangian bias, scalar or [batch].
        b2: Bias of the squared overdensity, scalar or [batch].
        bs: Bias of the squared tidal field, scalar or [batch]. The number 0 saves its transforms.
        growth: D1 at the time of the tracers, scalar or [batch]; 1 leaves bias parameters that
            refer to the field at a = 1.
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        Weights (mean cells), shape [batch, nx, ny, nz].

    Raises:
        ValueError: If the field is not finite or does not fit the mesh, or a parameter is not
            finite, or neither a scalar nor one for each field.
        TypeError: If the field is not of float32 or float64.

    References:
        Modi, Chen & White 2020, arXiv:1910.07097; Desjacques, Jeong & Schmidt 2018,
        arXiv:1611.09787.
    """
    field, mesh = field_on_mesh(linear_field, "linear_field", mesh)
    growth = per_field(growth, "growth", field)
    return 1.0 + _polynomial(growth * field, *_parameters(b1, b2, bs, field), mesh)


def eulerian_bias(
    overdensity: TensorLike,
    b1: TensorLike,
    b2: TensorLike = 0.0,
    bs: TensorLike = 0.0,
    mesh: AbstractMesh | None = None,
) -> tf.Tensor:
    """Overdensity of tracers from that of matter at the same time.

    b1 d + b2 (d**2 - <d**2>) + bs (s**2 - <s**2>), with means over each box, and s**2 as in
    `squared_tidal_field`. Nothing is smoothed. Differentiable with respect to all arguments but
    the mesh.

    Args:
        overdensity: That of matter, shape [batch, nx, ny, nz].
        b1: Linear Eulerian bias, scalar or [batch].
        b2: Bias of the squared overdensity, scalar or [batch].
        bs: Bias of the squared tidal field, scalar or [batch]. The number 0 saves its transforms.
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        Overdensity of tracers, shape [batch, nx, ny, nz].

    Raises:
        ValueError: If the field is not finite or does not fit the mesh, or a parameter is not
            finite, or neither a scalar nor one for each field.
        TypeError: If the field is not of float32 or float64.

    References:
        McDonald & Roy 2009, arXiv:0902.0991; Desjacques, Jeong & Schmidt 2018, arXiv:1611.09787.
    """
    field, mesh = field_on_mesh(overdensity, "overdensity", mesh)
    return _polynomial(field, *_parameters(b1, b2, bs, field), mesh)


def squared_tidal_field(overdensity: TensorLike, mesh: AbstractMesh | None = None) -> tf.Tensor:
    """Square of the traceless tidal field, s**2 = sum of s_ij s_ij over i and j.

    s_ij = (k_i k_j / k**2 - delta_ij / 3) d. A plane wave has s**2 = 2/3 d**2, and the middle of
    a sphere has none.

    Args:
        overdensity: d, shape [batch, nx, ny, nz].
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        s**2, shape [batch, nx, ny, nz].

    Raises:
        ValueError: If the field is not finite or does not fit the mesh.
        TypeError: If the field is not of float32 or float64.

    References:
        McDonald & Roy 2009, arXiv:0902.0991.
    """
    return _squared_tidal_field(*field_on_mesh(overdensity, "overdensity", mesh))


def _parameters(
    b1: TensorLike, b2: TensorLike, bs: TensorLike, field: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Parameters ready to multiply the field; None for a `bs` that is zero, not a tensor."""
    is_tensor = isinstance(bs, tf.Tensor | tf.Variable)
    if not is_tensor and not np.any(bs):
        bs = None
    return (
        per_field(b1, "b1", field),
        per_field(b2, "b2", field),
        None if bs is None else per_field(bs, "bs", field),
    )


@compiled
def _polynomial(
    d: tf.Tensor, b1: tf.Tensor, b2: tf.Tensor, bs: tf.Tensor | None, mesh: AbstractMesh
) -> tf.Tensor:
    total = b1 * d + b2 * (d**2 - mesh.mean(d**2))
    if bs is None:
        return total
    s2 = _tidal_square(d, mesh)
    return total + bs * (s2 - mesh.mean(s2))


@compiled
def _squared_tidal_field(d: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    return _tidal_square(d, mesh)


def _tidal_square(d: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """s**2, from five transforms: the trace of s_ij is zero."""
    slopes = [unfolded(k, d.dtype) for k in fourier.odd(mesh.wavenumbers())]
    x, y, z = (unfolded(k**2, d.dtype) for k in mesh.wavenumbers())
    potential = scaled(mesh.rfft3(d), tf.math.reciprocal_no_nan(x + y + z))
    mean = (x + y + z) / 3

    def component(factor: tf.Tensor) -> tf.Tensor:
        return mesh.irfft3(scaled(potential, factor))

    xx, yy = component(x - mean), component(y - mean)
    mixed = [component(slopes[i] * slopes[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    # zz = -(xx + yy), so that the squares of the diagonal add up to this:
    return 2 * (xx**2 + yy**2 + xx * yy + sum(s**2 for s in mixed))
