"""What the benchmark of reconstructions counts."""

import numpy as np

import rim
from benchmarks import reconstruction as bench


def test_first_within_counts_gradients():
    target = np.array([0.9, 0.5])
    path = [np.array([0.5, 0.2]), np.array([0.89, 0.2]), np.array([0.89, 0.495]), target]
    assert bench.first_within(path, target) == 3
    assert bench.first_within(path[:2], target) is None


def test_searches_count_every_gradient_of_the_model():
    problem = rim.preset("matter", 16)
    _, y = problem.simulate(1)
    search = bench.Search("wiener", (1.0, 0.0), (3, 4), "standard")
    path, times = bench.searched(problem, y, search, 0)
    assert path.shape == (7, 16, 16, 16)
    assert len(times) == 7
    np.testing.assert_allclose(
        path[0], bench.first_estimate(problem, y, "standard", 0)[0], atol=1e-4
    )


def test_times_of_a_second_search_hold_no_compilation():
    problem = rim.preset("matter", 16)
    _, y = problem.simulate(1)
    search = bench.Search("wiener", (0.0,), (6,), "zeros")
    bench.searched(problem, y, search, 0)
    _, times = bench.searched(problem, y, search, 0)
    # A compilation takes seconds, a gradient of this size milliseconds.
    assert times[0] < 20 * np.median(np.diff(times)) + 0.05


def test_all_searches_run():
    problem = rim.preset("matter", 16)
    _, y = problem.simulate(1)
    for search in bench.SEARCHES.values():
        short = search._replace(evaluations=(2,) * len(search.scales))
        path, _ = bench.searched(problem, y, short, 0)
        assert np.all(np.isfinite(path))
