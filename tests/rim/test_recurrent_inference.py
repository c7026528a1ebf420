"""The generic machine where the best estimate is known: Gaussian fields under linear operators."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rim
from rim.machine import LINKS, adam_scaled

SIDE, SIGMA, BATCH = 24, 0.5, 16


def pooled(x):
    return tf.nn.avg_pool2d(x[..., None], 2, 2, "VALID")[..., 0]


class Gaussian:
    """Periodic fields with a smooth spectrum and unit variance, behind one of three operators."""

    def __init__(self, kind):
        k = np.fft.fftfreq(SIDE) * SIDE
        k = np.sqrt(k[:, None] ** 2 + k**2)
        power = 1 / (1 + (k / 3) ** 3)
        power /= power.mean()
        self.power = tf.constant(power[:, : SIDE // 2 + 1], tf.complex64)
        self.kind = kind
        self.problem = rim.InverseProblem(self.log_likelihood, self.log_prior)

    def coloured(self, z, exponent):
        return tf.signal.irfft2d(tf.signal.rfft2d(z) * self.power**exponent, [SIDE, SIDE])

    def forward(self, x, mask):
        return pooled(x) if self.kind == "superresolution" else mask * x

    def log_likelihood(self, x, y):
        residual = self.forward(x, y["mask"]) - y["data"]
        return -0.5 * tf.reduce_sum(residual**2, [1, 2]) / SIGMA**2

    def log_prior(self, x):
        return -0.5 * tf.reduce_sum(self.coloured(x, -0.5) ** 2, [1, 2])

    def draw(self, number):
        seed = tf.stack([tf.cast(number, tf.int32), 7])
        z = tf.random.stateless_normal([3, BATCH, SIDE, SIDE], seed)
        x = self.coloured(z[0], 0.5)
        mask = tf.cast(z[2] > 0, tf.float32) if self.kind == "inpainting" else tf.ones_like(x)
        data = self.forward(x, mask)
        noise = z[1][:, : data.shape[1], : data.shape[2]]
        noise = noise * mask if self.kind == "inpainting" else noise
        return {"data": data + SIGMA * noise, "mask": mask}, x

    def start(self, y):
        data = y["data"]
        if self.kind == "superresolution":
            return tf.repeat(tf.repeat(data, 2, 1), 2, 2)
        return tf.zeros_like(data)

    def posterior_mean(self, y):
        """By conjugate gradients, which end where the gradient of a quadratic form is zero."""
        x = tf.zeros_like(y["mask"])
        slope = lambda x: sum(self.problem.gradients(x, y))  # noqa: E731
        dot = lambda a, b: tf.reduce_sum(a * b, [1, 2], keepdims=True)  # noqa: E731
        rest = along = right = slope(x)
        for _ in range(150):
            curved = right - slope(along)
            length = tf.math.divide_no_nan(dot(rest, rest), dot(along, curved))
            x, left = x + length * along, rest - length * curved
            along = left + tf.math.divide_no_nan(dot(left, left), dot(rest, rest)) * along
            rest = left
        return x


def trained(case, num_updates, **options):
    keras.utils.set_random_seed(0)
    machine = rim.RIM(case.problem, 2, 6, (16, 16), padding="periodic", scaling="raw", **options)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, num_updates)
    machine.compile(keras.optimizers.Adam(rate, clipnorm=1.0))
    data = tf.data.Dataset.range(10**6).map(case.draw).prefetch(2)
    machine.fit(data, steps_per_epoch=num_updates, shuffle=False, verbose=0)
    return machine


def errors(case, machine):
    """Mean squared errors of the machine and of the posterior mean, on fields not trained on."""
    mine, best = [], []
    for number in range(-4, 0):
        y, x = case.draw(number)
        mine.append(np.mean((machine(y)[:, -1] - x) ** 2))
        best.append(np.mean((case.posterior_mean(y) - x) ** 2))
    return np.mean(mine), np.mean(best)


def test_denoising_reaches_the_wiener_filter():
    case = Gaussian("denoising")
    mine, best = errors(case, trained(case, 120))
    y, _ = case.draw(-1)
    gain = case.power / (case.power + SIGMA**2)
    wiener = tf.signal.irfft2d(tf.signal.rfft2d(y["data"]) * gain, [SIDE, SIDE])
    np.testing.assert_allclose(case.posterior_mean(y), wiener, atol=1e-4)
    assert 0.999 * best < mine < 1.03 * best


@pytest.mark.parametrize("kind", ["inpainting", "superresolution"])
def test_linear_problems_reach_the_posterior_mean(kind):
    case = Gaussian(kind)
    mine, best = errors(case, trained(case, 120, start=case.start))
    assert 0.999 * best < mine < 1.10 * best


def toy(rank, fields=None, is_compiled=True):
    """Any shape, with a quadratic likelihood around y and a unit prior."""

    def square(x):
        return tf.reduce_sum(x**2, range(1, x.shape.rank))

    problem = rim.InverseProblem(
        lambda x, y: -2.0 * square(x - y), lambda x: -0.5 * square(x), is_compiled
    )
    shape = (2, *[8] * rank) if fields is None else (2, *[8] * rank, fields)
    return problem, tf.random.stateless_normal(shape, [1, 2])


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("memory", ["gru", "lstm", "none"])
@pytest.mark.parametrize("padding", ["periodic", "reflect", "zero"])
def test_every_dimension_and_memory_learns(rank, memory, padding):
    problem, y = toy(rank)
    keras.utils.set_random_seed(1)
    machine = rim.RIM(problem, rank, 3, (4, 4), memory=memory, padding=padding)
    machine.compile(keras.optimizers.Adam(1e-2))
    history = machine.fit(y, 0.8 * y, epochs=6, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    assert machine(y).shape == (2, 3, *[8] * rank)
    assert machine(y, num_steps=7).shape == (2, 7, *[8] * rank)
    np.testing.assert_allclose(machine(y, num_steps=2), machine(y)[:, :2], atol=1e-6)


def test_without_memory_and_with_raw_gradients_steps_repeat():
    """A machine that forgets is a map of x alone: its trajectory goes on from where it is."""
    problem, y = toy(2)
    machine = rim.RIM(problem, 2, 3, (4,), memory="none", scaling="raw")
    machine.network.last.inner.kernel.assign(0.1 * tf.ones_like(machine.network.last.inner.kernel))
    trajectory = machine(y)
    machine.start = lambda _: trajectory[:, 0]
    np.testing.assert_allclose(machine(y)[:, :2], trajectory[:, 1:], atol=1e-5)


@pytest.mark.parametrize("link", sorted(LINKS))
def test_links_are_inverses_and_bound_the_unknown(link):
    forward, inverse = LINKS[link].forward, LINKS[link].inverse
    u = tf.linspace(-3.0, 3.0, 13)
    np.testing.assert_allclose(inverse(forward(u)), u, atol=1e-5)
    problem, y = toy(1)
    start = lambda y: 0.3 * tf.ones_like(y)  # noqa: E731
    machine = rim.RIM(problem, 1, 2, (4,), link=link, start=start)
    machine.network.last.inner.bias.assign([-50.0])
    low = machine(y)[:, 0].numpy()
    assert np.all(low < -40) if link == "identity" else np.all((low >= 0) & (low < 1e-6))


@pytest.mark.parametrize("link", ["softplus", "sigmoid", "exp"])
def test_a_start_on_the_bound_is_finite(link):
    problem, y = toy(1)
    for value in (0.0, -1.0):
        machine = rim.RIM(problem, 1, 1, (4,), link=link, start=lambda y, v=value: v + 0 * y)
        assert np.all(np.isfinite(machine(y)))


def test_boxes_and_steps_that_do_not_fit_are_refused():
    problem, y = toy(1)
    machine = rim.RIM(problem, 1, 1, (4, 4, 4))
    with pytest.raises(ValueError, match="`mesh` must have sides that divide by 4"):
        machine(y[:, :6])
    with pytest.raises(ValueError, match="`num_steps` must be"):
        machine(y, num_steps=0)


def test_gradients_are_by_the_free_unknown():
    problem, y = toy(1)
    seen = {}

    class Spy(rim.RIM):
        def features(self, u, gradients, moments, step):
            seen[step] = u, gradients
            return super().features(u, gradients, moments, step)

    Spy(problem, 1, 1, (4,), link="exp", start=lambda y: tf.ones_like(y) / 2)(y)
    u, (likelihood, prior) = seen[0]
    x = np.exp(u)
    np.testing.assert_allclose(likelihood, -4 * (x - y) * x, rtol=1e-5)
    np.testing.assert_allclose(prior, -x * x, rtol=1e-5)


def test_starts():
    problem, y = toy(1)
    context = lambda y: y[..., None]  # noqa: E731
    learned = rim.RIM(problem, 1, 1, (4, 4), start="learned", context=context, num_context=1)
    assert np.std(learned.begin(y)) > 0
    assert len(learned.trainable_variables) > len(rim.RIM(problem, 1, 1, (4, 4)).weights)
    noise = rim.RIM(problem, 1, 1, (4,), start="noise", seed=3).begin(y).numpy()
    assert noise.shape == y.shape
    assert abs(noise.mean()) < 1
    assert not np.any(rim.RIM(problem, 1, 1, (4,)).begin(y))


def test_summed_gradients_are_one_channel():
    problem, y = toy(2, fields=2)
    options = {"num_channels": 2, "scaling": "raw"}
    both = rim.RIM(problem, 2, 1, (4,), **options)
    summed = rim.RIM(problem, 2, 1, (4,), gradients="summed", **options)
    blind = rim.RIM(problem, 2, 1, (4,), gradients="summed", sees_estimate=False, **options)
    counts = [m.network.direct.kernel.shape[0] for m in (both, summed, blind)]
    assert counts == [6, 4, 2]
    assert both(y).shape == (2, 1, 8, 8, 2)


def test_second_order_adds_the_curvature():
    """Only then does the loss feel that a step changes the gradients after it."""
    problem, y = toy(1, is_compiled=False)
    slopes = []
    for is_second_order in (False, True):
        keras.utils.set_random_seed(2)
        machine = rim.RIM(
            problem, 1, 2, (4,), scaling="raw", memory="none", is_second_order=is_second_order
        )
        direct = machine.network.direct.kernel
        direct.assign([[0.0], [0.1], [0.1]])
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(machine(y)[:, -1] ** 2)
        slopes.append(tape.gradient(loss, direct).numpy()[1:, 0])
    # x1 = 0.1 (4 y), x2 = x1 + a 4 (y - x1) - b x1, by a and b, through x1 or not.
    a, x1 = 0.1, 0.4 * y
    x2 = x1 + a * 4 * (y - x1) - a * x1
    through_x1 = 4 * y
    kept = np.array([np.sum(2 * x2 * (4 * (y - x1) + through_x1)), np.sum(2 * x2 * -x1)])
    more = np.array([np.sum(2 * x2 * -5 * a * through_x1), 0.0])
    np.testing.assert_allclose(slopes[0], kept, rtol=1e-4)
    np.testing.assert_allclose(slopes[1], kept + more, rtol=1e-4)


def test_scaling_is_that_of_adam():
    """Steps of Keras' Adam with unit rate are minus the scaled gradients."""
    rng = np.random.default_rng(0)
    variable = tf.Variable(tf.zeros(5))
    optimizer = keras.optimizers.Adam(1.0, epsilon=1e-7)
    moments = None
    for step in range(4):
        gradient = tf.constant(rng.normal(size=5), tf.float32)
        before = variable.numpy()
        optimizer.apply([gradient], [variable])
        (mine,), moments = adam_scaled([gradient], moments, step)
        np.testing.assert_allclose(mine, before - variable.numpy(), rtol=1e-4)


