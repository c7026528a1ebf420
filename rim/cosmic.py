"""The recurrent inference machine of the initial conditions of the universe."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import cast
from flowpm_ext.fields.spectrum import scaled
from rim.baselines import standard_reconstruction, wiener_filter
from rim.initial_conditions import InitialConditions
from rim.machine import RIM
from rim.training import agreement_metrics

STARTS = ("standard", "wiener", "zeros", "noise")
FIRST_GAIN = 0.1  # of a Newton step, before training


@keras.saving.register_keras_serializable("rim")
class CosmicRIM(RIM):
    """Initial conditions by a network that learned to optimise.

    Each step sees the estimate and the gradients of likelihood and prior twice: scaled as Adam
    scales them, and multiplied by the covariance that the posterior of a linear model would have,
    which makes of them the two parts of a Newton step. All of it is periodic, equivariant (under
    shifts by multiples of the coarsest patch) and fully convolutional, so that weights of one
    mesh serve on any other of the same cells.

    Called with observations [batch, nx, ny, nz] it gives [batch, num_steps, nx, ny, nz]. `fit`
    takes pairs (y, x), such as `rim.mocks` simulates, and `evaluate` reports r(k) and T(k). What
    `save` wrote `rim.load_machine` reads, and once this class is imported
    `keras.models.load_model`.

    Args:
        problem: What was observed.
        num_steps: Steps in training, and elsewhere unless a call says otherwise.
        filters: Channels of each branch of the network, the finest first.
        kernel_size: Odd width of the kernels in cells.
        memory: "gru", "lstm" or "none".
        start: "standard" for standard reconstruction with the noise of a linear model filtered
            out, "wiener", "zeros" or "noise".
        gradients: "separate" shows those of likelihood and prior, "summed" their sum.
        scaling: "newton" for both kinds, or "adam" or "raw" for one.
        is_second_order: Whether training goes through the derivatives of the gradients.
        seed: Of a start by noise.
        unit: Standard deviation of the linear field in a cell, by which the network measures;
            that of the problem by default.
        name: Of the model.

    Raises:
        ValueError: If an option is unknown.

    References:
        Modi et al. 2021, arXiv:2104.12864; Putzky & Welling 2017, arXiv:1706.04008.
    """

    def __init__(
        self,
        problem: InitialConditions,
        num_steps: int = 10,
        filters: Sequence[int] = (8, 16),
        kernel_size: int = 3,
        memory: str = "gru",
        *,
        start: str = "standard",
        gradients: str = "separate",
        scaling: str = "newton",
        is_second_order: bool = False,
        seed: int = 0,
        unit: float | None = None,
        name: str = "cosmic_rim",
    ) -> None:
        checks.one_of(start, "start", STARTS)
        checks.one_of(scaling, "scaling", ("newton", "adam", "raw"))
        self._has_newton = scaling == "newton"
        self._of_gradients = 2 if gradients == "separate" else 1
        super().__init__(
            problem,
            rank=3,
            num_steps=num_steps,
            filters=filters,
            kernel_size=kernel_size,
            memory=memory,
            padding="periodic",
            gradients=gradients,
            scaling="adam" if scaling == "newton" else scaling,
            start=functools.partial(_FIRST[start], problem) if start in _FIRST else start,
            is_second_order=is_second_order,
            seed=seed,
            name=name,
        )
        self.unit = _deviation(problem) if unit is None else float(unit)
        self._config = {
            "num_steps": num_steps,
            "filters": list(filters),
            "kernel_size": kernel_size,
            "memory": memory,
            "start": start,
            "gradients": gradients,
            "scaling": scaling,
            "is_second_order": is_second_order,
            "seed": seed,
            "unit": self.unit,
        }

    def num_features(self, fields: int, num_context: int) -> int:
        return super().num_features(fields, num_context) + self._has_newton * self._of_gradients

    def gains(self) -> Sequence[Sequence[float]] | None:
        if not self._has_newton:
            return None
        n = self._of_gradients
        return [[0.0]] * (1 + n) + [[FIRST_GAIN]] * n

    def features(
        self, u: tf.Tensor, gradients: Sequence[tf.Tensor], moments: Any, step: int
    ) -> tuple[tf.Tensor, Any]:
        shown, moments = super().features(u / self.unit, gradients, moments, step)
        if not self._has_newton:
            return shown, moments
        newton = [self._newton(g) / self.unit for g in gradients]
        return tf.concat([shown, tf.stack(newton, axis=-1)], axis=-1), moments

    def to_step(self, change: tf.Tensor) -> tf.Tensor:
        step = self.unit * change[..., 0]
        return step - self.problem.mesh.mean(step)  # as the data know nothing of the mean

    def _newton(self, gradient: tf.Tensor) -> tf.Tensor:
        """A gradient by x, times the covariance of x in a linear model."""
        mesh = self.problem.mesh
        return mesh.irfft3(scaled(mesh.rfft3(gradient), self.problem.spread(gradient.dtype) ** 2))

    def default_metrics(self) -> list[keras.metrics.Metric]:
        return agreement_metrics(self.problem)

    def with_problem(self, problem: InitialConditions) -> Self:
        """The same weights for another problem, such as a larger box of the same cells.

        Args:
            problem: The other problem.

        Returns:
            Another machine.

        Raises:
            ValueError: If its cells have another size.
        """
        is_close = math.isclose(problem.cell_size, self.problem.cell_size, rel_tol=1e-3)
        rule = f"have cells of {self.problem.cell_size:g} Mpc/h, as in training"
        checks.require(is_close, "problem", rule, problem.cell_size)
        other = type(self)(problem, **self._config)
        other.set_weights(self.get_weights())
        return other

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "problem": self.problem.get_config()} | self._config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config | {"problem": InitialConditions.from_config(config["problem"])})


def filtered_reconstruction(problem: InitialConditions, y: tf.Tensor) -> tf.Tensor:
    """Standard reconstruction, with as much power at each k as a Wiener filter lets through.

    Args:
        problem: What was observed.
        y: Observation, [batch, nx, ny, nz].

    Returns:
        Linear field at a = 1 in the shape of `y`.

    References:
        Eisenstein et al. 2007, arXiv:astro-ph/0604362.
    """
    x = standard_reconstruction(problem, y)
    gain = problem.wiener_gain(x.dtype) * cast(problem.linear_response(), x.dtype)
    return problem.mesh.irfft3(scaled(problem.mesh.rfft3(x), gain))


def _deviation(problem: InitialConditions) -> float:
    """Of the linear field in a cell."""
    variance = problem.spread(tf.float64, "white") ** 2 * problem.mesh.mode_weights()
    return math.sqrt(float(tf.reduce_sum(variance)) / math.prod(problem.mesh.shape))


_FIRST = {"standard": filtered_reconstruction, "wiener": wiener_filter}
