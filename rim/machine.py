"""Recurrent inference machines: networks that learned to optimise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.nn import UNet
from rim.problem import InverseProblem
from rim.training import DefaultCompile
from rim.update import MultiscaleUpdate


class Link(NamedTuple):
    """A bounded unknown from a free one, and back."""

    forward: Callable[[tf.Tensor], tf.Tensor]
    inverse: Callable[[tf.Tensor], tf.Tensor]
    low: float = -float("inf")  # of estimates that the inverse takes
    high: float = float("inf")


LINKS = {
    "identity": Link(tf.identity, tf.identity),
    "softplus": Link(tf.math.softplus, lambda x: x + tf.math.log(-tf.math.expm1(-x)), 1e-4),
    "sigmoid": Link(tf.sigmoid, lambda x: tf.math.log(x) - tf.math.log1p(-x), 1e-4, 1 - 1e-4),
    "exp": Link(tf.exp, tf.math.log, 1e-4),
}
GRADIENTS = ("separate", "summed")
SCALINGS = ("adam", "raw")
STARTS = ("zeros", "noise", "learned")
DECAYS = (0.9, 0.999)  # of the two moments, as Adam has them


class RIM(DefaultCompile, keras.Model):
    """A recurrent network that is told the gradients, and answers with the next step.

    u starts somewhere, x = link(u) is the unknown, and each step adds what the network makes of
    u, of the gradients of log likelihood and log prior by u, and of its memory. Called with an
    observation it gives the trajectory [batch, num_steps, space...], whose last entry is the
    estimate; `fit` takes pairs (y, x). Train it with the error of the whole trajectory, which is
    the default loss, and the last step comes close to the mean of the posterior.

    Args:
        problem: What is to be solved. Its unknown is [batch, space...], or with
            `num_channels` [batch, space..., num_channels].
        rank: Dimensions of space: 1, 2 or 3.
        num_steps: Steps in training, and elsewhere unless a call says otherwise.
        filters: Channels of each branch of the network, the finest first.
        kernel_size: Odd width of the kernels in cells.
        memory: "gru", "lstm" or "none".
        padding: "periodic", "reflect" or "zero".
        num_channels: Fields of the unknown; None for one without an axis.
        gradients: "separate" shows those of likelihood and prior, "summed" their sum.
        scaling: "adam" divides gradients by their running root mean square, cell by cell;
            "raw" leaves them.
        sees_estimate: Whether the network sees u besides its gradients.
        context: Function of the observation that gives channels for the network to see,
            [batch, space..., num_context]; none by default.
        num_context: How many.
        link: "identity", "softplus" or "exp" (positive), or "sigmoid" (from 0 to 1).
        start: "zeros" or "noise" for u, a function of the observation that gives x (an
            approximate inverse), or "learned" by a U-Net from the context. Keep the weights of
            a machine that holds functions by `save_weights`.
        is_second_order: Whether training goes through the derivatives of the gradients;
            dearer, and seldom better.
        seed: Of a start by noise.
        **options: Of a Keras model.

    Raises:
        ValueError: If an option is unknown, or a learned start has no context.

    References:
        Putzky & Welling 2017, arXiv:1706.04008.
    """

    def __init__(
        self,
        problem: InverseProblem,
        rank: int,
        num_steps: int = 10,
        filters: Sequence[int] = (16, 32),
        kernel_size: int = 3,
        memory: str = "gru",
        padding: str = "reflect",
        *,
        num_channels: int | None = None,
        gradients: str = "separate",
        scaling: str = "adam",
        sees_estimate: bool = True,
        context: Callable[[Any], tf.Tensor] | None = None,
        num_context: int = 0,
        link: str = "identity",
        start: str | Callable[[Any], tf.Tensor] = "zeros",
        is_second_order: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(num_steps=num_steps)
        checks.one_of(gradients, "gradients", GRADIENTS)
        checks.one_of(scaling, "scaling", SCALINGS)
        checks.one_of(link, "link", tuple(LINKS))
        if not callable(start):
            checks.one_of(start, "start", STARTS)
        has_context = (context is not None) == (num_context > 0)
        checks.require(has_context, "num_context", "count the channels of `context`", num_context)
        checks.require(
            start != "learned" or num_context > 0, "start", "have a `context` to learn from", start
        )
        self.problem, self.num_steps = problem, num_steps
        self.num_channels, self.gradients, self.scaling = num_channels, gradients, scaling
        self.sees_estimate, self.context = sees_estimate, context
        self.link, self.start, self.seed = link, start, seed
        self.is_second_order = is_second_order
        fields = num_channels or 1
        space = [None] * rank
        self.network = MultiscaleUpdate(
            filters, fields, kernel_size, rank, memory, padding, self.gains(), name="update"
        )
        self.network.build((None, *space, self.num_features(fields, num_context)))
        self.first = None
        if start == "learned":
            self.first = UNet(filters, fields, kernel_size, rank, padding, name="first")
            self.first.build((None, *space, num_context))
        self.built = True  # whatever the size of a box

    def num_features(self, fields: int, num_context: int) -> int:
        """Channels that the network sees.

        Args:
            fields: Of the unknown.
            num_context: Channels of the context.

        Returns:
            Their number.
        """
        of_gradients = 2 if self.gradients == "separate" else 1
        return fields * (of_gradients + self.sees_estimate) + num_context

    def gains(self) -> Sequence[Sequence[float]] | None:
        """Linear map from the features to the step, before training; none."""
        return None

    def call(self, y: Any, num_steps: int | None = None) -> tf.Tensor:
        """The trajectory of an estimate.

        Args:
            y: Observation of a batch.
            num_steps: How many steps; as many as in training by default.

        Returns:
            Unknowns after each step, shape [batch, num_steps, space...].
        """
        link, steps = LINKS[self.link], self.num_steps if num_steps is None else num_steps
        checks.positive_integers(num_steps=steps)
        u = self.begin(y)
        self._require_divisible(u)
        context = None if self.context is None else self.context(y)
        states, moments, trajectory = None, None, []
        for step in range(steps):
            found = self._gradients(u, y, link)
            features, moments = self.features(u, found, moments, step)
            features = features if context is None else tf.concat([features, context], -1)
            if states is None:
                states = self.network.initial_state(features)
            change, states = self.network(features, states)
            u += self.to_step(change)
            trajectory.append(link.forward(u))
        return tf.stack(trajectory, axis=1)

    def begin(self, y: Any) -> tf.Tensor:
        """The free unknown before the first step.

        Args:
            y: Observation of a batch.

        Returns:
            u, shape [batch, space...]. From zeros or noise it has the shape of the first tensor
            of `y`; where that is not the shape of the unknown, give a function as `start`.
        """
        if callable(self.start):
            link = LINKS[self.link]
            x = self.start(y)
            # An estimate on its bound, or beyond, would be infinitely far away.
            return link.inverse(tf.clip_by_value(x, link.low, link.high))
        if self.start == "learned":
            return self._without_channels(self.first(self.context(y)))
        like = tf.nest.flatten(y)[0]
        if self.start == "zeros":
            return tf.zeros_like(like)
        # The size of a batch is not known in a graph.
        seed = stateless_seed(self.seed)
        return tf.random.stateless_normal(tf.shape(like), seed, dtype=like.dtype)

    def _require_divisible(self, u: tf.Tensor) -> None:
        """Refuse a box that the coarsest branch has no whole patches for."""
        patch = 2 ** (len(self.network.filters) - 1)
        sides = [side for side in u.shape[1 : self.network.rank + 1] if side is not None]
        rule = f"have sides that divide by {patch}, the coarsest patch of the network"
        checks.require(all(side % patch == 0 for side in sides), "mesh", rule, sides)

    @functools.cached_property
    def compiled_call(self) -> Callable[[Any, int], tf.Tensor]:
        """`call` of an observation and a number of steps, as a graph that is kept."""
        return tf.function(lambda y, num_steps: self(y, num_steps=num_steps), autograph=False)

    def features(
        self, u: tf.Tensor, gradients: Sequence[tf.Tensor], moments: Any, step: int
    ) -> tuple[tf.Tensor, Any]:
        """What the network sees of an estimate.

        Args:
            u: The free unknown.
            gradients: By u, of log likelihood and log prior, or their sum alone.
            moments: Running moments of gradients, None before the first step.
            step: Number of the step, from 0.

        Returns:
            Channels [batch, space..., num_features], and the moments.
        """
        shown = list(gradients)
        if self.scaling == "adam":
            shown, moments = adam_scaled(shown, moments, step)
        shown = [u, *shown] if self.sees_estimate else shown
        return self._with_channels(shown), moments

    def to_step(self, change: tf.Tensor) -> tf.Tensor:
        """The step in u from what the network says.

        Args:
            change: Shape [batch, space..., fields].

        Returns:
            In the shape of u.
        """
        return self._without_channels(change)

    def _gradients(self, u: tf.Tensor, y: Any, link: Link) -> list[tf.Tensor]:
        u = u if self.is_second_order else tf.stop_gradient(u)
        if self.link == "identity":
            found = self.problem.gradients(u, y)
        else:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(u)
                x = link.forward(u)
            found = [tape.gradient(x, u, g) for g in self.problem.gradients(x, y)]
        found = found if self.gradients == "separate" else [sum(found)]
        return list(found) if self.is_second_order else [tf.stop_gradient(g) for g in found]

    def _with_channels(self, fields: Sequence[tf.Tensor]) -> tf.Tensor:
        if self.num_channels is None:
            return tf.stack(fields, axis=-1)
        return tf.concat(fields, axis=-1)

    def _without_channels(self, fields: tf.Tensor) -> tf.Tensor:
        return fields[..., 0] if self.num_channels is None else fields


def adam_scaled(
    gradients: Sequence[tf.Tensor], moments: Sequence[tuple] | None, step: int
) -> tuple[list[tf.Tensor], list[tuple]]:
    """Running means of gradients over their running root mean squares.

    Args:
        gradients: Of any shapes.
        moments: What the step before gave; None for the first.
        step: Its number, from 0.

    Returns:
        Dimensionless numbers of order one in the shapes of the gradients, and the moments.

    References:
        Kingma & Ba 2014, arXiv:1412.6980.
    """
    if moments is None:
        moments = [(tf.zeros_like(g), tf.zeros_like(g)) for g in gradients]
    scaled, following = [], []
    first, second = DECAYS
    for g, (mean, square) in zip(gradients, moments, strict=True):
        mean = first * mean + (1 - first) * g
        square = second * square + (1 - second) * g**2
        root = tf.sqrt(square / (1 - second ** (step + 1)))
        scaled.append(mean / (1 - first ** (step + 1)) / (root + 1e-7))
        following.append((mean, square))
    return scaled, following
