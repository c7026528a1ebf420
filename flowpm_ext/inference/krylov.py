"""Functions of matrices that are known by their products with vectors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks

NEGLIGIBLE = 1e-10  # of the largest product, below which a subspace is taken for closed


class Krylov(NamedTuple):
    """Subspaces that a matrix spans out of vectors, and its eigenvalues in them."""

    basis: np.ndarray  # [num_steps, num_vectors, size], orthonormal in each
    length: np.ndarray  # [num_vectors], of the vectors
    values: np.ndarray  # [num_vectors, num_steps], eigenvalues
    vectors: np.ndarray  # [num_vectors, num_steps, num_steps], their components

    @property
    def weights(self) -> np.ndarray:
        """Squared share of each eigenvalue in its vector, [num_vectors, num_steps]."""
        return self.vectors[:, 0] ** 2

    def applied(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The function of the matrix times the vectors.

        Args:
            function: Of eigenvalues.

        Returns:
            Shape [num_vectors, size].
        """
        scale = np.where(self.weights > 0, function(self._safe), 0) * self.vectors[:, 0]
        parts = np.einsum("nij,nj->ni", self.vectors, scale)
        return self.length[:, None] * np.einsum("in...,ni->n...", self.basis, parts)

    def traces(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Estimates of the trace of the function of the matrix, one from each vector.

        Args:
            function: Of eigenvalues.

        Returns:
            Shape [num_vectors]; their mean has no bias where vectors are normal numbers.
        """
        size = self.basis.shape[-1]
        return size * np.sum(self.weights * function(self._safe), axis=1)

    @property
    def _safe(self) -> np.ndarray:
        """Eigenvalues, with one in place of those that no vector has a share in."""
        return np.where(self.weights > 0, self.values, 1.0)


def lanczos(
    product: Callable[[tf.Tensor], tf.Tensor], vectors: tf.Tensor, num_steps: int
) -> Krylov:
    """Subspaces of a symmetric matrix, by the method of Lanczos with full orthogonalisation.

    Args:
        product: Of the matrix with each of several vectors [num_vectors, size].
        vectors: Where the subspaces start, shape [num_vectors, size].
        num_steps: Products.

    Returns:
        `Krylov`, in float64.

    Raises:
        ValueError: If `num_steps` is not positive, or a product is not finite.

    References:
        Golub & Van Loan 2013, Matrix Computations, chapter 10.
    """
    checks.positive_integers(num_steps=num_steps)
    num_steps = min(num_steps, vectors.shape[1])
    start = np.asarray(vectors, np.float64)
    length = np.linalg.norm(start, axis=1)
    basis = np.zeros([num_steps, *start.shape])
    matrix = np.zeros([len(start), num_steps, num_steps])
    basis[0] = start / length[:, None]
    for i in range(num_steps):
        image = np.array(product(tf.constant(basis[i], vectors.dtype)), np.float64)
        checks.finite(image, "product")
        scale = np.linalg.norm(image, axis=1)
        matrix[:, i, i] = np.sum(image * basis[i], axis=1)
        for _ in range(2):  # once is not enough for orthogonality to rounding
            shares = np.einsum("ind,nd->in", basis[: i + 1], image)
            image -= np.einsum("in,ind->nd", shares, basis[: i + 1])
        if i + 1 < num_steps:
            rest = np.linalg.norm(image, axis=1)
            rest = np.where(rest > NEGLIGIBLE * scale, rest, 0.0)
            matrix[:, i, i + 1] = matrix[:, i + 1, i] = rest
            basis[i + 1] = np.divide(
                image, rest[:, None], out=np.zeros_like(image), where=rest[:, None] > 0
            )
    values, found = np.linalg.eigh(matrix)
    # Steps beyond a closed subspace have no share; rounding must not give them one.
    found[:, 0] = np.where(found[:, 0] ** 2 > 1e-24, found[:, 0], 0.0)
    return Krylov(basis, length, values, found)
