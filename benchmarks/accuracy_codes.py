"""The codes whose accuracy is compared, each with the same few methods.

A method takes parameters [n, 8] in the order of `NAMES` and returns results [n, ...]; a code
that does not offer a quantity raises `NotOfferedError`.
"""

from collections.abc import Callable

import numpy as np

from tests.reference import cosmologies

NAMES = tuple(cosmologies.PLANCK)
# Smail n(z): a, b, z0. The first is a deep survey, the second a bin of one.
BINS = ((2.0, 1.5, 0.5), (3.0, 4.0, 0.9))
BIAS, SLOPE = 1.5, 0.9


class NotOfferedError(Exception):
    """The code does not compute this quantity."""


class FlowpmExt:
    """This package, for all cosmologies in one call."""

    name = "flowpm_ext"

    def cosmology(self, theta: np.ndarray) -> object:
        """The cosmologies; tensors keep their precision."""
        from flowpm_ext.cosmology import Cosmology

        return Cosmology(**{name: theta[..., i] for i, name in enumerate(NAMES)})

    def distance(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """f_K (Mpc/h)."""
        from flowpm_ext.cosmology import background

        cosmo = self.cosmology(theta)
        return background.transverse_comoving_distance(cosmo, 1 / (1 + z)).numpy()

    def growth(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        """D1 and f1, [n, 2, na]."""
        from flowpm_ext.cosmology import background

        functions = (background.growth_factor, background.growth_rate)
        return np.stack([f(self.cosmology(theta), a).numpy() for f in functions], axis=1)

    def second_growth(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        """D2 and f2, [n, 2, na]."""
        from flowpm_ext.cosmology import background

        functions = (background.growth_factor_second, background.growth_rate_second)
        return np.stack([f(self.cosmology(theta), a).numpy() for f in functions], axis=1)

    def linear(
        self, theta: np.ndarray, k: np.ndarray, a: np.ndarray, shape: str = "eisenstein_hu"
    ) -> np.ndarray:
        """Linear spectrum, [n, na, nk]."""
        from flowpm_ext.cosmology import power

        return power.linear_matter_power(self.cosmology(theta), k, a, shape).numpy()

    def nonlinear(self, theta: np.ndarray, k: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Halofit with w0 in its formula, [n, na, nk]."""
        from flowpm_ext.cosmology import power

        cosmo = self.cosmology(theta)
        return power.nonlinear_matter_power(cosmo, k, a, effective_w=False).numpy()

    def spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Spectra of shear, of aligned shear and of counts, two bins each: [n, 21, num_ell]."""
        return self.differentiable_spectra(theta, ell).numpy()

    def more_spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Spectra of magnified counts, distorted counts and the microwave background."""
        from flowpm_ext.cosmology import probes, redshift
        from flowpm_ext.cosmology.angular_cl import angular_cl

        bin_ = [redshift.smail_nz(*BINS[1], zmax=4.0)]
        tracers = [
            probes.NumberCounts(bin_, BIAS, magnification_bias=SLOPE),
            probes.NumberCounts(bin_, BIAS, has_rsd=True),
            probes.CMBLensing(),
        ]
        return angular_cl(self.cosmology(theta), ell, tracers, effective_w=False).numpy()

    def differentiable_spectra(self, theta: object, ell: np.ndarray) -> object:
        """As `spectra`, for tensors."""
        from flowpm_ext.cosmology import probes, redshift
        from flowpm_ext.cosmology.angular_cl import angular_cl

        bins = [redshift.smail_nz(*bin_, zmax=4.0) for bin_ in BINS]
        tracers = [
            probes.WeakLensing(bins),
            probes.WeakLensing(bins, ia_bias=1.0),
            probes.NumberCounts(bins, BIAS),
        ]
        return angular_cl(self.cosmology(theta), ell, tracers, effective_w=False)

    def jacobian(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Derivatives of `spectra` at one cosmology, [8, 21, num_ell]."""
        from tests.reference import derivatives

        return derivatives.forward(lambda rows: self.differentiable_spectra(rows, ell), theta)

    def log_likelihood(self, data: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
        """Gaussian log-likelihood."""
        from flowpm_ext.cosmology import likelihood

        return float(likelihood.gaussian_log_likelihood(data, mean, covariance))

    def single_precision_spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """As `spectra`, computed in float32."""
        return self.spectra(theta.astype(np.float32), ell)


class JaxCosmo:
    """jax_cosmo in float64, one cosmology after the other."""

    name = "jax_cosmo"

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)

    def distance(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        """f_K (Mpc/h)."""
        from jax_cosmo import background

        return self._each(
            lambda cosmo: background.transverse_comoving_distance(cosmo, 1 / (1 + z)), theta
        )

    def growth(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        """D1 and f1, [n, 2, na]."""
        import jax.numpy as jnp
        from jax_cosmo import background

        def both(cosmo: object) -> object:
            return jnp.stack([background.growth_factor(cosmo, a), background.growth_rate(cosmo, a)])

        return self._each(both, theta)

    def second_growth(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Not offered."""
        raise NotOfferedError

    def linear(
        self, theta: np.ndarray, k: np.ndarray, a: np.ndarray, shape: str = "eisenstein_hu"
    ) -> np.ndarray:
        """Linear spectrum, [n, na, nk]."""
        import jax.numpy as jnp
        from jax_cosmo import power, transfer

        kinds = {"eisenstein_hu": "eisenhu_osc", "eisenstein_hu_nowiggle": "eisenhu"}
        if shape not in kinds:
            raise NotOfferedError

        def function(cosmo: object, k: object) -> object:
            return transfer.Eisenstein_Hu(cosmo, k, type=kinds[shape])

        def all_epochs(cosmo: object) -> object:
            return jnp.stack([
                power.linear_matter_power(cosmo, k, a=np.array([x]), transfer_fn=function)
                for x in a
            ])  # fmt: skip

        return self._each(all_epochs, theta)

    def nonlinear(self, theta: np.ndarray, k: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Halofit with w0 in its formula, [n, na, nk]."""
        import jax.numpy as jnp
        from jax_cosmo import power

        def all_epochs(cosmo: object) -> object:
            return jnp.stack([power.nonlinear_matter_power(cosmo, k, a=np.array([x])) for x in a])

        return self._each(all_epochs, theta)

    def spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Spectra of shear, of aligned shear and of counts, two bins each: [n, 21, num_ell]."""
        return self._each(self._spectra_at(ell), theta)

    def more_spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Not offered."""
        raise NotOfferedError

    def jacobian(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Derivatives of `spectra` at one cosmology, [8, 21, num_ell]."""
        import jax

        spectra = self._spectra_at(ell)
        jacobian = jax.jit(jax.jacfwd(lambda row: spectra(self._cosmology(row))))(theta)
        return np.moveaxis(np.asarray(jacobian), -1, 0)

    def log_likelihood(self, data: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
        """Gaussian log-likelihood; jax_cosmo leaves out the constant, which is added here."""
        from jax_cosmo import likelihood

        value = likelihood.gaussian_log_likelihood(data, mean, covariance, include_logdet=True)
        return float(value) - 0.5 * data.size * np.log(2 * np.pi)

    def single_precision_spectra(self, theta: np.ndarray, ell: np.ndarray) -> np.ndarray:
        """Not compared: its precision is a setting of the whole process."""
        raise NotOfferedError

    def _spectra_at(self, ell: np.ndarray) -> Callable:
        from jax_cosmo import angular_cl, bias, probes, redshift

        bins = [redshift.smail_nz(*bin_, zmax=4.0) for bin_ in BINS]
        tracers = [
            probes.WeakLensing(bins),
            probes.WeakLensing(bins, ia_bias=bias.constant_linear_bias(1.0)),
            probes.NumberCounts(bins, bias.constant_linear_bias(BIAS)),
        ]
        return lambda cosmo: angular_cl.angular_cl(cosmo, ell, tracers)

    def _cosmology(self, row: object) -> object:
        import jax_cosmo

        return jax_cosmo.Cosmology(**{name: row[i] for i, name in enumerate(NAMES)})

    def _each(self, function: Callable, theta: np.ndarray) -> np.ndarray:
        import jax

        whole = jax.jit(lambda row: function(self._cosmology(row)))
        return np.stack([np.asarray(whole(row)) for row in theta])
