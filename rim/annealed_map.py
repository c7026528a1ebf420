"""The most probable unknown, found from large scales to small."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference import minimize
from rim.problem import InverseProblem

SCALES = (1.0, 0.5, 0.0)
EVALUATIONS = (6, 6, 12)


class MapEstimate(NamedTuple):
    """The most probable unknowns, and what it took to find them."""

    x: tf.Tensor  # [batch, ...], in the unit of the unknown
    num_gradients: int  # of the forward model, for each example
    history: np.ndarray  # [batch, num_gradients, 2]: scale and minus the log posterior


def map_estimate(
    problem: InverseProblem,
    y: Any,
    scales: Sequence[float] = SCALES,
    num_evaluations: Sequence[int] | None = None,
    *,
    start: TensorLike | None = None,
    coordinates: str | None = None,
    method: str = "scipy",
    memory: int = 10,
    on_scale: Callable[[int, float, tf.Tensor], None] | None = None,
    progress: bool = True,
) -> MapEstimate:
    """Maximum a posteriori by L-BFGS, with a likelihood that sees smaller and smaller scales.

    Without annealing large scales of a nonlinear problem get stuck far from the truth. Each scale
    starts from where the one before has ended, and the examples of a batch are searched one after
    the other.

    Args:
        problem: The problem.
        y: Observation of a batch.
        scales: Smoothing of the likelihood, in the unit of the problem (cells for
            `InitialConditions`), decreasing; 0 for none.
        num_evaluations: Gradients of the forward model to spend at each scale; 6, 6 and 12 by
            default, or 12 for each of other scales.
        start: Where to start, an unknown [batch, ...]; by default zero, for a problem that
            knows the shape of its unknown from that of `y`.
        coordinates: In which to search; the first of the problem by default.
        method: "scipy" (in float64 on the host) or "tfp" (in one graph).
        memory: Pairs of steps and gradients that L-BFGS keeps.
        on_scale: Called after each scale with the number of the example, the scale and the
            unknown there, [1, ...].
        progress: Whether to show a progress bar.

    Returns:
        `MapEstimate`.

    Raises:
        ValueError: If the scales do not decrease or the problem cannot be annealed, the
            evaluations are not as many, `y` does not fit the problem, or an option is unknown.

    References:
        Modi, Feng & Seljak 2018, arXiv:1805.02247; Feng, Seljak & Zaldarriaga 2018,
        arXiv:1804.09687.
    """
    scales, budget = _schedule(problem, scales, num_evaluations)
    coordinates = problem.coordinates[0] if coordinates is None else coordinates
    loss = problem.loss_in(coordinates)
    y = problem.check(y)
    first = tf.nest.flatten(y)[0]
    start = tf.zeros_like(first) if start is None else tf.cast(start, first.dtype)
    checks.finite(start, "start")
    checks.require(
        start.shape[:1].is_compatible_with(first.shape[:1]),
        "start", f"have the batch of y, {first.shape[0]}", start,
    )  # fmt: skip
    step = 1.0 if coordinates in problem.unit_spheres and method == "scipy" else None
    found, history = [], []
    total = start.shape[0] * sum(budget)
    with tqdm(total=total, unit="gradient", desc="MAP", disable=not progress) as bar:
        for example in range(start.shape[0]):
            one = slice(example, example + 1)
            mine = tf.nest.map_structure(lambda part, one=one: part[one], y)
            u, values = problem.to_coordinates(start[one], coordinates), []
            for scale, evaluations in zip(scales, budget, strict=True):
                smoothing = tf.constant(scale, first.dtype)
                result = minimize(
                    lambda u, mine=mine, smoothing=smoothing: loss(u, mine, smoothing),
                    u, evaluations, method, memory=memory, first_step=step,
                    callback=lambda *_: bar.update(),
                )  # fmt: skip
                u = result.x
                values.append(_row(scale, result.history, result.num_evaluations))
                if on_scale is not None:
                    on_scale(example, scale, problem.to_unknown(u, coordinates))
            found.append(problem.to_unknown(u, coordinates))
            history.append(np.concatenate(values))
    longest = max(len(rows) for rows in history)
    history = np.stack([_padded(rows, longest) for rows in history])
    return MapEstimate(tf.concat(found, axis=0), longest, history)


def _schedule(
    problem: InverseProblem, scales: Sequence[float], num_evaluations: Sequence[int] | None
) -> tuple[list[float], list[int]]:
    """Scales and the gradients to spend at each."""
    array = np.atleast_1d(np.asarray(scales, np.float64))
    checks.non_negative(array, "scales")
    falls = array.size > 0 and bool(np.all(np.diff(array) < 0))
    checks.require(falls, "scales", "decrease", scales)
    checks.require(
        problem.can_anneal or not np.any(array), "scales", "be (0,) here", scales,
        "This likelihood takes no `scale`.",
    )  # fmt: skip
    if num_evaluations is None:
        is_default = tuple(array) == SCALES
        num_evaluations = EVALUATIONS if is_default else (12,) * array.size
    budget = [int(n) for n in np.atleast_1d(num_evaluations)]
    fits = len(budget) == array.size and all(n >= 1 for n in budget)
    rule = f"be {array.size} positive integers, one for each scale"
    checks.require(fits, "num_evaluations", rule, num_evaluations)
    return array.tolist(), budget


def _row(scale: float, values: np.ndarray, count: int) -> np.ndarray:
    """Scale and value of each evaluation, [count, 2]; unknown values are those that follow."""
    values = np.concatenate([np.full(count - len(values), values[0]), values])
    return np.stack([np.full(count, scale), values], axis=1)


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows continued by the last of them."""
    return np.concatenate([rows, np.repeat(rows[-1:], length - len(rows), axis=0)])
