"""Maps of a lensing survey as a quick, differentiable function of parameters and white noise."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.lensing import coloured, lognormal_factor, lognormal_shift
from lfi.batching import in_batches
from lfi.survey import LensingTask

NUM_NODES = 11  # along each parameter; polynomials through them are right to 1e-4


class LognormalField:
    """Lognormal maps without noise, by polynomials through theory at some parameters.

    Theory is computed once, at 121 Chebyshev nodes. In between each mode's factor is a
    polynomial, so that a map costs two Fourier transforms, inside of any graph.

    Args:
        task: The survey.
        progress: Whether to show a progress bar of theory.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503; Trefethen 2013, Approximation Theory
        and Approximation Practice.
    """

    def __init__(self, task: LensingTask, progress: bool = False) -> None:
        self.task = task
        self.shift = tf.cast(lognormal_shift(task.nz), tf.float32)
        node = np.cos(np.pi * (np.arange(NUM_NODES) + 0.5) / NUM_NODES)
        pairs = np.stack(np.meshgrid(node, node, indexing="ij"), axis=-1).reshape(-1, 2)
        low, high = np.asarray(task.low), np.asarray(task.high)
        theta = low + (high - low) * (pairs + 1) / 2

        def factor(part: np.ndarray, number: int) -> tf.Tensor:
            cosmo = task.cosmology(part)
            return lognormal_factor(cosmo, task.nz, task.field_size_deg, task.num_pixels)

        found = in_batches(factor, theta, "cosmologies", progress)
        vandermonde = np.polynomial.chebyshev.chebvander2d(*pairs.T, [NUM_NODES - 1] * 2)
        flat = np.linalg.solve(vandermonde, found.reshape(len(found), -1))
        self._shape = found.shape[1:]
        self._coefficients = tf.constant(flat, tf.float32)

    def factor(self, theta: tf.Tensor) -> tf.Tensor:
        """Cholesky factors of the modes, as `flowpm_ext.lensing.lognormal_factor` gives them.

        Args:
            theta: Omega_c and sigma8, inside of the prior, shape [batch, 2].

        Returns:
            Shape [batch, num_pairs, num_pixels, num_pixels // 2 + 1], float32.

        References:
            Trefethen 2013, Approximation Theory and Approximation Practice.
        """
        prior = self.task.prior
        place = 2 * (tf.cast(theta, tf.float32) - prior.low) / (prior.high - prior.low) - 1
        power = [tf.ones_like(place), place]
        for _ in range(NUM_NODES - 2):
            power.append(2 * place * power[-1] - power[-2])
        first, second = tf.unstack(tf.stack(power, axis=-1), axis=1)
        both = tf.reshape(first[:, :, None] * second[:, None, :], [-1, NUM_NODES**2])
        return tf.reshape(tf.matmul(both, self._coefficients), [-1, *self._shape])

    def maps(self, theta: tf.Tensor, white: tf.Tensor) -> tf.Tensor:
        """Maps without noise.

        Args:
            theta: Omega_c and sigma8, inside of the prior, shape [batch, 2].
            white: Normal numbers, shape [batch, num_bins, num_pixels, num_pixels].

        Returns:
            Convergence, shape [batch, num_pixels, num_pixels, num_bins], float32.

        References:
            Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
        """
        return coloured(white, self.factor(theta), self.shift)

    def stream(self, batch_size: int = 32, seed: int = 0) -> tf.data.Dataset:
        """New maps and their parameters without end, so that no network can learn them by heart.

        Give `fit` the `steps_per_epoch`.

        Args:
            batch_size: Maps in each batch.
            seed: Seed.

        Returns:
            Pairs of maps [batch_size, num_pixels, num_pixels, num_bins], without noise, and
            parameters [batch_size, 2] drawn from the prior.

        Raises:
            ValueError: If `batch_size` is not a positive integer.

        References:
            Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459.
        """
        checks.positive_integers(batch_size=batch_size)
        prior, n = self.task.prior, self.task.num_pixels
        shape = [batch_size, len(self.task.nz), n, n]

        def make(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            now = fold(seed, tf.cast(number, tf.int32))
            theta = prior.sample(batch_size, fold(now, 0))
            return self.maps(theta, standard_normal(shape, fold(now, 1))), theta

        compiled = tf.function(make, jit_compile=True)
        return tf.data.Dataset.counter().map(compiled, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
