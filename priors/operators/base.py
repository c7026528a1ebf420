"""The linear operators that take an image to data: one contract for all of them."""

import abc
import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, known


class AbstractLinearOperator(Structure, abc.ABC):
    """A linear map between images and data, with its adjoint.

    The spaces are real: complex numbers count as two real components, and the product is
    <a, b> = Re sum conj(a) b. The adjoint holds <op(x), y> = <x, op.adjoint(y)>. Leading axes
    of `x` and `y` are batch axes. Operators of matching shapes multiply: `(A @ B)(x) = A(B(x))`.

    A subclass gives `shape`, `_forward` and `_backward`.

    Attributes:
        shape: Sides of an image, for maps (ny, nx).
    """

    shape: tuple[int, ...]

    # True: complex numbers only; False: real numbers only; None: either.
    takes_complex: ClassVar[bool | None] = False
    gives_complex: ClassVar[bool | None] = False

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Sides of the data of one image."""
        return self.shape

    def __call__(self, x: TensorLike) -> tf.Tensor:
        """Data of an image.

        Args:
            x: Images (any unit), shape [..., *shape].

        Returns:
            Data (the unit of `x`), shape [..., *data_shape].

        Raises:
            ValueError: If `x` does not end in the sides of an image.
            TypeError: If `x` is complex where a real image is needed, or the other way round.
        """
        return self._forward(checked(x, "x", self.shape, self.takes_complex))

    def adjoint(self, y: TensorLike) -> tf.Tensor:
        """Image of data under the adjoint.

        Args:
            y: Data (any unit), shape [..., *data_shape].

        Returns:
            Images (the unit of `y`), shape [..., *shape].

        Raises:
            ValueError: If `y` does not end in the sides of the data.
            TypeError: If `y` is complex where real data are needed, or the other way round.
        """
        return self._backward(checked(y, "y", self.data_shape, self.gives_complex))

    def normal(self, x: TensorLike) -> tf.Tensor:
        """The adjoint of the data of an image, shape [..., *shape], in the unit of `x`."""
        return self.adjoint(self(x))

    def __matmul__(self, other: "AbstractLinearOperator") -> "Product":
        return Product(self, other)

    @abc.abstractmethod
    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        """Data of checked images."""

    @abc.abstractmethod
    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        """Images of checked data."""


@dataclasses.dataclass(frozen=True)
class Product(AbstractLinearOperator):
    """Two operators one after the other: `outer(inner(x))`; written `outer @ inner`.

    Attributes:
        outer: Operator applied last.
        inner: Operator applied first.

    Raises:
        ValueError: If the data of `inner` have not the sides of an image of `outer`.
    """

    outer: AbstractLinearOperator
    inner: AbstractLinearOperator

    def __post_init__(self) -> None:
        checks.require(
            tuple(self.outer.shape) == tuple(self.inner.data_shape), "outer",
            f"take images of sides {tuple(self.inner.data_shape)}", tuple(self.outer.shape),
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of an image of `inner`."""
        return self.inner.shape

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Sides of the data of `outer`."""
        return self.outer.data_shape

    @property
    def takes_complex(self) -> bool | None:
        """Whether images are complex, as `inner` says."""
        return self.inner.takes_complex

    @property
    def gives_complex(self) -> bool | None:
        """Whether data are complex, as `outer` says, or `inner` where `outer` takes either."""
        either = self.outer.gives_complex is None
        return self.inner.gives_complex if either else self.outer.gives_complex

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self.outer(self.inner(x))

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))


def map_shape(shape: tuple[int, int], name: str = "shape") -> tuple[int, int]:
    """The sides of a map as two Python integers, or a refusal.

    Args:
        shape: Pixels of the map, (ny, nx).
        name: Name of the argument, for the message.

    Returns:
        The same, as a tuple of two integers.

    Raises:
        ValueError: If `shape` is not two positive integers.
    """
    sides = tuple(shape)
    good = len(sides) == 2 and all(int(n) == n and n >= 1 for n in sides)
    checks.require(good, name, "be two positive integers, (ny, nx)", shape)
    return (int(sides[0]), int(sides[1]))


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of an image as Python integers, or a refusal.

    Args:
        shape: Sides of the image; the last two are pixels, (..., ny, nx), those before count
            sources or bands.

    Returns:
        The same, as a tuple of integers.

    Raises:
        ValueError: If `shape` is not two or more positive integers.
    """
    sides = tuple(shape)
    good = len(sides) >= 2 and all(int(n) == n and n >= 1 for n in sides)
    checks.require(good, "shape", "be two or more positive integers, (..., ny, nx)", shape)
    return tuple(int(n) for n in sides)


def real_numbers(value: TensorLike, name: str) -> tf.Tensor:
    """A property of an operator as real floats, or a refusal.

    Args:
        value: Numbers, any shape; without a type of their own they become float64.
        name: Name of the argument, for the message.

    Returns:
        The tensor.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If they are not real floats.
    """
    value = tf.convert_to_tensor(value if hasattr(value, "dtype") else np.asarray(value), name=name)
    value = tf.cast(value, tf.float64) if value.dtype.is_integer else value
    kind = value.dtype
    checks.require(kind.is_floating, name, "be real floats", kind.name, error=TypeError)
    checks.finite(value, name)
    return value


def checked(x: TensorLike, name: str, sides: tuple[int, ...], is_complex: bool | None) -> tf.Tensor:
    """The argument of an operator as a tensor, or a refusal.

    Args:
        x: Images or data (any unit), shape [..., *sides].
        name: Name of the argument, for the message.
        sides: The last axes it must have.
        is_complex: Whether its numbers must be complex; None for either.

    Returns:
        The tensor, with its last axes known.

    Raises:
        ValueError: If it does not end in these axes.
        TypeError: If it is complex where it must be real, or the other way round.
    """
    x = tf.convert_to_tensor(x, name=name)
    rank = x.shape.rank
    fits = rank is None or (rank >= len(sides) and x.shape[-len(sides) :].is_compatible_with(sides))
    checks.require(fits, name, f"end in axes {tuple(sides)}", x.shape)
    if is_complex is not None:
        rule = "be complex" if is_complex else "be real"
        checks.require(x.dtype.is_complex == is_complex, name, rule, x.dtype.name, error=TypeError)
    return x if rank is None else tf.ensure_shape(x, [*x.shape[: -len(sides)], *sides])


def mask_tensor(mask: TensorLike) -> tf.Tensor:
    """A mask of a map as a tensor, or a refusal.

    Args:
        mask: Weights between 0 and 1 or booleans, shape [ny, nx].

    Returns:
        The mask, float64 unless it came as another float, shape [ny, nx].

    Raises:
        ValueError: If `mask` has not two axes, lies outside [0, 1] or is zero everywhere.
    """
    mask = tf.convert_to_tensor(mask, name="mask")
    mask = mask if mask.dtype.is_floating else tf.cast(mask, tf.float64)
    checks.rank(mask, "mask", 2)
    checks.in_range(mask, "mask", 0.0, 1.0)
    values = known(mask)
    checks.require(values is None or np.any(values), "mask", "hold a non-zero pixel", mask)
    return mask
