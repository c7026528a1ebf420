"""Checks at the public door, with one wording for every refusal.

Each raises with "`name` must <rule>. Received: <value>." and, where one is known, the fix.
Values inside a traced graph are not known when it is built, so there they pass unchecked.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import known


def require(
    condition: bool,
    name: str,
    rule: str,
    received: Any,
    fix: str = "",
    error: type[Exception] = ValueError,
) -> None:
    """Raise `error` in the project's wording unless `condition` holds.

    Args:
        condition: What must be true.
        name: Name of the argument, for the message.
        rule: What it must do, as in "be positive".
        received: What it was; arrays are shortened.
        fix: What to do about it, added to the message.
        error: Type of the error.

    Raises:
        Exception: Of the type `error`, unless `condition` holds.
    """
    if not condition:
        message = f"`{name}` must {rule}. Received: {shown(received)}."
        raise error(f"{message} {fix}".rstrip())


def shown(value: Any) -> str:
    """A short text for a received value: numbers as they are, large arrays by shape.

    Args:
        value: The value, of any kind.

    Returns:
        Text for a message.
    """
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tf.Tensor | tf.Variable | np.ndarray):
        array = known(value)
        if array is None or array.size > 8:
            return f"shape {tuple(value.shape)}"
        has_unit = hasattr(value, "unit")  # an astropy quantity, whose text says it
        if array.ndim and not has_unit:
            return np.array2string(array, separator=", ")
        value = value if has_unit else array[()]
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def finite(value: Any, name: str, fix: str = "") -> None:
    """Refuse NaN and infinity.

    Args:
        value: What was received, any shape; symbolic tensors pass.
        name: Name of the argument, for the message.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If a value is not finite.
    """
    array = _numbers(value, name)
    if array is None:
        return
    bad = np.count_nonzero(~np.isfinite(array))
    received = array if array.size <= 8 else f"{bad} of {array.size} values NaN or infinite"
    require(bad == 0, name, "be finite", received, fix)


def positive(value: Any, name: str, fix: str = "") -> None:
    """Refuse values that are not finite and above zero.

    Args:
        value: What was received, any shape; symbolic tensors pass.
        name: Name of the argument, for the message.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If a value is not.
    """
    _bounded(value, name, "be positive", lambda x: x > 0, fix)


def non_negative(value: Any, name: str, fix: str = "") -> None:
    """Refuse values that are not finite and at least zero.

    Args:
        value: What was received, any shape; symbolic tensors pass.
        name: Name of the argument, for the message.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If a value is not.
    """
    _bounded(value, name, "be non-negative", lambda x: x >= 0, fix)


def positive_integers(**values: Any) -> None:
    """Raise unless all these are positive integers.

    Args:
        **values: Values by the names of their arguments.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        is_count = isinstance(value, int | np.integer) and value >= 1
        require(is_count, name, "be a positive integer", value)


def in_range(value: Any, name: str, low: float, high: float, fix: str = "") -> None:
    """Refuse values outside the closed interval [low, high].

    Args:
        value: What was received, any shape; symbolic tensors pass.
        name: Name of the argument, for the message.
        low: Smallest value allowed.
        high: Largest value allowed.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If a value is outside.
    """
    _bounded(value, name, f"lie in [{low:g}, {high:g}]", lambda x: (x >= low) & (x <= high), fix)


def increasing(value: Any, name: str, fix: str = "") -> None:
    """Refuse a sequence that is not finite and strictly increasing.

    Args:
        value: What was received, shape [n]; symbolic tensors pass.
        name: Name of the argument, for the message.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If it is not.
    """
    array = known(value)
    if array is not None:
        finite(array, name)
        require(bool(np.all(np.diff(array) > 0)), name, "increase", array, fix)


def one_of(value: Any, name: str, choices: Sequence[str]) -> None:
    """Refuse an option that is not among the choices.

    Args:
        value: The option.
        name: Name of the argument, for the message.
        choices: The options there are.

    Raises:
        ValueError: If it is not among them.
    """
    listed = ", ".join(repr(choice) for choice in choices)
    require(value in tuple(choices), name, f"be one of {listed}", value)


def rank(value: Any, name: str, ndim: int | Sequence[int]) -> None:
    """Refuse a tensor whose number of axes is known and not among `ndim`.

    Args:
        value: What was received, any shape.
        name: Name of the argument, for the message.
        ndim: Numbers of axes allowed.

    Raises:
        ValueError: If it has another number of axes.
    """
    allowed = (ndim,) if isinstance(ndim, int) else tuple(ndim)
    axes = tf.TensorShape(np.shape(value) if not hasattr(value, "shape") else value.shape).rank
    listed = " or ".join(str(n) for n in allowed)
    require(axes is None or axes in allowed, name, f"have {listed} axes", value)


def static_grid(value: tf.Tensor, name: str, ndim: int) -> tuple[int, ...]:
    """Sides of the last `ndim` axes, which must be known when the graph is built.

    Args:
        value: A tensor.
        name: Name of the argument, for the message.
        ndim: How many axes.

    Returns:
        The sides.

    Raises:
        ValueError: If there are fewer axes, or a side is not known.
    """
    shape = value.shape
    sides = shape[-ndim:].as_list() if shape.rank is not None and shape.rank >= ndim else [None]
    require(
        None not in sides, name, f"end in {ndim} axes of known size", f"shape {shape}",
        "Set the shape with `tf.ensure_shape`.",
    )  # fmt: skip
    return tuple(sides)


def _bounded(value: Any, name: str, rule: str, test: Any, fix: str) -> None:
    array = _numbers(value, name)
    if array is not None:
        ok = np.isfinite(array) & test(array)
        bad = array[~ok] if np.ndim(array) else array
        require(bool(np.all(ok)), name, rule, np.ravel(bad)[:4] if np.ndim(bad) else bad, fix)


def _numbers(value: Any, name: str) -> np.ndarray | None:
    """The value where it is known, after a check that it is made of numbers."""
    array = known(value)
    if array is not None:
        require(array.dtype.kind in "fiubc", name, "be a number", value, error=TypeError)
    return array
