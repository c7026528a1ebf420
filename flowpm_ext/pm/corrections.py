"""What a mesh and long time steps leave out: a step down the potential, and a learnt filter."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.fields.arguments import is_count, per_field
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.mesh.base import mesh_sides
from flowpm_ext.pm import kernels
from flowpm_ext.pm.forces import Gravity


def potential_gradient_descent(
    position: TensorLike,
    mesh_shape: int | Sequence[int],
    alpha: TensorLike,
    k_long: TensorLike,
    k_short: TensorLike,
    force_mesh_factor: int = 1,
    *,
    gradient_kernel: str = "finite_difference",
    window: str = "cic",
) -> tf.Tensor:
    """Positions moved once down a band-passed potential, which sharpens haloes.

    The displacement is -alpha times the gradient of the potential whose Laplacian is the
    overdensity times exp(-k_long**2 / k**2) exp(-k**4 / k_short**4): with a positive alpha
    particles move towards the matter around them. Their centre of mass stays where it is.
    Differentiable with respect to the positions, alpha, k_long and k_short.

    Args:
        position: Positions (cells), shape [batch, num_particles, 3].
        mesh_shape: Cells that positions are counted in: an integer for a cube, or three.
        alpha: Strength, a number or one for each simulation, shape [batch].
        k_long: Below this wavenumber nothing is moved; 0 for no such limit. In radians per cell
            of `mesh_shape`: h/Mpc times the side of a cell in Mpc/h.
        k_short: Above this wavenumber nothing is moved, in radians per cell.
        force_mesh_factor: Cells of the force mesh along one of these cells.
        gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
        window: How particles are spread and read, "cic" or "tsc".

    Returns:
        Positions (cells), shape [batch, num_particles, 3].

    Raises:
        ValueError: If the positions are not finite or have another shape, a number is out of its
            range, or an option is unknown.
        TypeError: If the positions are not of float32 or float64.

    References:
        Dai, Feng & Seljak 2018, arXiv:1804.00671.
    """
    position = _checked_position(position)
    force = _band_passed_gravity(mesh_shape, force_mesh_factor, gradient_kernel, window)
    alpha = per_field(alpha, "alpha", position)
    checks.rank(k_long, "k_long", 0)
    checks.rank(k_short, "k_short", 0)
    checks.non_negative(k_long, "k_long")
    checks.positive(k_short, "k_short")
    band = tf.stack([cast(k, position.dtype) for k in (k_long, k_short)])
    return _moved(position, alpha, band, force)


class _BandPassedGravity(Gravity):
    """Gravity whose response is the two ends of a band, exact on every mode.

    Between the nodes of a tabulated response the cut at long waves, which is steep, would be
    wrong by per cents.
    """

    def response_on_modes(self, response: tf.Tensor) -> tf.Tensor:
        k_long, k_short = tf.unstack(response / self.refinement)
        square = kernels.squared_wavenumber(self.mesh, response.dtype)
        inverse = kernels.inverse_laplacian(self.mesh, response.dtype)  # -1 / k**2, and no pole
        return tf.exp(k_long**2 * inverse - (square / k_short**2) ** 2)


@compiled
def _moved(
    position: tf.Tensor, alpha: tf.Tensor, band: tf.Tensor, force: _BandPassedGravity
) -> tf.Tensor:
    return position + alpha * force(position, band)


def _checked_position(position: TensorLike) -> tf.Tensor:
    position = tf.convert_to_tensor(position, name="position")
    is_real = position.dtype in (tf.float32, tf.float64)
    name = position.dtype.name
    checks.require(is_real, "position", "be float32 or float64", name, error=TypeError)
    checks.rank(position, "position", 3)
    checks.static_grid(position, "position", ndim=2)
    checks.require(position.shape[-1] == 3, "position", "have 3 coordinates", position)
    checks.finite(position, "position")
    return position


def _band_passed_gravity(
    mesh_shape: int | Sequence[int], factor: int, gradient_kernel: str, window: str
) -> _BandPassedGravity:
    checks.require(is_count(factor), "force_mesh_factor", "be a positive integer", factor)
    checks.one_of(gradient_kernel, "gradient_kernel", kernels.GRADIENTS)
    sides = tuple(int(factor) * side for side in mesh_sides(mesh_shape))
    return _BandPassedGravity(LocalMesh(sides, window), int(factor), gradient_kernel)


@keras.saving.register_keras_serializable(package="flowpm_ext")
class FourierFilter(keras.layers.Layer):
    """A multiplier of the potential, 1 + f(k, a), to be learnt: the `correction` of `nbody`.

    f is k**2 / (1 + k**2) times a small network of k and a with sines between its layers. It
    fades like k**2 on large scales, which keep their linear growth, and is zero before training.

    Args:
        units: Width of the hidden layers of the network.
        num_layers: Number of hidden layers.
        seed: Seed of the initial weights.
        **kwargs: As for `keras.layers.Layer`, for example `dtype="float64"`.

    Raises:
        ValueError: If `units` or `num_layers` is not a positive integer.

    References:
        Lanzieri, Lanusse & Starck 2022, arXiv:2207.05509.
    """

    def __init__(self, units: int = 16, num_layers: int = 2, seed: int = 0, **kwargs: Any) -> None:
        checks.require(is_count(units), "units", "be a positive integer", units)
        checks.require(is_count(num_layers), "num_layers", "be a positive integer", num_layers)
        super().__init__(**kwargs)
        self.units, self.num_layers, self.seed = int(units), int(num_layers), seed
        self.hidden = [self._sines(number) for number in range(self.num_layers)]
        self.last = keras.layers.Dense(1, kernel_initializer="zeros", dtype=self.dtype_policy)
        # The inputs are always k and a: weights can be made, and loaded, before the first call.
        for number, layer in enumerate([*self.hidden, self.last]):
            layer.build((None, 2 if number == 0 else self.units))

    def call(self, k: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        """Multipliers of the potential.

        Args:
            k: Wavenumbers (radians per cell), shape [num_nodes].
            a: Scale factors, shape [num_forces].

        Returns:
            Multipliers, shape [num_forces, num_nodes].

        Raises:
            ValueError: If an argument has not one axis.
        """
        checks.rank(k, "k", 1)
        checks.rank(a, "a", 1)
        x = tf.stack(tf.meshgrid(k / math.pi, a), axis=-1)
        for layer in self.hidden:
            x = layer(x)
        return 1 + k**2 / (1 + k**2) * self.last(x)[..., 0]

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again.

        Returns:
            What Keras saves, without the weights.
        """
        config = {"units": self.units, "num_layers": self.num_layers, "seed": self.seed}
        return super().get_config() | config

    def _sines(self, number: int) -> keras.layers.Dense:
        """Hidden layer of this number; the biases are phases, and no two units start alike."""
        return keras.layers.Dense(
            self.units,
            activation=tf.sin,
            kernel_initializer=keras.initializers.GlorotNormal(seed=self.seed + 2 * number),
            bias_initializer=keras.initializers.RandomUniform(
                -math.pi, math.pi, seed=self.seed + 2 * number + 1
            ),
            dtype=self.dtype_policy,
        )
