"""Shared by the tests of cosmology."""

import pytest
import tensorflow as tf


@pytest.fixture
def without_compilation():
    """Functions that compile themselves run operation by operation.

    Compiling the spectra takes seconds for every new set of probes; that the ways of running
    agree is a test of its own.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def module_without_compilation():
    """As `without_compilation`, for fixtures of a module."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
