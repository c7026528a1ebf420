"""What is believed of parameters before anything is observed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_names


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


def parameter_names(prior: Any, num: int) -> list[str]:
    """Names of the parameters of a prior, numbered ones where it has none.

    Args:
        prior: `BoxPrior` or a TFP distribution.
        num: How many parameters there are.

    Returns:
        The names.

    Raises:
        ValueError: If the prior has not as many.
    """
    return checked_names(getattr(prior, "names", None), num, "theta")


def check_prior(prior: Any) -> int:
    """Require what every estimator needs of a prior.

    Args:
        prior: `BoxPrior` or a TFP distribution.

    Returns:
        Number of parameters.

    Raises:
        ValueError: If it has no `sample` and `log_prob`, they do not speak of one vector of
            parameters, or draws are not float32.
    """
    has_both = hasattr(prior, "sample") and hasattr(prior, "log_prob")
    checks.require(has_both, "prior", "have `sample` and `log_prob`", prior)
    theta = prior.sample(2, seed=stateless_seed(0))
    dtype = tf.as_dtype(theta.dtype)
    fix = "Make it of float32 numbers, as densities and simulations are."
    checks.require(dtype == tf.float32, "prior", "draw float32", dtype.name, fix)
    shapes = tuple(theta.shape), tuple(prior.log_prob(theta).shape)
    fits = len(shapes[0]) == 2 and shapes[1] == (2,)
    fix = "Wrap independent parameters in `tfp.distributions.Independent`."
    rule = "draw [num, num_parameters] and give one log density for each"
    checks.require(fits, "prior", rule, shapes, fix)
    num = shapes[0][1]
    on_line = unconstrained(prior).inverse(theta)
    rule = "live where each parameter has its own bounds, if any"
    checks.require(tuple(on_line.shape) == shapes[0], "prior", rule, type(prior).__name__)
    return num


def bounds(prior: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of parameters, for densities that keep to them.

    Args:
        prior: `BoxPrior` or a TFP distribution.

    Returns:
        Both, [num_parameters], infinite where a parameter has none.

    References:
        Dillon et al. 2017, arXiv:1711.10604, for the bijector that tells them.
    """
    if isinstance(prior, BoxPrior):
        return prior.low, prior.high
    num, line = prior.sample(1, seed=stateless_seed(0)).shape[1], unconstrained(prior)
    # Where the map from the line moves no more it has come to a bound.
    far, farther = (np.stack([line.forward(np.full(num, sign * size, np.float32))
                              for sign in (-1, 1)]) for size in (1e3, 1e4))  # fmt: skip
    low, high = np.where(far == farther, far, [[-np.inf], [np.inf]])
    return low, high


def inside(theta: TensorLike, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Parameters that do not lie on a bound, where maps to the real line have no value.

    Those on it, and rounding may put some there, are moved in by a millionth of the width.

    Args:
        theta: Shape [..., num_parameters], within the bounds.
        low: Lower bounds, [num_parameters]; infinite for none.
        high: Upper bounds.

    Returns:
        The shape of `theta`, float32.

    References:
        IEEE 754, for what is the next number to a bound.
    """
    return np.clip(np.asarray(theta, np.float32), *innermost(low, high))


def innermost(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The nearest to the bounds where maps to the real line have a value.

    Args:
        low: Lower bounds, [num_parameters]; infinite for none.
        high: Upper bounds.

    Returns:
        A millionth of the width from the lower and from the upper bounds, [2, num_parameters],
        float32.

    References:
        IEEE 754, for what is the next number to a bound.
    """
    width = np.where(np.isfinite(high - low), high - low, 0)
    ends = []
    for bound, sign in ((low, 1), (high, -1)):
        next_to = 4 * np.spacing(np.abs(np.where(np.isfinite(bound), bound, 0)))
        ends.append(bound + sign * np.maximum(1e-6 * width, next_to))
    return np.asarray(ends, np.float32)


def unconstrained(prior: Any) -> tfp.bijectors.Bijector:
    """The map from real numbers to where a prior lives.

    Args:
        prior: `BoxPrior` or a TFP distribution.

    Returns:
        A bijector of TFP.
    """
    if isinstance(prior, BoxPrior):
        return tfp.bijectors.Sigmoid(prior.low, prior.high)
    return prior.experimental_default_event_space_bijector()
