"""Simulators that fail, and rounds that close in on an observation."""

import numpy as np
import pytest

import lfi
from lfi.sequential import run_rounds, simulate
from lfi.task import gaussian_mixture

TASK = gaussian_mixture()


def sometimes(theta, seed):
    """Fails where its first parameter is negative."""
    if theta[0, 0] < 0:
        raise RuntimeError("the box is too small")
    return np.stack([theta[:, 0], theta[:, 0] + seed], axis=1)


def test_failed_batches_are_told_and_are_nan():
    theta = np.array([[1.0], [2.0], [-1.0], [3.0], [4.0]])
    with pytest.warns(UserWarning, match="2 of 5 simulations raised an error: RuntimeError: the"):
        found = simulate(sometimes, theta, batch_size=2, progress=False)
    assert np.isnan(found.x[2:4]).all() and np.isfinite(found.x[[0, 1, 4]]).all()
    assert found.failures[0].rows == (2, 4)
    np.testing.assert_array_equal(found.x[[0, 1, 4], 0], [1, 2, 4])


def test_processes_give_what_one_gives():
    theta = TASK.prior.sample(50, 1).numpy()
    one, two = (
        simulate(TASK.simulate, theta, 10, num_workers, seed=3, progress=False).x
        for num_workers in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    # Batches have seeds of their own.
    same = simulate(TASK.simulate, np.zeros([20, 2]), 10, seed=3, progress=False).x
    assert not np.allclose(same[:10], same[10:])


def test_rounds_close_in_and_go_on_where_they_were(tmp_path):
    calls = []

    def simulator(theta, seed):
        calls.append(theta)
        return TASK.simulate(theta, seed)

    def run(num_rounds, seed=1):
        return run_rounds(
            lfi.NLE(TASK.prior, "mdn", num_members=1), simulator, [3.0, -4.0], num_rounds, 300,
            tmp_path, seed=seed, progress=False, epochs=40,
        )  # fmt: skip

    estimator = run(2)
    assert [part.proposal for part in estimator.rounds] == ["prior", "posterior"]
    # Draws of the prior are some ten away from what was seen, those of a posterior one or two.
    away = [np.median(np.linalg.norm(part - [3, -4], axis=1)) for part in (calls[0], calls[-1])]
    assert away[1] < 0.4 * away[0]
    assert len(calls) == 6
    again = run(3)
    assert len(calls) == 9 and len(again.rounds) == 3
    np.testing.assert_array_equal(again.theta[:600], estimator.theta)
    with pytest.raises(ValueError, match="`folder` must hold rounds of the same prior"):
        run(1, seed=2)


def _rounds(x_obs):
    run_rounds(lfi.NLE(TASK.prior), TASK.simulate, x_obs, 2, 50, progress=False)


def test_bad_input_is_refused(tmp_path):
    theta = np.ones([4, 1])
    for call, message in (
        (lambda: simulate(sometimes, -theta, progress=False), "`simulator` must run .*too small"),
        (lambda: simulate(lambda t, s: t[:1], theta, progress=False), r"data of shape \(1, 1\)"),
        (lambda: simulate(sometimes, theta[0], progress=False), "`theta` must have"),
        (lambda: simulate(sometimes, theta[:0], progress=False), "`theta` must have"),
        (lambda: simulate(sometimes, theta, 0), "`batch_size` must be"),
        (
            lambda: _rounds([0.0]),
            r"`x_obs` must have the shape of the data of one simulation, \(2",
        ),
        (lambda: run_rounds(lfi.NPE(TASK.prior), TASK.simulate, [0.0, 0.0]), "must be an NLE"),
        (lambda: run_rounds(lfi.NLE(TASK.prior), TASK.simulate, [np.nan, 0.0]), "`x_obs` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
