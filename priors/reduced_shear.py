"""What galaxies really show of lensing: the shear divided by one minus the convergence."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core.types import TensorLike
from priors.likelihood import GaussianLikelihood


@dataclasses.dataclass(frozen=True)
class ReducedShearLikelihood(GaussianLikelihood):
    """Likelihood of data = op(x) / (1 - x) + noise: reduced shear g = gamma / (1 - kappa).

    `op` goes from convergence to shear of the same pixels, as `KaiserSquires` does. The mean of
    the convergence is no longer lost, and taken from `x` as it is. The chains of
    `sample_posterior`, "hmc", "langevin" and "guided", take this likelihood, and noise on the
    prior for noise on the data as `op` alone passes it on; the Wiener filter takes its
    `linearised`.

    Attributes:
        op: As for `GaussianLikelihood`.
        data: As for `GaussianLikelihood`.
        noise_std: As for `GaussianLikelihood`.
        mask: As for `GaussianLikelihood`.

    References:
        Bartelmann & Schneider 2001, arXiv:astro-ph/9912508.
    """

    is_linear = False

    def residual(self, x: TensorLike) -> tf.Tensor:
        """Data minus the reduced shear of an image, zero outside the mask.

        Args:
            x: Convergence, shape [..., ny, nx].

        Returns:
            Residual, shape [..., ny, nx].

        Raises:
            ValueError: If `x` does not end in the sides of an image.
        """
        x = tf.convert_to_tensor(x, self.dtype)
        shear = self.op(x)
        difference = self.data - shear / tf.cast(1 - x, shear.dtype)
        return tf.where(self.mask, difference, tf.zeros_like(difference))

    def gradient(self, x: TensorLike) -> tf.Tensor:
        """Gradient of `log_prob` with respect to the convergence.

        Args:
            x: Convergence, shape [..., ny, nx].

        Returns:
            Gradient, shape [..., ny, nx].

        Raises:
            ValueError: If `x` does not end in the sides of an image.
        """
        x = tf.convert_to_tensor(x, self.dtype)
        left = tf.cast(self.precision, self.data.dtype) * self.residual(x)
        lens = tf.cast(1 - x, left.dtype)
        direct = tf.math.real(tf.math.conj(left) * self.op(x) / lens**2)
        return self.op.adjoint(left / lens) + direct

    def linearised(self) -> GaussianLikelihood:
        """The likelihood with the shear in the place of the reduced one.

        Returns:
            A likelihood that is linear in the convergence.
        """
        return GaussianLikelihood(self.op, self.data, self.noise_std, self.mask)
