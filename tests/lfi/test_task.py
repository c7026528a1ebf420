"""Exact posteriors of the tasks, by what they have in common with prior and simulator."""

import numpy as np
import pytest
from scipy.stats import kstest

from lfi.task import TASKS, linear_gaussian

NUM = 150


@pytest.mark.parametrize("name", TASKS)
def test_ranks_of_the_truth_among_posterior_draws_are_uniform(name):
    task = TASKS[name]()
    theta, x = task.draw(NUM, seed=3)
    draws = np.stack([task.posterior(x[i], 99, seed=1000 + i) for i in range(NUM)], axis=1)
    assert draws.shape == (99, *theta.shape) and draws.dtype == np.float32
    # The square of each, too: the median alone would not see a wrong width.
    for values, truth in ((draws, theta), (draws**2, theta**2)):
        part = (np.sum(values < truth, axis=0) + 0.5) / 100
        # Twenty tests at the most, of which the least probable is seen once in a hundred.
        assert all(kstest(column, "uniform").pvalue > 5e-4 for column in part.T)


@pytest.mark.parametrize("name", ["two_moons", "gaussian_mixture"])
def test_data_at_posterior_draws_come_near_the_observation(name):
    """Thin posteriors: what the simulator makes of their draws is what was seen, with its noise."""
    task = TASKS[name]()
    _, x = task.draw(1, seed=5)
    again = task.simulate(task.posterior(x[0], 4000, seed=1), seed=2)
    far = task.simulate(task.prior.sample(4000, 9).numpy(), seed=2)
    near = [np.median(np.linalg.norm(data - x[0], axis=1)) for data in (again, far)]
    assert near[0] < 0.5 * near[1]


def test_seeds_and_bad_input():
    task = linear_gaussian(2, 4)
    _, x = task.draw(5, seed=1)
    np.testing.assert_array_equal(task.draw(5, seed=1)[1], x)
    assert not np.allclose(task.draw(5, seed=2)[1], x)
    np.testing.assert_array_equal(task.posterior(x[0], 5, seed=1), task.posterior(x[0], 5, seed=1))
    with pytest.raises(ValueError, match="`x_obs` must be finite"):
        task.posterior([np.nan] * 4, 5)
    with pytest.raises(ValueError, match="`num` must be"):
        task.draw(0)
    with pytest.raises(ValueError, match="`num_data` must be"):
        linear_gaussian(2, 0)
