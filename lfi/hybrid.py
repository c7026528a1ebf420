"""Networks that are given the power spectra of maps, so as to learn what these lack."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.cosmology.angular_cl import tracer_pairs
from flowpm_ext.stats import angular_power


@keras.saving.register_keras_serializable("lfi")
class WithSpectra(keras.layers.Layer):
    """What a network makes of maps, and beside it their spectra.

    Auto spectra come as the logarithm of their ratio to white noise of unit variance, cross
    spectra as correlations.

    Args:
        network: Keras layer from maps [batch, ny, nx, num_bins] to [batch, num_outputs].
        pixel_size_arcmin: Side of a pixel (arcmin).
        ell_edges: Edges of the bins of spectra.
        **options: Of a Keras layer.

    References:
        Makinen et al. 2024, arXiv:2407.18909.
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        pixel_size_arcmin: float,
        ell_edges: Sequence[float],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.network, self.pixel_size_arcmin = network, float(pixel_size_arcmin)
        self.ell_edges = tuple(float(edge) for edge in ell_edges)

    def build(self, shape: tuple[int | None, ...]) -> None:
        if not self.network.built:  # that of a file is
            self.network.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Outputs and spectra, [batch, num_outputs + num_cl * num_ell]."""
        cl = angular_power(x, self.pixel_size_arcmin, self.ell_edges).cl
        rows, columns = tracer_pairs(x.shape[-1])
        autos = tf.gather(cl, np.flatnonzero(rows == columns), axis=1)
        spectra = [tf.math.log(autos / np.deg2rad(self.pixel_size_arcmin / 60) ** 2)]
        if len(rows) > 1:
            cross = np.flatnonzero(rows != columns)
            scale = tf.gather(autos, rows[cross], axis=1) * tf.gather(autos, columns[cross], axis=1)
            spectra.append(tf.gather(cl, cross, axis=1) / tf.sqrt(scale))
        flat = [tf.reshape(one, [-1, one.shape[1] * one.shape[2]]) for one in spectra]
        return tf.concat([self.network(x), *flat], axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the result."""
        num_spectra = shape[-1] * (shape[-1] + 1) // 2 * (len(self.ell_edges) - 1)
        return (shape[0], self.network.compute_output_shape(shape)[-1] + num_spectra)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as Keras keeps them."""
        return super().get_config() | {
            "network": keras.saving.serialize_keras_object(self.network),
            "pixel_size_arcmin": self.pixel_size_arcmin,
            "ell_edges": self.ell_edges,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WithSpectra":
        """The layer of a file."""
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**config | {"network": network})
