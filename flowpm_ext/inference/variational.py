"""Variational inference: the member of a family of densities that is nearest to a posterior."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.inference.chains import require_finite_start
from flowpm_ext.inference.coordinates import Normal, checked_normal, in_coordinates, unit_normal
from flowpm_ext.inference.families import FAMILIES, AbstractFamily, FullRank, MeanField
from flowpm_ext.inference.importance import FEWEST, Importance, importance
from flowpm_ext.inference.space import Space

BLOCK = 50  # steps in one call
LEAST_BLOCKS = 5  # whose scatter says how well their mean is known
DECAY = (0.9, 0.999)  # of the moments of Adam


class Variational(NamedTuple):
    """A density that was fitted to a posterior, over vectors without bounds."""

    family: AbstractFamily
    weights: Any  # of the family
    coordinates: Normal  # in which the family lives
    space: Space
    elbo: float  # bound of the log evidence from below, at the end
    elbo_error: float
    # Change of the bound over the last fifth of the steps, or the last 500, in standard errors:
    # below 2 or 3 where the fit has converged; infinite where there are fewer.
    drift: float
    importance: Importance  # of weighted draws: evidence, effective size of a draw, k_hat
    history: np.ndarray  # [num_blocks], the bound as it rose
    num_gradients: int  # of the posterior, the batch counted

    @property
    def normal(self) -> Normal | None:
        """The density over vectors, where it is normal; None for a flow."""
        if not isinstance(self.family, MeanField | FullRank):
            return None
        root = tf.exp(self.weights["log_std"])
        if isinstance(self.family, FullRank):
            root = self.family.root(self.weights)
        return _composed(self.coordinates, Normal(self.weights["mean"], root))

    def vectors(self, num_samples: int, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Draws without bounds, [num_samples, size]."""
        z = standard_normal([num_samples, self.space.size], seed, self.space.dtype)
        return self.coordinates.stretched(self.family.forward(self.weights, z)[0])

    def sample(self, num_samples: int, seed: int | tf.Tensor = 0) -> Any:
        """Draws in the structure of the parameters, [num_samples, *shape]."""
        return self.space.values(self.vectors(num_samples, seed))

    def log_prob(self, vectors: tf.Tensor) -> tf.Tensor:
        """Log density of vectors without bounds [num, size], [num]."""
        inner = self.family.log_prob(self.weights, self.coordinates.shrunk(vectors))
        return inner - self.coordinates.log_volume


