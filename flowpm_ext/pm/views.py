"""What is seen of the particles on their way, and the gradient of it."""

import abc
import dataclasses
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core.compile import zeros
from flowpm_ext.core.types import Structure, static


class Look(Structure, abc.ABC):
    """What to see of the particles at one time; frozen, and equal where it sees the same."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Sides of one view."""

    @abc.abstractmethod
    def __call__(self, position: tf.Tensor, *arguments: tf.Tensor) -> tf.Tensor:
        """View of positions (cells) [batch, num_particles, 3] and the arguments of the view."""


class Sight(NamedTuple):
    """What to see of a simulation, and when.

    Attributes:
        look: What to see.
        a: Scale factors of the views, increasing, [batch..., num_views].
        arguments: Arguments of the look, with one row for each view, [num_views, ...] each.
    """

    look: Look
    a: tf.Tensor
    arguments: tuple[tf.Tensor, ...] = ()


@dataclasses.dataclass(frozen=True)
class Views(Structure):
    """Looks at the positions of the particles between forces, in the order of time.

    Attributes:
        look: What to see.
        start: Views before the drift to each force, before the last drift, and of all: int32
            [num_forces + 2].
        drift: How far the particles have drifted since the last force, [batch..., num_views].
        arguments: Arguments of the look, with one row for each view, [num_views, ...] each.
        is_drift_fixed: True where the drift depends on nothing that may be differentiated: its
            gradient, a sum over all particles for each view, is then left at zero.
    """

    start: tf.Tensor
    drift: tf.Tensor
    look: Look = static()  # noqa: RUF009 (a field)
    arguments: tuple[tf.Tensor, ...] = ()
    is_drift_fixed: bool = static(default=False)

    def nothing_yet(self, dtype: tf.DType) -> tuple[tf.Tensor]:
        """Where views go: [num_views, *look.shape]."""
        return (zeros([self.drift.shape[-1], *self.look.shape], dtype),)

    def seen(
        self,
        i: int | tf.Tensor,
        x: tf.Tensor,
        p: tf.Tensor,
        drift: tf.Tensor,
        arguments: tuple[tf.Tensor, ...],
        images: tuple[tf.Tensor],
    ) -> tuple[tf.Tensor]:
        """Images with what is seen on the drift before force i.

        Args:
            i: Number of the force.
            x: Positions (cells) after the force before it, [batch, num_particles, 3].
            p: Momenta (cells) on this drift, the same shape.
            drift: Drift to each view, [num_views, batch or 1, 1, 1].
            arguments: Those of the look, [num_views, ...] each.
            images: What was seen before, [num_views, *look.shape].

        Returns:
            The images.
        """

        def see(j: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = self.look(x + drift[j] * p, *(row[j] for row in arguments))
            return j + 1, tf.tensor_scatter_nd_update(images, [[j]], image[None])

        _, images = tf.while_loop(
            lambda j, _: j < self.start[i + 1], see, (self.start[i], *images),
            maximum_iterations=images[0].shape[0],
        )  # fmt: skip
        return (images,)

    def pulled(
        self,
        i: int | tf.Tensor,
        x: tf.Tensor,
        p: tf.Tensor,
        drift: tf.Tensor,
        arguments: tuple[tf.Tensor, ...],
        upstream: tf.Tensor,
        totals: tuple[tf.Tensor, tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tuple[tf.Tensor, ...]]:
        """Gradients by x, p, drift and arguments with those of `seen` added.

        Args:
            i: Number of the force.
            x: As for `seen`.
            p: As for `seen`.
            drift: As for `seen`.
            arguments: As for `seen`.
            upstream: Gradient by the images, [num_views, *look.shape].
            totals: Gradients found so far; rows of views not yet seen are zero.

        Returns:
            The gradients.
        """

        def pull(j: tf.Tensor, dx: tf.Tensor, dp: tf.Tensor, d_drift: tf.Tensor, rows: tuple):
            inputs = [x + drift[j] * p, *(row[j] for row in arguments)]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                image = self.look(*inputs)
            new, *others = tape.gradient(
                image, inputs, output_gradients=upstream[j],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )  # fmt: skip
            rows = tuple(with_row(row, j, d) for row, d in zip(rows, others, strict=True))
            if not self.is_drift_fixed:
                d_drift = with_row(d_drift, j, new * p)
            return j + 1, dx + new, dp + drift[j] * new, d_drift, rows

        _, *totals = tf.while_loop(
            lambda j, *_: j < self.start[i + 1], pull, (self.start[i], *totals),
            maximum_iterations=drift.shape[0],
        )  # fmt: skip
        return tuple(totals)


def with_row(total: tf.Tensor, i: int | tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
    """A tensor with row i set to the sum of terms over the axes along which it has one entry.

    Args:
        total: Any unit, shape [num_rows, ...].
        i: Number of the row.
        terms: The same unit, with the axes of a row.

    Returns:
        The tensor, in the shape of `total`.
    """
    axes = [axis for axis, side in enumerate(total.shape[1:]) if side == 1]
    row = tf.reduce_sum(terms, axis=axes, keepdims=True)
    return tf.tensor_scatter_nd_update(total, [[i]], row[None])
