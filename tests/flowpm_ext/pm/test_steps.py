"""Factors of the integrators against equations of motion solved by scipy."""

import itertools

import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.pm import steps

COSMOLOGIES = {
    "LCDM": dict(),
    "w0wa": dict(w0=-0.8, wa=0.3),
    "curved": dict(Omega_k=0.1),
}
STAGES = np.array([0.1, 0.3, 0.6, 1.0])


def cosmology(**changes):
    return fpm.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.96, sigma8=0.8, **changes)


def rate(a, Omega_k=0.0, w0=-1.0, wa=0.0):
    dark = (0.7 - Omega_k) * a ** (-3 * (1 + w0 + wa)) * np.exp(-3 * wa * (1 - a))
    return np.sqrt(0.3 / a**3 + Omega_k / a**2 + dark)


def motion(changes):
    """D1, its momentum a**2 dD1/dt, D2, its momentum, from the equations in a.

    dx/da = p / (a**3 E), dp/da = 1.5 Omega_m F / (a**2 E) with F = D1, or D2 - D1**2.
    """

    def slope(a, y):
        first, p_first, second, p_second = y
        e = rate(a, **changes)
        kick = 1.5 * 0.3 / (a**2 * e)
        drift = 1 / (a**3 * e)
        return [drift * p_first, kick * first, drift * p_second, kick * (second - first**2)]

    start, e = 1e-3, rate(1e-3, **changes)
    y = [start, start**3 * e, -3 / 7 * start**2, -6 / 7 * start**4 * e]
    solved = scipy.integrate.solve_ivp(
        slope, (start, 1.0), y, rtol=1e-11, atol=1e-14, dense_output=True, method="DOP853"
    )
    today = solved.sol(1.0)[0]
    scale = np.array([today, today, today**2, today**2])
    return lambda a: solved.sol(a) / scale[:, None] if np.ndim(a) else solved.sol(a) / scale


def run(plan, x, p, force):
    """A plan, number by number."""
    drift, scale, kick = (np.asarray(v) for v in (plan.drift, plan.scale, plan.kick))
    for i in range(len(kick)):
        x = x + drift[i] * p
        p = scale[i] * p + kick[i] * force(x)
    return x + drift[-1] * p, p


@pytest.mark.parametrize("changes", COSMOLOGIES.values(), ids=COSMOLOGIES)
def test_fastpm_is_exact_in_linear_theory(changes):
    solution = motion(changes)
    plan = steps.plan(cosmology(**changes), STAGES, "fastpm")
    start, end = solution(0.1), solution(1.0)
    x, p = run(plan, start[0], start[1], lambda x: x)
    # Linear growth is not a fixed point of the kicks: between them the force is that of
    # the drifted position, which is D1 exactly. The early start of `motion` limits this.
    np.testing.assert_allclose([x, p], end[:2], rtol=3e-6)


@pytest.mark.parametrize("changes", COSMOLOGIES.values(), ids=COSMOLOGIES)
def test_leapfrog_has_the_integrals_of_time(changes):
    plan = steps.plan(cosmology(**changes), STAGES, "leapfrog")
    half = np.sqrt(STAGES[:-1] * STAGES[1:])
    edges = np.concatenate([STAGES[:1], half, STAGES[-1:]])
    kick = [
        scipy.integrate.quad(lambda a: 0.45 / (a**2 * rate(a, **changes)), *pair, epsabs=1e-13)[0]
        for pair in itertools.pairwise(edges)
    ]
    drift = [
        scipy.integrate.quad(lambda a: 1 / (a**3 * rate(a, **changes)), *pair, epsabs=1e-13)[0]
        for pair in itertools.pairwise(STAGES)
    ]
    np.testing.assert_allclose(plan.kick, kick, rtol=1e-10)  # both quadratures
    np.testing.assert_allclose(plan.drift, [0, *drift, 0], rtol=1e-10)
    np.testing.assert_array_equal(plan.scale, 1.0)
    np.testing.assert_allclose(plan.a, STAGES)


@pytest.mark.parametrize("changes", COSMOLOGIES.values(), ids=COSMOLOGIES)
def test_bullfrog_has_the_momenta_of_second_order(changes):
    # One coefficient (first, second) of position and of momentum; the force of
    # D1 psi1 + y psi2 is D1 psi1 + (y - D1**2) psi2.
    solution = motion(changes)

    def force(x):
        return np.array([x[0], x[1] - x[0] ** 2])

    errors = []
    for num in (8, 16):
        stages = np.linspace(0.1, 1.0, num + 1)
        plan = steps.plan(cosmology(**changes), stages, "bullfrog")
        start, end = solution(0.1), solution(1.0)
        x, p = run(plan, start[[0, 2]], start[[1, 3]], force)
        np.testing.assert_allclose([x[0], p[0]], end[:2], rtol=3e-6)  # as for FastPM
        # The second-order position is a trapezoid of exact momenta, as long as it is itself
        # close to exact: what is left falls with the square of the step.
        errors.append(np.abs([x[1] / end[2] - 1, p[1] / end[3] - 1]).max())
    assert errors[0] < 1e-3
    assert errors[1] < errors[0] / 3.5


def test_a_step_costs_one_force():
    cosmo = cosmology()
    assert steps.plan(cosmo, STAGES, "fastpm").kick.shape == [4]
    assert steps.plan(cosmo, STAGES, "leapfrog").kick.shape == [4]
    assert steps.plan(cosmo, STAGES, "bullfrog").kick.shape == [3]


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
def test_batch_is_a_loop(integrator):
    values = [0.2, 0.25, 0.3]
    batch = cosmology().replace(Omega_c=tf.constant(values, tf.float64))
    together = steps.plan(batch, STAGES, integrator)
    for i, value in enumerate(values):
        alone = steps.plan(cosmology().replace(Omega_c=value), STAGES, integrator)
        for name in ("drift", "kick"):
            np.testing.assert_allclose(
                getattr(together, name)[i], getattr(alone, name), rtol=1e-12, atol=1e-15
            )


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
@pytest.mark.parametrize("name", ["Omega_c", "Omega_b", "Omega_k", "w0", "wa"])
def test_gradient_with_respect_to_cosmology(integrator, name):
    cosmo = cosmology(Omega_k=0.02, w0=-0.9, wa=0.1)

    def total(value):
        plan = steps.plan(cosmo.replace(**{name: value}), STAGES, integrator)
        return tf.reduce_sum(plan.kick**2) + tf.reduce_sum(plan.drift**2 + plan.scale[..., :1])

    value = tf.constant(getattr(cosmo, name), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = total(value)
    difference = (total(value + 1e-5) - total(value - 1e-5)) / 2e-5
    # Truncation and rounding of the difference are each about 1e-9 of it.
    np.testing.assert_allclose(tape.gradient(loss, value), difference, rtol=1e-6)


def test_unknown_integrator_is_refused():
    with pytest.raises(ValueError, match="`integrator` must be one of 'fastpm', 'leapfrog'"):
        steps.plan(cosmology(), STAGES, "euler")
