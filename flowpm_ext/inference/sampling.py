"""One door for all samplers: draws of structures of parameters, with what went into them."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.inference.chains import Samples
from flowpm_ext.inference.coordinates import (
    METRICS,
    Normal,
    checked_normal,
    in_coordinates,
    learned,
    unit_normal,
)
from flowpm_ext.inference.diagnostics import effective_sample_size, r_hat
from flowpm_ext.inference.hmc import CompiledLogProb, sample_hmc
from flowpm_ext.inference.mclmc import CompiledMicrocanonical, sample_mclmc
from flowpm_ext.inference.nuts import CompiledNuts, sample_nuts
from flowpm_ext.inference.space import Space

FIRST_WINDOW = 20  # moves of warm-up, in which the chains find the density


class Draws(NamedTuple):
    """Draws from a posterior, and how the chains went."""

    values: Any  # structure of [num_samples, num_chains, *shape]
    vectors: np.ndarray  # [num_samples, num_chains, size], the same without bounds
    log_prob: np.ndarray  # [num_samples, num_chains], of the vectors
    acceptance: np.ndarray  # [num_chains]
    step_size: float  # in units of the posterior's own width, as warm-up found it
    num_gradients: int  # of each chain, warm-up included, as run side by side
    gradients_per_draw: float  # of a chain that waits for no other
    num_divergent: int  # steps that the integrator could not follow: the density has a cliff
    energy_error: float  # its variance over the number of parameters, where there is no test
    coordinates: Normal  # in which the chains moved

    @property
    def r_hat(self) -> Any:
        """Agreement of the chains, in the structure of the parameters."""
        return tf.nest.map_structure(r_hat, self.values)

    @property
    def ess(self) -> Any:
        """Number of independent draws, in the structure of the parameters."""
        return tf.nest.map_structure(effective_sample_size, self.values)


class Method(NamedTuple):
    """A sampler as `sample` uses it."""

    compile: Callable[..., Any]  # of a density and whether XLA compiles it
    run: Callable[..., Samples]
    defaults: dict[str, Any]
    # While widths are learned: every draw counts. Moves of "mclmc" are `thin` steps all the same.
    in_windows: dict[str, Any]


METHODS = {
    "nuts": Method(CompiledNuts, sample_nuts, {}, {"thin": 1}),
    # A quarter of a turn around a posterior that is about round, in up to a thousand steps.
    "hmc": Method(
        CompiledLogProb, sample_hmc, {"trajectory": math.pi / 2, "num_leapfrog": 1000}, {"thin": 1}
    ),
    "mclmc": Method(CompiledMicrocanonical, sample_mclmc, {}, {}),
    "mams": Method(
        CompiledMicrocanonical, sample_mclmc, {"target_accept": 0.9, "thin": 1}, {"thin": 1}
    ),
}
# Arguments of samplers that `sample` gives itself, or whose results it could not read.
OWN = {
    "log_prob", "start", "num_samples", "num_warmup", "args", "keep", "num_groups", "seed",
    "progress", "jit_compile",
}  # fmt: skip


def sample(
    log_prob: Callable[[Any], tf.Tensor],
    space: Space,
    num_samples: int,
    method: str = "nuts",
    *,
    num_chains: int = 4,
    num_warmup: int = 500,
    start: Any = None,
    metric: str = "diagonal",
    seed: int | tf.Tensor = 0,
    progress: bool = True,
    jit_compile: bool = True,
    **options: Any,
) -> Draws:
    """Draws from any log posterior over a structure of parameters.

    Warm-up goes through windows, each twice as long as the one before. What a window saw of the
    posterior's widths is the unit of length in the next.

    Args:
        log_prob: Function of the structure with tensors [num_chains, *shape] that gives log
            densities [num_chains], up to a constant, each of its own chain alone.
        space: Shapes and bounds of the parameters.
        num_samples: Draws of each chain to keep.
        method: "nuts"; "hmc", with trajectories of a fixed length; "mclmc", microcanonical
            Langevin dynamics, which costs least in many dimensions and has a bias that
            `energy_error` bounds; "mams", the same with a Metropolis test and no bias.
        num_chains: Chains, side by side.
        num_warmup: Moves before the draws that count: steps of a chain, whatever `thin` is; of
            "mclmc", `thin` steps each.
        start: Where chains start: a structure of tensors [*shape] for all of them or
            [num_chains, *shape] for each, or a `Normal` over vectors such as `laplace` finds,
            whose draws they are, and whose covariance is the first unit of length. By default
            normal numbers in the coordinates without bounds.
        metric: "diagonal" to learn one width for each parameter, "dense" for correlations too
            (up to some hundred parameters), "unit" to keep what there is.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show progress bars.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.
        **options: Of `sample_nuts`, `sample_hmc` or `sample_mclmc`, but for `args`, `keep` and
            `num_groups`.

    Returns:
        `Draws`; look at `r_hat` and `ess` first.

    Raises:
        ValueError: If an option is unknown, a number is not positive, the start has another
            shape, the posterior is not finite there, or `log_prob` gives another shape.

    References:
        Carpenter et al. 2017, J. Stat. Softw. 76, 1 (windows); see the samplers for others.
    """
    checks.one_of(method, "method", tuple(METHODS))
    checks.one_of(metric, "metric", METRICS)
    checks.positive_integers(num_samples=num_samples, num_chains=num_chains)
    _check_options(method, options)
    first = unit_normal(space.size, space.dtype)
    if isinstance(start, Normal):
        first = start = checked_normal(start, space.size, space.dtype)
    x = _first(space, start, num_chains, fold(seed, 0))
    density = in_coordinates(space.log_prob(log_prob))
    run = Runs(METHODS[method], density, options, progress, jit_compile)
    sizes = windows(num_warmup) if metric != "unit" else []
    for number, size in enumerate(sizes):
        found = run(first, x, size - size // 2, size // 2, fold(seed, 2 + number), is_window=True)
        x = first.stretched(tf.constant(found.last))
        first = learned(first.stretched(tf.constant(found.samples)), metric)
    found = run(first, x, num_samples, num_warmup - sum(sizes), fold(seed, 1))
    vectors = first.stretched(tf.constant(found.samples))
    values = tf.nest.map_structure(lambda v: v.numpy(), space.values(vectors))
    return Draws(
        values, vectors.numpy(), found.log_prob, found.acceptance, float(found.step_size[0]),
        run.num_gradients, found.gradients_per_draw, found.num_divergent, found.energy_error,
        first,
    )  # fmt: skip


class Runs:
    """Runs of one sampler on one density in changing coordinates, compiled once.

    Args:
        method: The sampler.
        density: As `in_coordinates` gives it.
        options: Of the sampler, instead of the defaults of the method.
        progress: Whether to show progress bars.
        jit_compile: Whether XLA compiles a step.

    Attributes:
        num_gradients: Of each chain so far.
    """

    def __init__(
        self, method: Method, density: Callable, options: dict, progress: bool, jit_compile: bool
    ) -> None:
        options = method.defaults | options
        depth = {"max_depth": options.pop("max_depth")} if "max_depth" in options else {}
        self._compiled = method.compile(density, jit_compile, **depth)
        self._method, self._options, self._progress = method, options, progress
        self.num_gradients = 0

    def __call__(
        self, at: Normal, x: tf.Tensor, num_samples: int, num_warmup: int, seed: tf.Tensor,
        is_window: bool = False,
    ) -> Samples:  # fmt: skip
        """Draws from x on, as coordinates of `at`; the step size goes on where it was."""
        options = self._options | (self._method.in_windows if is_window else {})
        found = self._method.run(
            self._compiled, at.shrunk(x), num_samples, num_warmup, args=tuple(at), seed=seed,
            progress=self._progress, **options,
        )  # fmt: skip
        self.num_gradients += found.num_gradients
        self._options["step_size"] = float(found.step_size[0])
        return found


def windows(num_warmup: int) -> list[int]:
    """Moves in each window of warm-up that learns widths; an eighth is left for the last step size.

    Args:
        num_warmup: Moves of all warm-up.

    Returns:
        Sizes, doubling; none where warm-up is too short to learn anything.
    """
    left = num_warmup - num_warmup // 8
    sizes, size = [], FIRST_WINDOW
    while left >= size:
        # What would be too little for one more window goes to this one.
        size = left if left < 3 * size else size
        sizes.append(size)
        left, size = left - size, 2 * size
    return sizes


def _check_options(method: str, options: dict[str, Any]) -> None:
    """Refuse what the sampler does not know, and what would break what is read from it."""
    known = [name for name in inspect.signature(METHODS[method].run).parameters if name not in OWN]
    unknown = [name for name in options if name not in known]
    rule = f"be among {', '.join(known)} for {method!r}"
    checks.require(not unknown, "options", rule, ", ".join(unknown))


def _first(space: Space, start: Any, num_chains: int, seed: tf.Tensor) -> tf.Tensor:
    """Where chains start, [num_chains, size]."""
    if start is None:
        return unit_normal(space.size, space.dtype).sample(num_chains, seed)
    if isinstance(start, Normal):
        return start.sample(num_chains, seed)
    x = space.vector(start, "start")
    fits = x.shape.rank == 1 or tuple(x.shape) == (num_chains, space.size)
    rule = f"be of one point, or of one for each of {num_chains} chains"
    checks.require(fits, "start", rule, f"points of shape {x.shape[:-1]}")
    return tf.broadcast_to(x, [num_chains, space.size])
