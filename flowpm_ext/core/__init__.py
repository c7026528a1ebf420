"""What every layer stands on: types, checks at the public door, seeds, units."""

from flowpm_ext.core import gradients  # noqa: F401 (registers what TensorFlow lacks)
