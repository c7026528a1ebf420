"""Compression of Gaussian data to one number per parameter, without loss to first order."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating
from flowpm_ext.cosmology.constraints import marginalise, parameter_covariance
from flowpm_ext.numerics.jacobian import jacobian
from flowpm_ext.numerics.whitening import Whitening


class ScoreCompressor:
    """Estimates of parameters from the slope of the likelihood at a point.

    For Gaussian data d of mean mu and covariance C they are
    t = theta + F**-1 s, with the score s = d mu C**-1 (d - mu) and the Fisher matrix
    F = d mu C**-1 d mu. Where C depends on the parameters too, the score has terms of second
    order in the data. Their covariance is the inverse of F at `theta`; estimates of some of the
    parameters have no response to the others, the nuisances.

    Args:
        theta: Parameters (any unit) where to expand, shape [P].
        mean: Mean of the data there, [N], or a function from parameters [P] to it.
        covariance: Covariance of the data there, [N, N], or their variances, [N].
        derivatives: Derivatives of the mean, [P, N]; by automatic differentiation where the mean
            is a function.
        covariance_derivatives: Derivatives of the covariance, [P, N, N]; none by default.
        nuisances: Indices of parameters to project out.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, the covariance or the Fisher
            matrix is not positive definite, or no parameter is left.

    References:
        Heavens, Jimenez & Lahav 2000, arXiv:astro-ph/9911102; Alsing & Wandelt 2018,
        arXiv:1712.00012; Alsing & Wandelt 2019, arXiv:1903.01473.
    """

    def __init__(
        self,
        theta: TensorLike,
        mean: TensorLike | Callable[[tf.Tensor], tf.Tensor],
        covariance: TensorLike,
        derivatives: TensorLike | None = None,
        covariance_derivatives: TensorLike | None = None,
        nuisances: Sequence[int] = (),
    ) -> None:
        checks.rank(theta, "theta", 1)
        checks.finite(theta, "theta")
        self.theta = cast(theta, floating(theta))
        if derivatives is None:
            rule = "be a function where no `derivatives` are given"
            checks.require(callable(mean), "mean", rule, mean)
            derivatives = tf.transpose(jacobian(mean, self.theta))
        mean = mean(self.theta) if callable(mean) else mean
        self.mean = _array(mean, "mean", [None], self.dtype)
        num_parameters, size = self.theta.shape[0], self.mean.shape[0]
        slopes = _array(derivatives, "derivatives", [num_parameters, size], self.dtype)
        self._whiten = Whitening.of(covariance, (size,), self.dtype)
        self._slopes = self._whiten(slopes)
        self._bends = None
        self.fisher = tf.matmul(self._slopes, self._slopes, transpose_b=True)
        if covariance_derivatives is not None:
            sides = [num_parameters, size, size]
            rises = _array(covariance_derivatives, "covariance_derivatives", sides, self.dtype)
            self._bends = self._whiten(tf.linalg.matrix_transpose(self._whiten(rises)))
            self.fisher += 0.5 * tf.einsum("aij,bij->ab", self._bends, self._bends)
        self.interest = _others(nuisances, num_parameters)
        self._covariance = parameter_covariance(self.fisher)

    @property
    def dtype(self) -> tf.DType:
        """Floating type of the summaries, that of `theta`."""
        return self.theta.dtype

    @property
    def projected_fisher(self) -> tf.Tensor:
        """Fisher matrix of the summaries, with the nuisances free, [num_interest, num_interest].

        References:
            Alsing & Wandelt 2019, arXiv:1903.01473, equation 10.
        """
        return marginalise(self.fisher, self.interest)

    def score(self, d: TensorLike) -> tf.Tensor:
        """Derivatives of the log-likelihood at `theta`.

        Args:
            d: Data, shape [..., N].

        Returns:
            Shape [..., P], in inverse units of the parameters.

        Raises:
            ValueError: If the data have another length.

        References:
            Alsing & Wandelt 2018, arXiv:1712.00012, equation 11.
        """
        d = cast(d, self.dtype)
        size = self.mean.shape[0]
        checks.require(d.shape[-1] == size, "d", f"have {size} components", f"shape {d.shape}")
        white = self._whiten(d - self.mean)
        score = tf.matmul(white[..., None, :], self._slopes, transpose_b=True)[..., 0, :]
        if self._bends is None:
            return score
        squares = tf.einsum("...i,aij,...j->...a", white, self._bends, white)
        return score + 0.5 * (squares - tf.linalg.trace(self._bends))

    def compress(self, d: TensorLike) -> tf.Tensor:
        """Estimates of the parameters that are no nuisances.

        Args:
            d: Data, shape [..., N].

        Returns:
            Shape [..., num_interest], in the units of the parameters.

        Raises:
            ValueError: If the data have another length.

        References:
            Alsing & Wandelt 2018, arXiv:1712.00012; Alsing & Wandelt 2019, arXiv:1903.01473.
        """
        # Rows of the inverse of the whole matrix are what projects the nuisances out.
        step = tf.gather(self._covariance, self.interest, axis=1)
        return tf.gather(self.theta, self.interest) + tf.tensordot(self.score(d), step, 1)


def _array(value: TensorLike, name: str, sides: list[int | None], dtype: tf.DType) -> tf.Tensor:
    """A finite tensor of these sides."""
    checks.finite(value, name)
    value = cast(value, dtype)
    fits = value.shape.is_compatible_with(sides)
    checks.require(fits, name, f"have shape {sides}", f"shape {value.shape}")
    return value


def _others(nuisances: Sequence[int], num_parameters: int) -> np.ndarray:
    """Indices that are no nuisances."""
    found = np.unique(np.asarray(nuisances, int))
    valid = found.size == len(tuple(nuisances)) and np.all((found >= 0) & (found < num_parameters))
    rule = f"be different integers from 0 to {num_parameters - 1}, and leave one parameter"
    checks.require(bool(valid) and found.size < num_parameters, "nuisances", rule, nuisances)
    return np.setdiff1d(np.arange(num_parameters), found)
