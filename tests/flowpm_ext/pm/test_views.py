"""What is seen of particles between forces: where they are, and gradients three ways."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.core.types import static
from flowpm_ext.cosmology import power
from flowpm_ext.pm import steps
from flowpm_ext.pm.forces import Gravity
from flowpm_ext.pm.integrate import GRADIENTS, integrate
from flowpm_ext.pm.views import Look, Views

N = 8
COSMO = fpm.Planck15()
STAGES = np.linspace(0.1, 1.0, 5)
SEEN = np.array([0.2, 0.325, 0.4, 0.55, 0.9, 1.0])
FORCE = Gravity.on(N, 1, "finite_difference", "cic")
# Two programs of the same steps, which XLA may sum in other orders; of positions up to N.
ROUNDING = dict(rtol=1e-13, atol=1e-14)


@dataclasses.dataclass(frozen=True)
class Scaled(Look):
    """Positions times a number."""

    num_particles: int = static()

    @property
    def shape(self):
        return 1, self.num_particles, 3

    def __call__(self, position, scale):
        return scale * position


@pytest.fixture(scope="module")
def start():
    k = np.geomspace(1e-3, 20, 100)
    table = (k, power.linear_matter_power(COSMO, k).numpy())
    return fpm.lpt_init(COSMO, fpm.linear_field(N, 16.0, table, seed=3, dtype=tf.float64), 0.1)


def run(start, integrator, gradient="adjoint", scale=None, drift=None, seen=SEEN):
    plan = steps.plan(COSMO, STAGES, integrator)
    begin, found = steps.on_the_way(COSMO, STAGES, plan, integrator, seen)
    drift = found if drift is None else drift
    scale = tf.ones(len(seen), tf.float64) if scale is None else scale
    views = Views(begin, drift, Scaled(N**3), (scale,))
    return integrate(start.position, start.momentum, plan, FORCE, gradient, None, views)


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
def test_views_at_stages_are_snapshots(start, integrator):
    *_, seen = run(start, integrator)
    end = fpm.nbody(COSMO, start, STAGES, N, integrator)
    np.testing.assert_allclose(seen[-1], end.position, **ROUNDING)
    if integrator != "bullfrog":  # whose drifts end at the stages, and forces do not
        part = fpm.nbody(COSMO, start, STAGES[:3], N, integrator)
        np.testing.assert_allclose(seen[3], part.position, **ROUNDING)


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
def test_views_between_stages_are_near_a_run_of_many_steps(start, integrator):
    *_, seen = run(start, integrator, seen=np.array([0.42]))
    fine = fpm.nbody(COSMO, start, np.linspace(0.1, 0.42, 33), N, integrator)
    moved = np.std(fine.position - start.position)
    # Four steps from a = 0.1 to 1 leave a twentieth of the motion, leapfrog a tenth.
    bar = 0.1 if integrator == "leapfrog" else 0.06
    assert np.std(seen[0] - fine.position) < bar * moved


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
def test_gradients_three_ways_agree(start, integrator):
    plan = steps.plan(COSMO, STAGES, integrator)
    _, drift = steps.on_the_way(COSMO, STAGES, plan, integrator, SEEN)
    inputs = [
        start.position,
        start.momentum,
        tf.linspace(tf.constant(1.0, tf.float64), 2.0, 6),
        drift,
    ]

    def gradient(kind):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            x, p, scale, way = inputs
            parts = run(start._replace(position=x, momentum=p), integrator, kind, scale, way)
            loss = sum(tf.reduce_sum(part**2) for part in parts)
        return tape.gradient(loss, inputs)

    expected = gradient("autodiff")
    for kind in GRADIENTS[:2]:
        for mine, theirs in zip(gradient(kind), expected, strict=True):
            # Rounding of a few hundred operations, run backwards.
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())


def test_no_view_costs_nothing_and_changes_nothing(start):
    plan = steps.plan(COSMO, STAGES, "fastpm")
    x, p = integrate(start.position, start.momentum, plan, FORCE)
    seen_x, seen_p, _ = run(start, "fastpm")
    np.testing.assert_allclose(x, seen_x, **ROUNDING)
    np.testing.assert_allclose(p, seen_p, **ROUNDING)


def test_each_cosmology_of_a_batch_has_its_own_clock():
    batch = fpm.Planck15(Omega_c=tf.constant([0.2, 0.3], tf.float64))
    seen = np.array([[0.3, 0.6], [0.32, 0.61]])
    plan = steps.plan(batch, STAGES, "fastpm")
    begin, drift = steps.on_the_way(batch, STAGES, plan, "fastpm", seen)
    assert drift.shape == (2, 2)
    for row in range(2):
        one = fpm.Planck15(Omega_c=float(batch.Omega_c[row]))
        alone = steps.plan(one, STAGES, "fastpm")
        start, expected = steps.on_the_way(one, STAGES, alone, "fastpm", seen[row])
        np.testing.assert_array_equal(start, begin)
        np.testing.assert_allclose(drift[row], expected, rtol=1e-12)
