"""Steps that become shorter."""

import numpy as np

from flowpm_ext.nn import decaying_adam


def test_steps_fall_along_half_a_cosine():
    rate = decaying_adam(0.2, 10, last=0.1)._learning_rate
    found = [float(rate(number)) for number in (0, 5, 10, 20)]
    np.testing.assert_allclose(found, [0.2, 0.11, 0.02, 0.02], rtol=1e-6)
