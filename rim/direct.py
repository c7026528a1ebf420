"""The network without physics that a recurrent inference machine is compared with."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from flowpm_ext.nn import UNet
from rim.initial_conditions import InitialConditions
from rim.training import DefaultCompile, agreement_metrics


@keras.saving.register_keras_serializable("rim")
class DirectUNet(DefaultCompile, keras.Model):
    """Initial conditions from an observation in one go, by a U-Net that knows no gradient.

    Called with observations [batch, nx, ny, nz] it gives a trajectory of one step, so that it
    trains and is judged as a `CosmicRIM` is.

    Args:
        problem: What was observed.
        filters: Channels at each scale, the finest first.
        kernel_size: Odd width of the kernels in cells.
        **options: Of a Keras model.

    Raises:
        ValueError: If an option is not positive.

    References:
        Ronneberger, Fischer & Brox 2015, arXiv:1505.04597.
    """

    def __init__(
        self,
        problem: InitialConditions,
        filters: Sequence[int] = (16, 32, 64),
        kernel_size: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.problem, self.filters, self.kernel_size = problem, list(filters), kernel_size
        self.network = UNet(filters, 1, kernel_size, rank=3, padding="periodic")
        self.network.build((None, None, None, None, 1))
        self.built = True  # whatever the size of a box

    def default_metrics(self) -> list[keras.metrics.Metric]:
        return agreement_metrics(self.problem)

    def call(self, y: tf.Tensor) -> tf.Tensor:
        y = self.problem.overdensity(y)
        return self.network(y[..., None])[..., 0][:, None]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "problem": self.problem.get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config | {"problem": InitialConditions.from_config(config["problem"])})