def fit_variational(
    log_prob: Callable[[Any], tf.Tensor],
    space: Space,
    family: str | AbstractFamily = "full_rank",
    *,
    start: Any = None,
    num_steps: int = 2000,
    batch_size: int = 32,
    learning_rate: float = 0.02,
    num_draws: int = 2000,
    seed: int | tf.Tensor = 0,
    progress: bool = True,
    jit_compile: bool = True,
) -> Variational:
    """The density of a family with the least Kullback-Leibler divergence to a posterior.

    Its gradient leaves out the part whose mean is zero, so that it has no noise where the family
    holds the posterior. Densities found so are narrower than the posterior rather than wider:
    look at `importance`.

    Args:
        log_prob: Function of the structure with tensors [num, *shape] that gives log densities
            [num].
        space: Shapes and bounds of the parameters.
        family: "mean_field", "full_rank", "flow", or an `AbstractFamily`.
        start: A structure of tensors [*shape] for the first mean, or a `Normal` over vectors,
            such as `laplace` finds, which makes the posterior round for the fit.
        num_steps: Steps of Adam, rounded up to 50; their length falls to zero along a cosine.
        batch_size: Draws in each.
        learning_rate: First length of steps, in coordinates of the start.
        num_draws: Draws that the bound and the weights are of, at the end; 25 or more.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show a progress bar.
        jit_compile: Whether XLA compiles the steps.

    Returns:
        `Variational`.

    Raises:
        ValueError: If an option is unknown, not positive or too small, the start does not fit,
            the posterior is not finite around it, `log_prob` gives another shape, or the fit
            fails.

    References:
        Kucukelbir et al. 2017, arXiv:1603.00788; Roeder, Wu & Duvenaud 2017, arXiv:1703.09194
        (the gradient); Kingma & Ba 2015, arXiv:1412.6980.
    """
    if isinstance(family, str):
        checks.one_of(family, "family", tuple(FAMILIES))
        family = FAMILIES[family]()
    checks.positive_integers(num_steps=num_steps, batch_size=batch_size, num_draws=num_draws)
    checks.require(num_draws >= FEWEST, "num_draws", f"be {FEWEST} or more", num_draws)
    checks.positive(learning_rate, "learning_rate")
    at = _coordinates(space, start)
    inner = in_coordinates(space.log_prob(log_prob))

    def density(w: tf.Tensor) -> tf.Tensor:
        return inner(w, *at) + at.log_volume

    weights = family.initial(space.size, space.dtype, fold(seed, 0))
    num_blocks = -(-num_steps // BLOCK)
    fit = _Fit(family, density, space.size, batch_size, learning_rate, num_blocks, jit_compile)
    z = standard_normal([batch_size, space.size], fold(seed, 1), space.dtype)
    first = density(family.forward(weights, z)[0])
    require_finite_start(first, "Give a `start` around which the density is above zero.")
    weights, history = fit.run(weights, fold(seed, 2), progress)
    z = standard_normal([num_draws, space.size], fold(seed, 3), space.dtype)
    w, log_volume = family.forward(weights, z)
    square = tf.reduce_sum(z**2, axis=1) + space.size * math.log(2 * math.pi)
    gain = (fit.density(w) + 0.5 * square + log_volume).numpy()
    gain = np.where(np.isnan(gain), -np.inf, gain).astype(np.float64)
    error = float(np.std(gain) / math.sqrt(num_draws))
    return Variational(
        family, weights, at, space, float(np.mean(gain)), error, _drift(history),
        importance(gain), history, batch_size * len(history) * BLOCK,
    )  # fmt: skip


class _Fit:
    """Steps of Adam along the gradient of the bound."""

    def __init__(
        self, family: AbstractFamily, density: Callable, size: int, batch_size: int,
        learning_rate: float, num_blocks: int, jit_compile: bool,
    ) -> None:  # fmt: skip
        self.family, self.size, self.batch_size = family, size, batch_size
        self.learning_rate, self.num_blocks = learning_rate, num_blocks
        self._density = density
        self.density = tf.function(density, jit_compile=jit_compile, autograph=False)
        self._block = tf.function(self._steps, jit_compile=jit_compile, autograph=False)

    def run(self, weights: Any, seed: tf.Tensor, progress: bool) -> tuple[Any, np.ndarray]:
        """Weights at the end, and the bound in each block."""
        flat = tf.nest.flatten(weights)
        state = (flat, [tf.zeros_like(v) for v in flat], [tf.zeros_like(v) for v in flat])
        history = []
        total = self.num_blocks * BLOCK
        with tqdm(total=total, unit="step", desc="variational", disable=not progress) as bar:
            for number in range(self.num_blocks):
                first = tf.constant(number * BLOCK)
                state, bound = self._block(state, first, seed, weights)
                history.append(float(bound))
                checks.finite(history[-1], "log_prob", "Lower `learning_rate`, or start nearer.")
                bar.update(BLOCK)
                bar.set_postfix(elbo=f"{history[-1]:.2f}")
        return tf.nest.pack_sequence_as(weights, state[0]), np.array(history)

    def _steps(
        self, state: tuple, first: tf.Tensor, seed: tf.Tensor, like: Any
    ) -> tuple[tuple, tf.Tensor]:
        total = tf.cast(self.num_blocks * BLOCK, state[0][0].dtype)

        def step(i: tf.Tensor, state: tuple, bound: tf.Tensor) -> tuple:
            flat, means, squares = state
            number = tf.cast(first + i, total.dtype)
            value, slopes = self._bound(flat, like, seed + tf.stack([0, first + i]))
            means = [DECAY[0] * m + (1 - DECAY[0]) * g for m, g in zip(means, slopes, strict=True)]
            squares = [
                DECAY[1] * s + (1 - DECAY[1]) * g**2 for s, g in zip(squares, slopes, strict=True)
            ]
            rate = 0.5 * self.learning_rate * (1 + tf.cos(math.pi * number / total))
            rate *= tf.sqrt(1 - DECAY[1] ** (number + 1)) / (1 - DECAY[0] ** (number + 1))
            flat = [
                v + rate * m / (tf.sqrt(s) + 1e-8)
                for v, m, s in zip(flat, means, squares, strict=True)
            ]
            return i + 1, (flat, means, squares), bound + value

        zero = tf.zeros([], total.dtype)
        _, state, bound = tf.while_loop(
            lambda i, *_: i < BLOCK, step, (tf.constant(0), state, zero)
        )
        return state, bound / BLOCK

    def _bound(self, flat: list[tf.Tensor], like: Any, seed: tf.Tensor) -> tuple:
        """The bound by a batch of draws, and its gradient by the weights."""
        z = standard_normal([self.batch_size, self.size], seed, flat[0].dtype)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            weights = tf.nest.pack_sequence_as(like, flat)
            x, _ = self.family.forward(weights, z)
            # The gradient through x alone: that of log q by its own weights has mean zero.
            fixed = tf.nest.map_structure(tf.stop_gradient, weights)
            gain = self._density(x) - self.family.log_prob(fixed, x)
            value = tf.reduce_mean(gain)
        return value, tape.gradient(value, flat, unconnected_gradients="zero")


def _coordinates(space: Space, start: Any) -> Normal:
    """Coordinates in which the fit begins at the unit normal density."""
    if isinstance(start, Normal):
        return checked_normal(start, space.size, space.dtype)
    unit = unit_normal(space.size, space.dtype)
    if start is None:
        return unit
    mean = space.vector(start, "start")
    checks.require(mean.shape.rank == 1, "start", "be one point", f"points of {mean.shape[:-1]}")
    return unit._replace(mean=mean)


def _composed(outer: Normal, inner: Normal) -> Normal:
    """The density of points whose coordinates have another."""
    if outer.root.shape.rank == 1 and inner.root.shape.rank == 1:
        root = outer.root * inner.root
    else:
        left, right = (
            tf.linalg.diag(n.root) if n.root.shape.rank == 1 else n.root for n in (outer, inner)
        )
        root = tf.matmul(left, right)
    return Normal(outer.stretched(inner.mean[None])[0], root)


def _drift(history: np.ndarray) -> float:
    """Change of the bound between the last two parts of a fit, over its standard error."""
    num = max(LEAST_BLOCKS, len(history) // 10)
    if len(history) < 2 * num:
        return math.inf
    last, before = history[-num:], history[-2 * num : -num]
    error = math.sqrt((np.var(last, ddof=1) + np.var(before, ddof=1)) / num)
    return float(abs(last.mean() - before.mean()) / max(error, 1e-12))
