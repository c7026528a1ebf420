"""What models that know their own loss share."""

from typing import Any

import keras


class OwnLoss:
    """Training of a Keras model whose loss is its own; put it before `keras.Model`."""

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: bool = False, **options: Any
    ) -> None:
        """Say how to train.

        Args:
            optimizer: Of Keras.
            jit_compile: Whether XLA compiles a step; on a CPU networks are slower then.
            **options: Of `keras.Model.compile`.
        """
        super().compile(optimizer, jit_compile=jit_compile, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as a file says that a model was.

        Args:
            config: What `get_compile_config` gave.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
