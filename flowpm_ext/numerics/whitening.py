"""Square roots of covariance matrices: dense, diagonal, or in blocks along one axis."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast, known, static

FORMS = (
    "Give variances [N], a matrix [..., N, N], or for data [m, n] blocks [..., n, m, m] "
    "that correlate its rows in each column."
)


@dataclasses.dataclass(frozen=True)
class Whitening(Structure):
    """Linear map that gives Gaussian vectors of some covariance unit variance.

    Args:
        root: Standard deviations [N], or lower triangular Cholesky factors [..., N, N] or
            [..., n, m, m], in the units of the data.
        shape: Shape of one data vector, of size N.
        is_blocks: Whether the factors are those of blocks.

    References:
        Kessy, Lewin & Strimmer 2018, arXiv:1512.00809 (Cholesky whitening).
    """

    root: tf.Tensor
    shape: tuple[int, ...] = static()
    is_blocks: bool = static(default=False)

    @classmethod
    def of(cls, covariance: TensorLike, shape: Sequence[int], dtype: tf.DType) -> Self:
        """Factorise a covariance.

        Args:
            covariance: Variances [N], a matrix [..., N, N], or for data of shape [m, n]
                blocks [..., n, m, m] that correlate the rows in each column.
            shape: Shape of one data vector, of size N; it is flattened row by row.
            dtype: Floating type of the data.

        Returns:
            The map.

        Raises:
            ValueError: If the covariance does not fit the data, is not finite or, where
                this is known, not positive definite. Inside a compiled graph a
                covariance that is not positive definite makes the results NaN.
        """
        checks.finite(covariance, "covariance")
        covariance = cast(covariance, dtype)
        shape, size = tuple(shape), math.prod(shape)
        sides = tuple(covariance.shape)
        if sides == (size,):
            checks.positive(covariance, "covariance", "These are variances.")
            return cls(tf.sqrt(covariance), shape)
        if sides[-2:] == (size, size):
            return cls(_cholesky(covariance), shape)
        fits = len(shape) == 2 and sides[-3:] == (shape[1], shape[0], shape[0])
        received = f"shape {sides} for data of shape {shape}"
        checks.require(fits, "covariance", "fit the data", received, FORMS)
        return cls(_cholesky(covariance), shape, is_blocks=True)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Apply the map: the scalar product of two results is x C**-1 y.

        Args:
            x: Vectors in the units of the data, shape [..., *shape].

        Returns:
            Whitened vectors (dimensionless), shape [..., N]; those of blocks are in the
            order of the blocks.
        """
        size = math.prod(self.shape)
        batch = tf.shape(x)[: tf.rank(x) - len(self.shape)]
        if self.root.shape.rank == 1:
            return tf.reshape(x, tf.concat([batch, [size]], axis=0)) / self.root
        if self.is_blocks:
            x, root = tf.linalg.matrix_transpose(x), self.root  # [..., n, m]
        else:
            # One block: the matrix.
            x = tf.reshape(x, tf.concat([batch, [1, size]], axis=0))
            root = self.root[..., None, :, :]
        white = _solve(root, x)
        return tf.reshape(white, tf.concat([tf.shape(white)[:-2], [size]], axis=0))

    def log_determinant(self) -> tf.Tensor:
        """Logarithm of the determinant of the covariance, of its batch shape."""
        if self.root.shape.rank == 1:
            return 2 * tf.reduce_sum(tf.math.log(self.root))
        logs = tf.math.log(tf.linalg.diag_part(self.root))
        return 2 * tf.reduce_sum(logs, axis=[-2, -1] if self.is_blocks else -1)


def _cholesky(matrix: tf.Tensor) -> tf.Tensor:
    """Lower triangular factor; what is not positive definite is refused where it is known."""
    root = tf.linalg.cholesky(matrix)
    pivots = known(tf.linalg.diag_part(root))  # NaN where the factorisation failed
    checks.require(
        pivots is None or bool(np.all(pivots > 0)), "covariance", "be positive definite", matrix,
        "Check for repeated or linearly dependent data.",
    )  # fmt: skip
    return root


def _solve(root: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Solutions of root y = x for vectors [..., num_blocks, size]."""
    if root.shape.rank > 3:
        return tf.linalg.triangular_solve(root, x[..., None])[..., 0]
    # One set of blocks for all vectors: they become the columns of one right-hand side.
    num_blocks, size = root.shape[0], root.shape[-1]
    columns = tf.transpose(tf.reshape(x, [-1, num_blocks, size]), [1, 2, 0])
    solved = tf.transpose(tf.linalg.triangular_solve(root, columns), [2, 0, 1])
    return tf.reshape(solved, tf.shape(x))
