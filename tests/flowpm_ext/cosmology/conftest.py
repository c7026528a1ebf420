"""Shared by the tests of cosmology."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def without_compilation():
    """Functions that compile themselves run operation by operation in this module.

    Compiling the spectra takes seconds for every new set of probes; that the ways of running
    agree is a test of its own.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
