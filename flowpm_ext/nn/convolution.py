"""Convolutions in one, two or three dimensions, on boxes that end in one of three ways."""

from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks

PADDINGS = ("periodic", "reflect", "zero")
PACKAGE = "flowpm_ext"

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
_TRANSPOSED = {
    1: keras.layers.Conv1DTranspose,
    2: keras.layers.Conv2DTranspose,
    3: keras.layers.Conv3DTranspose,
}


def pad(x: tf.Tensor, width: int, padding: str = "periodic") -> tf.Tensor:
    """Cells added around each axis of space.

    Args:
        x: Shape [batch, space..., channels].
        width: Cells to add on either side.
        padding: "periodic" goes on with the other end, "reflect" mirrors at the outermost cell,
            and "zero" adds zeros.

    Returns:
        Each axis of space longer by 2 `width`.

    Raises:
        ValueError: If `padding` is unknown, or the width is negative or wider than the box.
    """
    checks.one_of(padding, "padding", PADDINGS)
    axes = range(1, x.shape.rank - 1)
    sides = [x.shape[axis] for axis in axes if x.shape[axis] is not None]
    widest = min(sides, default=width) - (padding == "reflect")
    is_allowed = width >= 0 and (padding == "zero" or width <= widest)
    checks.require(is_allowed, "width", f"be from 0 to {widest} in this box", width)
    if width == 0:
        return x
    if padding != "periodic":
        widths = [[0, 0], *([width, width] for _ in axes), [0, 0]]
        return tf.pad(x, widths, "REFLECT" if padding == "reflect" else "CONSTANT")
    for axis in axes:
        before = [slice(None)] * axis + [slice(-width, None)]
        after = [slice(None)] * axis + [slice(None, width)]
        x = tf.concat([x[tuple(before)], x, x[tuple(after)]], axis=axis)
    return x


@keras.saving.register_keras_serializable(PACKAGE)
class Convolution(keras.layers.Layer):
    """A convolution that knows how the box ends.

    With a stride it takes patches that do not overlap, of the size of the stride, so that no
    padding is needed; `is_transposed` is the way back.

    Args:
        filters: Channels of the result.
        kernel_size: Odd width of the kernel in cells, for stride 1.
        rank: Dimensions of space: 1, 2 or 3.
        padding: "periodic", "reflect" or "zero".
        stride: Cells from one patch to the next.
        is_transposed: Whether each cell makes a patch, and not each patch a cell.
        activation: Of the result; none by default.
        kernel_initializer: Of the kernel.
        kernel_constraint: Of the kernel, such as a `SpectralNorm`; None for none.
        **options: Of a Keras layer.

    Raises:
        ValueError: If the rank or the padding is unknown, a number is not a positive integer, or
            the kernel is even.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        rank: int = 3,
        padding: str = "periodic",
        stride: int = 1,
        is_transposed: bool = False,
        activation: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_constraint: keras.constraints.Constraint | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.one_of(rank, "rank", (1, 2, 3))
        checks.one_of(padding, "padding", PADDINGS)
        checks.positive_integers(filters=filters, kernel_size=kernel_size, stride=stride)
        checks.require(kernel_size % 2 == 1, "kernel_size", "be odd", kernel_size)
        self.filters, self.kernel_size, self.rank = filters, kernel_size, rank
        self.padding, self.stride, self.is_transposed = padding, stride, is_transposed
        self._width = kernel_size // 2 if stride == 1 else 0
        kind = _TRANSPOSED if is_transposed else _CONVOLUTIONS
        self.inner = kind[rank](
            filters,
            kernel_size if stride == 1 else stride,
            strides=stride,
            padding="valid",
            activation=activation,
            kernel_initializer=kernel_initializer,
            kernel_constraint=kernel_constraint,
        )
        self.activation = activation
        self.kernel_initializer = kernel_initializer
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.inner.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.inner(pad(x, self._width, self.padding))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        factor = self.stride if self.is_transposed else 1 / self.stride
        sides = [None if side is None else int(side * factor) for side in shape[1:-1]]
        return (shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "padding": self.padding,
            "stride": self.stride,
            "is_transposed": self.is_transposed,
            "activation": self.activation,
            "kernel_initializer": self.kernel_initializer,
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