def test_loss_weighs_steps():
    x = tf.zeros([2, 4])
    trajectory = tf.constant([[[1.0] * 4, [2.0] * 4, [3.0] * 4]] * 2)
    assert float(rim.TrajectoryError()(x, trajectory)) == pytest.approx(14 / 3)
    assert float(rim.TrajectoryError([0, 0, 2])(x, trajectory)) == pytest.approx(9)
    again = rim.TrajectoryError.from_config(rim.TrajectoryError([0, 1, 2]).get_config())
    assert float(again(x, trajectory)) == pytest.approx((4 + 18) / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "`num_steps` must be"),
        ({"filters": ()}, "`filters` must name a branch"),
        ({"memory": "rnn"}, "`memory` must be one of"),
        ({"padding": "wrap"}, "`padding` must be one of"),
        ({"gradients": "none"}, "`gradients` must be one of"),
        ({"scaling": "rms"}, "`scaling` must be one of"),
        ({"link": "log"}, "`link` must be one of"),
        ({"start": "ones"}, "`start` must be one of"),
        ({"start": "learned"}, "`start` must have a `context`"),
        ({"num_context": 2}, "`num_context` must count"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rim.RIM(toy(1)[0], 1, **options)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 2.0]])
def test_bad_weights_of_steps_are_refused(weights):
    with pytest.raises(ValueError, match="`step_weights` must"):
        rim.TrajectoryError(weights)
