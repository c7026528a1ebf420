"""What is believed of parameters before anything is observed."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike


class BoxPrior:
    """Independent parameters, each uniform between two bounds.

    Args:
        low: Lower bounds, [num_parameters].
        high: Upper bounds.
        names: Of the parameters; theta_0, theta_1, ... by default.

    Raises:
        ValueError: If bounds are not finite or not in order, or names are not as many.
    """

    def __init__(
        self, low: TensorLike, high: TensorLike, names: Sequence[str] | None = None
    ) -> None:
        self.low, self.high = (np.atleast_1d(np.asarray(x, np.float32)) for x in (low, high))
        checks.finite(self.low, "low")
        checks.finite(self.high, "high")
        is_list = self.low.ndim == 1 and self.low.shape == self.high.shape
        checks.require(is_list, "high", f"have the shape of `low`, {self.low.shape}", self.high)
        checks.require(bool(np.all(self.low < self.high)), "low", "be below `high`", self.low)
        names = [f"theta_{i}" for i in range(self.low.size)] if names is None else list(names)
        rule = f"be {self.low.size} different texts"
        fits = len(names) == len(set(names)) == self.low.size
        checks.require(fits, "names", rule, names)
        self.names = names

    @property
    def num_parameters(self) -> int:
        """How many parameters there are."""
        return self.low.size

    def sample(self, num: int, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Parameters drawn from the box.

        Args:
            num: How many.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, num_parameters], float32.

        Raises:
            ValueError: If `num` is not a positive integer.

        References:
            The uniform distribution.
        """
        checks.positive_integers(num=num)
        part = tf.random.stateless_uniform([num, self.num_parameters], stateless_seed(seed))
        return self.low + (self.high - self.low) * part

    def log_prob(self, theta: TensorLike) -> tf.Tensor:
        """Log density, minus infinity outside of the box.

        Args:
            theta: Parameters, shape [..., num_parameters].

        Returns:
            Shape [...].

        References:
            The uniform distribution.
        """
        theta = tf.cast(tf.convert_to_tensor(theta), tf.float32)
        inside = tf.reduce_all((theta >= self.low) & (theta <= self.high), axis=-1)
        log_volume = float(np.sum(np.log(self.high - self.low)))
        return tf.where(inside, -log_volume, -np.inf)
