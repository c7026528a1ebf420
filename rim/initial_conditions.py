"""The initial conditions of the universe, observed through gravity, bias, shot noise and masks."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology import background, power
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.fields import lagrangian_bias_weights, linear_field, poisson_sample
from flowpm_ext.fields.redshift_space import redshift_space_position
from flowpm_ext.fields.spectrum import Spectrum, on_modes, power_of_shells, root, scaled
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.mesh.base import mesh_sides
from flowpm_ext.mesh.box import cell_size
from flowpm_ext.pm import lpt_init, nbody
from rim.problem import InverseProblem
from rim.settings import checked_bias, checked_count, checked_mask, checked_noise, listed, table

DYNAMICS = ("linear", "1lpt", "2lpt", "pm")
LIKELIHOODS = ("gaussian", "poisson")
COORDINATES = ("wiener", "white", "field")
FIRST_STAGE = 0.1  # scale factor at which the particle mesh starts


class InitialConditions(InverseProblem):
    """The linear field of a periodic box, given the tracers that came of it.

    The unknown x is the overdensity extrapolated linearly to a = 1, [batch, nx, ny, nz], Gaussian
    with the spectrum of the cosmology. The observation y is an overdensity of the same shape, or
    counts in cells for a Poisson likelihood. Besides the field itself, x may be written as white
    noise ("white"), or so that the posterior of a linear model would be a unit sphere ("wiener"),
    which is what searches and samplers want.

    Args:
        cosmo: One cosmology.
        mesh_shape: Cells along each axis: an integer for a cube, or three. There are as many
            particles.
        box_size: Sides of the box (Mpc/h): one number for a cube, or three. Cells are cubes.
        dynamics: "linear", "1lpt", "2lpt", or "pm" for `num_steps` of a particle mesh.
        bias: Lagrangian bias (b1, b2) or (b1, b2, bs) of the tracers by the linear field at
            a = 1; None for matter. For "linear", b1 alone counts.
        noise_std: Standard deviation of the noise in a cell, scalar or [nx, ny, nz].
        noise_power: Power of the noise ((Mpc/h)**3) instead: a number for white noise, a
            function of k (h/Mpc), or a pair (k, P).
        has_unity: Whether a tracer without bias follows the particles; without, b1 is an
            effective bias, as some published fits have it.
        likelihood: "gaussian", or "poisson" for counts around mean_count (1 + overdensity).
        mean_count: Mean number of tracers per cell, for "poisson".
        redshift_space: Whether tracers are seen where their velocities along the third axis
            seem to place them.
        mask: Cells that were observed: 1, and 0 for others, [nx, ny, nz].
        a: Scale factor of the observation.
        num_steps: Steps of the particle mesh from a = 0.1, uniform in a.
        pk: Linear spectrum at a = 1: function of k (h/Mpc) or pair (k, P); that of `cosmo`
            (Eisenstein & Hu) by default.

    Raises:
        ValueError: If an option is unknown, does not fit the others, or is not finite.
        TypeError: If `cosmo` is not a Cosmology.

    References:
        Modi, Feng & Seljak 2018, arXiv:1805.02247; Modi et al. 2021, arXiv:2104.12864.
    """

    coordinates = COORDINATES
    unit_spheres = ("wiener",)

    def __init__(
        self,
        cosmo: Cosmology,
        mesh_shape: int | Sequence[int],
        box_size: float | Sequence[float],
        dynamics: str = "2lpt",
        bias: Sequence[float] | None = None,
        noise_std: TensorLike = 1.0,
        noise_power: Spectrum | float | None = None,
        *,
        has_unity: bool = True,
        likelihood: str = "gaussian",
        mean_count: float | None = None,
        redshift_space: bool = False,
        mask: TensorLike | None = None,
        a: float = 1.0,
        num_steps: int = 10,
        pk: Spectrum | None = None,
    ) -> None:
        require_cosmology(cosmo)
        checks.require(cosmo.batch_size is None, "cosmo", "be one cosmology", cosmo.batch_size)
        checks.one_of(dynamics, "dynamics", DYNAMICS)
        checks.one_of(likelihood, "likelihood", LIKELIHOODS)
        checks.positive_integers(num_steps=num_steps)
        checks.in_range(a, "a", FIRST_STAGE + 0.01 if dynamics == "pm" else 1e-3, 1.0)
        super().__init__(self._likelihood_of, self._prior_of)
        self.cosmo, self.dynamics, self.likelihood = cosmo, dynamics, likelihood
        self.mesh = LocalMesh(mesh_sides(mesh_shape))
        self.cell_size = cell_size(self.mesh.shape, box_size)
        self.bias = None if bias is None else checked_bias(bias)
        self.has_unity, self.redshift_space = bool(has_unity), bool(redshift_space)
        self.a, self.num_steps = float(a), int(num_steps)
        self.mask = None if mask is None else checked_mask(mask, self.mesh.shape)
        self.mean_count = checked_count(mean_count, likelihood)
        self.growth = float(background.growth_factor(cosmo, self.a))
        self.growth_rate = float(background.growth_rate(cosmo, self.a))
        self.pk = table(pk if pk is not None else functools.partial(_linear_power, cosmo))
        is_white = noise_power is None or (np.ndim(noise_power) == 0 and not callable(noise_power))
        if noise_power is not None and is_white:
            checks.positive(noise_power, "noise_power")
            noise_std = math.sqrt(float(noise_power) / self.cell_size**3)
        self.noise_std = checked_noise(noise_std, self.mesh.shape)
        self.noise_power = None if is_white else table(noise_power)
        checks.require(
            is_white or (mask is None and likelihood == "gaussian"),
            "noise_power", "be a number where there is a mask or a Poisson likelihood", "a spectrum"
        )  # fmt: skip
        shells = functools.partial(
            power_of_shells, mesh=self.mesh, cell_size=self.cell_size, batch_size=None
        )
        # Arrays, which programs in float32 hold in their own precision.
        self._prior_power = np.asarray(shells(self.pk))
        self._noise_shells = None if is_white else np.asarray(shells(self.noise_power))

    @property
    def box_size(self) -> tuple[float, float, float]:
        """Sides of the box (Mpc/h)."""
        return tuple(side * self.cell_size for side in self.mesh.shape)

    @property
    def num_data(self) -> int:
        """Number of cells that were observed."""
        return math.prod(self.mesh.shape) if self.mask is None else int(self.mask.sum())

    @property
    def num_modes(self) -> int:
        """Number of free real numbers of the unknown: all cells but their mean."""
        return math.prod(self.mesh.shape) - 1

    def simulate(self, seed: int | tf.Tensor, num: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
        """Unknowns drawn from the prior, and what would be observed of them.

        Args:
            seed: An integer, or a stateless seed of shape [2].
            num: How many.

        Returns:
            x and y, float32 [num, nx, ny, nz] each.

        Raises:
            ValueError: If `num` is not a positive integer.
        """
        checks.positive_integers(num=num)
        x = linear_field(self.mesh.shape, self.box_size, self.pk, num, fold(seed, 0))
        return x, self.observe(self.compiled_model(x), fold(seed, 1))

    def observe(self, overdensity: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """An overdensity with the noise and the mask of the problem.

        Args:
            overdensity: Of the tracers, shape [batch, nx, ny, nz].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Observation of the same shape, zero where nothing was observed.
        """
        dtype = overdensity.dtype
        if self.likelihood == "poisson":
            y = poisson_sample(tf.maximum(overdensity, -1), self.mean_count, seed)
        elif self.noise_power is None:
            white = standard_normal(overdensity.shape, seed, dtype)
            y = overdensity + cast(self.noise_std, dtype) * white
        else:
            num = overdensity.shape[0]
            noise = linear_field(
                self.mesh.shape, self.box_size, self.noise_power, num, seed, dtype=dtype
            )
            y = overdensity + noise
        return y if self.mask is None else y * cast(self.mask, dtype)

    @functools.cached_property
    def compiled_model(self) -> Callable:
        """`model`, compiled by XLA."""
        return tf.function(self.model, jit_compile=True, autograph=False)

    def model(self, x: tf.Tensor) -> tf.Tensor:
        """Overdensity of tracers without noise.

        Args:
            x: Linear field at a = 1, shape [batch, nx, ny, nz]; its mean does not matter.

        Returns:
            Overdensity, shape [batch, nx, ny, nz].
        """
        x -= self.mesh.mean(x)
        if self.dynamics == "linear":
            modes = self.mesh.rfft3(x)
            return self.mesh.irfft3(scaled(modes, cast(self.linear_response(), x.dtype)))
        position = self._position(x)
        if self.bias is None:
            return self.mesh.paint(position) - 1
        weight = lagrangian_bias_weights(x, *self.bias, mesh=self.mesh)
        weight = tf.reshape(weight, [tf.shape(x)[0], math.prod(self.mesh.shape)])
        if self.has_unity:
            return self.mesh.paint(position, weight) - 1
        return self.mesh.paint(position, weight - 1)

    def _position(self, x: tf.Tensor) -> tf.Tensor:
        """Where the particles are seen (cells), [batch, num_particles, 3]."""
        if self.dynamics == "pm":
            state = lpt_init(self.cosmo, x, FIRST_STAGE)
            stages = np.linspace(FIRST_STAGE, self.a, self.num_steps + 1)
            state = nbody(self.cosmo, state, stages, self.mesh.shape)
        else:
            order = 2 if self.dynamics == "2lpt" else 1
            state = lpt_init(self.cosmo, x, self.a, order=order)
        if not self.redshift_space:
            return state.position
        return redshift_space_position(self.cosmo, state.position, state.momentum, self.a)

    def displacement(self, x: tf.Tensor) -> tf.Tensor:
        """How far each particle has come since the beginning.

        Args:
            x: Linear field at a = 1, shape [batch, nx, ny, nz].

        Returns:
            Displacement (Mpc/h) from the lattice to where it is seen, shape
            [batch, nx, ny, nz, 3]; that of the Zel'dovich approximation where the dynamics are
            linear.
        """
        return self._compiled_displacement(x)

    @functools.cached_property
    def _compiled_displacement(self) -> Callable:
        def displacement(x: tf.Tensor) -> tf.Tensor:
            path = self._position(x - self.mesh.mean(x)) - self.mesh.lattice(x.dtype)
            return tf.reshape(path * self.cell_size, [*x.shape, 3])

        return tf.function(displacement, jit_compile=True, autograph=False)

    def linear_response(self, isotropic: bool = False) -> float | np.ndarray:
        """Overdensity of the tracers over that of x, to first order.

        Args:
            isotropic: Whether to leave redshift space out.

        Returns:
            A number, or in redshift space an array of the shape of the modes.
        """
        # Without unity there is no uniform part for the displacements to move.
        moved = self.growth if self.bias is None or self.has_unity else 0.0
        response = moved
        if self.redshift_space and not isotropic:
            kx, ky, kz = self.mesh.wavenumbers()
            square = kx**2 + ky**2 + kz**2
            mu2 = np.divide(kz**2, square, out=np.zeros(square.shape), where=square > 0)
            response = response + moved * self.growth_rate * mu2
        # The bias is by the field at a = 1, whenever it is observed.
        return response + (self.bias[0] if self.bias is not None else 0.0)

    def _likelihood_of(self, x: tf.Tensor, y: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        if self.likelihood == "poisson":
            return self._poisson(self.model(x), y, scale)
        return -0.5 * self._chi2(self.model(x) - y, scale)

    def _chi2(self, residual: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Sum of squares of residuals over their noise, smoothed, [batch]."""
        if self.noise_power is None:
            residual /= cast(self.noise_std, residual.dtype)
            if self.mask is not None:
                residual *= cast(self.mask, residual.dtype)
        modes = scaled(self.mesh.rfft3(residual), self._smoothing(scale, residual.dtype))
        return self._sum_of_squares(modes, self._noise_shells)

    def _sum_of_squares(self, modes: tf.Tensor, of_shells: np.ndarray | None) -> tf.Tensor:
        """Of real fields with these modes, over the power where it is not zero, [batch]."""
        square = tf.math.real(modes) ** 2 + tf.math.imag(modes) ** 2
        if of_shells is not None:
            power = on_modes(cast(of_shells, square.dtype), self.mesh)
            square = tf.math.divide_no_nan(square, power)
        weights = tf.constant(self.mesh.mode_weights(), square.dtype)
        return tf.reduce_sum(square * weights, axis=[1, 2, 3]) / math.prod(self.mesh.shape)

    def _poisson(self, overdensity: tf.Tensor, y: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Log probability of counts around a smoothed intensity that stays positive, [batch]."""
        kernel = self._smoothing(scale, overdensity.dtype)
        expected, counts = (
            self.mesh.irfft3(scaled(self.mesh.rfft3(field), kernel))
            for field in (1 + overdensity, y)
        )
        intensity = self.mean_count * positive_part(expected)
        # Smoothed counts may be slightly negative, where the logarithm has no say.
        log_prob = tf.maximum(counts, 0) * tf.math.log(intensity) - intensity
        if self.mask is not None:
            log_prob *= cast(self.mask, log_prob.dtype)
        return tf.reduce_sum(log_prob, axis=[1, 2, 3])

    def _smoothing(self, scale: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """exp(-k**2 R**2) for each mode, with R = `scale` in cells."""
        square = sum(k**2 for k in self.mesh.wavenumbers())
        return tf.exp(-tf.constant(square, dtype) * tf.cast(scale, dtype) ** 2)

    def _prior_of(self, x: tf.Tensor) -> tf.Tensor:
        return -0.5 * self._sum_of_squares(self.mesh.rfft3(x), self._prior_power)

    def chi2(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Squared residual over the variance of the noise, per observed cell: 1 at the truth.

        Args:
            x: Unknown, shape [batch, nx, ny, nz].
            y: Observation of the same shape.

        Returns:
            Shape [batch]. For counts the variance is their expectation.
        """
        expected = self.compiled_model(x)
        if self.likelihood == "gaussian":
            return self._chi2(expected - y, tf.zeros([], x.dtype)) / self.num_data
        rate = self.mean_count * positive_part(1 + expected)
        terms = (y - rate) ** 2 / rate
        terms = terms if self.mask is None else terms * cast(self.mask, terms.dtype)
        return tf.reduce_sum(terms, axis=[1, 2, 3]) / self.num_data

    def spread(self, dtype: tf.DType, coordinates: str = "wiener") -> tf.Tensor:
        """Standard deviation of each mode of x that one unit of a coordinate makes.

        For "wiener" it is about that of the posterior, and for "white" that of the prior.

        Args:
            dtype: float32 or float64.
            coordinates: "wiener", "white" or "field".

        Returns:
            Dimensionless, ready to multiply modes; zero for k = 0.

        Raises:
            ValueError: If the coordinates are unknown.
        """
        checks.one_of(coordinates, "coordinates", self.coordinates)
        power = on_modes(cast(self._prior_power, dtype), self.mesh)
        if coordinates == "field":
            return tf.cast(power > 0, dtype)
        if coordinates == "wiener":
            response = cast(self.linear_response() ** 2, dtype)
            power /= 1 + response * tf.math.divide_no_nan(power, self._noise_of_modes(dtype))
        return root(power)

    def wiener_gain(self, dtype: tf.DType) -> tf.Tensor:
        """Best linear estimate of a mode of x over that of the observed overdensity.

        Args:
            dtype: float32 or float64.

        Returns:
            Dimensionless, ready to multiply modes; zero for k = 0.
        """
        response = cast(self.linear_response(), dtype)
        power = on_modes(cast(self._prior_power, dtype), self.mesh)
        noise = self._noise_of_modes(dtype, has_gaps=False)
        return tf.math.divide_no_nan(response * power, response**2 * power + noise)

    def overdensity(self, y: tf.Tensor) -> tf.Tensor:
        """The overdensity that an observation shows, with its noise; zero where it saw nothing.

        Args:
            y: Observation, shape [batch, nx, ny, nz].

        Returns:
            The same shape.
        """
        contrast = y if self.likelihood == "gaussian" else y / self.mean_count - 1
        return contrast if self.mask is None else contrast * cast(self.mask, y.dtype)

    def _noise_of_modes(self, dtype: tf.DType, has_gaps: bool = True) -> tf.Tensor:
        """Variance of the noise of each mode, as if it were the same everywhere.

        With gaps it is that of modes of the whole box, which fewer cells tell about; without, that
        of what was observed.
        """
        if self.noise_power is not None:
            return on_modes(cast(self._noise_shells, dtype), self.mesh)
        if self.likelihood == "poisson":
            variance = 1 / self.mean_count
        elif has_gaps:
            variance = 1 / np.mean(self.noise_std**-2.0)
        else:
            variance = np.mean(self.noise_std**2)
        seen = self.num_data / math.prod(self.mesh.shape) if has_gaps else 1.0
        return cast(variance / seen, dtype)

    def to_unknown(self, u: tf.Tensor, coordinates: str = "wiener") -> tf.Tensor:
        return self.mesh.irfft3(scaled(self.mesh.rfft3(u), self.spread(u.dtype, coordinates)))

    def to_coordinates(self, x: tf.Tensor, coordinates: str = "wiener") -> tf.Tensor:
        inverse = tf.math.reciprocal_no_nan(self.spread(x.dtype, coordinates))
        return self.mesh.irfft3(scaled(self.mesh.rfft3(x), inverse))

    def check(self, y: TensorLike) -> tf.Tensor:
        """An observation of this problem, or a refusal.

        Args:
            y: What was received: [batch, nx, ny, nz], or one [nx, ny, nz].

        Returns:
            Tensor [batch, nx, ny, nz], float32 or float64.

        Raises:
            ValueError: If it is on another mesh or not finite, or holds negative or broken counts
                where counts are wanted.
        """
        y = tf.convert_to_tensor(y)
        y = y if y.dtype == tf.float64 else tf.cast(y, tf.float32)
        y = y[None] if y.shape.rank == 3 else y
        shape = self.mesh.shape
        fits = y.shape.rank == 4 and y.shape[1:].is_compatible_with(shape)
        checks.require(fits, "y", f"have the mesh of the problem, {shape}", y.shape)
        checks.finite(y, "y")
        if self.likelihood == "poisson":
            checks.non_negative(y, "y", "A Poisson likelihood takes counts in cells.")
        return y

    def with_mesh(self, mesh_shape: int | Sequence[int]) -> Self:
        """The same problem in another box, of cells of the same size.

        Args:
            mesh_shape: Cells along each axis: an integer for a cube, or three.

        Returns:
            The problem.

        Raises:
            ValueError: If it has a mask or noise that varies from cell to cell.
        """
        is_uniform = self.mask is None and np.ndim(self.noise_std) == 0
        checks.require(is_uniform, "problem", "be the same in every cell", "a mask or noise map")
        sides = mesh_sides(mesh_shape)
        config = self.get_config() | {"mesh_shape": sides}
        config["box_size"] = [side * self.cell_size for side in sides]
        return type(self).from_config(config)

    def get_config(self) -> dict[str, Any]:
        """All that makes the problem, as numbers, text, lists and dictionaries."""
        cosmo = {f.name: getattr(self.cosmo, f.name) for f in dataclasses.fields(self.cosmo)}
        return {
            "cosmo": {name: None if x is None else float(x) for name, x in cosmo.items()},
            "mesh_shape": list(self.mesh.shape),
            "box_size": list(self.box_size),
            "dynamics": self.dynamics,
            "bias": None if self.bias is None else list(self.bias),
            "noise_std": np.asarray(self.noise_std).tolist(),
            "noise_power": listed(self.noise_power),
            "has_unity": self.has_unity,
            "likelihood": self.likelihood,
            "mean_count": self.mean_count,
            "redshift_space": self.redshift_space,
            "mask": None if self.mask is None else self.mask.tolist(),
            "a": self.a,
            "num_steps": self.num_steps,
            "pk": listed(self.pk),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The problem that `get_config` describes.

        Args:
            config: What `get_config` gave.

        Returns:
            The problem.
        """
        options = dict(config)
        cosmo = Cosmology(**{k: v for k, v in options.pop("cosmo").items() if v is not None})
        for name in ("pk", "noise_power"):
            if options[name] is not None:
                options[name] = tuple(np.array(column) for column in options[name])
        return cls(cosmo, **options)


def positive_part(intensity: tf.Tensor, floor: float = 0.01) -> tf.Tensor:
    """A number above zero: the intensity itself above the floor, and an exponential below.

    Value and slope are continuous.

    Args:
        intensity: Expected counts over their mean, any shape.
        floor: Where the exponential begins.

    Returns:
        The same shape, positive.
    """
    low = floor * tf.exp(tf.minimum(intensity, floor) / floor - 1)
    # No lower than what a float32 logarithm bears.
    return tf.where(intensity > floor, intensity, tf.maximum(low, 1e-30))


def _linear_power(cosmo: Cosmology, k: np.ndarray) -> np.ndarray:
    return power.linear_matter_power(cosmo, k).numpy()
