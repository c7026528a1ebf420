"""The parameters of a cosmology: one frozen object of numbers or tensors."""

import dataclasses
from typing import Any, Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import Structure, TensorLike, cast, known


@dataclasses.dataclass(frozen=True)
class Cosmology(Structure):
    """Parameters of a w0waCDM cosmology, with curvature and optional radiation.

    Every parameter is a number or a tensor: a scalar, or [batch] for many cosmologies at once
    (scalars then serve all of them). Functions of a cosmology are differentiable in each
    parameter. The object holds no state and no cache. Its tensors decide the precision of
    all that is computed from it; plain numbers mean float64.

    Args:
        Omega_c: Density of cold dark matter today, in units of the critical density.
        Omega_b: Density of baryons today.
        h: Hubble constant over 100 km/s/Mpc.
        n_s: Spectral index of the primordial fluctuations.
        sigma8: Root mean square of the linear overdensity in spheres of 8 Mpc/h at a = 1.
            None when `A_s` is given, or when no spectrum is needed.
        Omega_k: Curvature today; positive for an open universe.
        w0: Equation of state of dark energy today, w(a) = w0 + wa (1 - a).
        wa: Its change.
        A_s: Amplitude of the primordial spectrum at 0.05 / Mpc, instead of `sigma8`; curvature
            is left out of its relation to density (3 % at k = 1e-3 h/Mpc for Omega_k = 0.05).
        Omega_r: Radiation today, smooth; see `radiation_density`. Zero by default.
        T_cmb: Temperature of the microwave background (K), for the transfer function.

    Raises:
        ValueError: If a parameter is not finite or unphysical: matter, `h`, `sigma8`, `A_s`
            or `T_cmb` not positive, both amplitudes given, a dark energy that does not fade
            into the past, or an expansion rate E(a)**2 that is negative somewhere.
        TypeError: If parameters of different floating types are mixed.

    References:
        Chevallier & Polarski 2001, arXiv:gr-qc/0009008; Linder 2003, arXiv:astro-ph/0208512.
    """

    Omega_c: TensorLike
    Omega_b: TensorLike
    h: TensorLike
    n_s: TensorLike
    sigma8: TensorLike | None = None
    Omega_k: TensorLike = 0.0
    w0: TensorLike = -1.0
    wa: TensorLike = 0.0
    A_s: TensorLike | None = None
    Omega_r: TensorLike = 0.0
    T_cmb: TensorLike = 2.726

    def __post_init__(self) -> None:
        for name, value in self._given().items():
            unit = {"T_cmb": "K", "h": "100 km / (Mpc s)"}.get(name, "")
            object.__setattr__(self, name, units.to_value(value, unit, name))
            checks.finite(getattr(self, name), name)
        for name in ("Omega_b", "h", "sigma8", "A_s", "T_cmb"):
            if getattr(self, name) is not None:
                checks.positive(getattr(self, name), name)
        for name in ("Omega_c", "Omega_r"):
            checks.non_negative(getattr(self, name), name)
        checks.require(
            self.sigma8 is None or self.A_s is None, "sigma8", "be None when `A_s` is given",
            self.sigma8,
        )  # fmt: skip
        _ = self.dtype
        self._check_expansion()

    @classmethod
    def from_astropy(
        cls,
        cosmology: Any,
        sigma8: TensorLike | None = None,
        n_s: TensorLike | None = None,
        *,
        keep_radiation: bool = False,
    ) -> Self:
        """The same cosmology as an object of `astropy.cosmology`.

        Args:
            cosmology: An astropy FLRW cosmology with a baryon density: (Flat)LambdaCDM,
                (Flat)wCDM or (Flat)w0waCDM.
            sigma8: Amplitude; by default the one in the metadata of `cosmology`, if any.
            n_s: Spectral index; by default the one in the metadata of `cosmology`.
            keep_radiation: Keep photons and neutrinos as smooth, massless radiation.

        Returns:
            The cosmology. When photons or neutrinos are dropped, or neutrino masses are, a
            `UserWarning` states the largest error this makes in the comoving distance.

        Raises:
            ValueError: If the dark energy of `cosmology` is of another kind, or its baryon
                density or the spectral index is not known.

        References:
            Astropy Collaboration 2022, arXiv:2206.14220.
        """
        from flowpm_ext.cosmology import interop

        return cls(**interop.parameters(cosmology, sigma8, n_s, keep_radiation))

    @property
    def dtype(self) -> tf.DType:
        """Floating type of everything computed from this cosmology."""
        types = {
            tf.as_dtype(value.dtype)
            for value in self._given().values()
            if isinstance(value, tf.Tensor | tf.Variable)
            or (isinstance(value, np.ndarray) and value.ndim)
        }
        checks.require(
            len(types) <= 1, "Cosmology", "have parameters of one floating type",
            sorted(t.name for t in types), "Cast them with `tf.cast`.", error=TypeError,
        )  # fmt: skip
        return types.pop() if types else tf.float64

    @property
    def batch_size(self) -> int | None:
        """Number of cosmologies in a batch; None for a single one."""
        shapes = [np.shape(value) for value in self._given().values()]
        return max((shape[0] for shape in shapes if len(shape)), default=None)

    @property
    def Omega_m(self) -> TensorLike:
        """Density of all matter today."""
        return self.Omega_c + self.Omega_b

    @property
    def Omega_de(self) -> TensorLike:
        """Density of dark energy today, what the other components leave."""
        return 1.0 - self.Omega_m - self.Omega_k - self.Omega_r

    def tensors(self) -> Self:
        """The cosmology with its parameters as tensors of its dtype."""
        return tf.nest.map_structure(lambda x: cast(x, self.dtype), self)

    def columns(self) -> Self:
        """The cosmology with its parameters as tensors [..., 1], ready to meet an axis."""
        return tf.nest.map_structure(lambda x: x[..., None], self.tensors())

    def _given(self) -> dict[str, TensorLike]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _check_expansion(self) -> None:
        """Refuse an expansion that stops, where the numbers are known."""
        values = {name: known(value) for name, value in self._given().items()}
        if any(value is None for value in values.values()):
            return
        p = {name: np.asarray(value, np.float64)[..., None] for name, value in values.items()}
        checks.require(
            bool(np.all(p["w0"] + p["wa"] < 0)), "w0 + wa", "be negative",
            np.squeeze(p["w0"] + p["wa"]), "Dark energy must fade into the past.",
        )  # fmt: skip
        a = np.geomspace(1e-3, 1.0, 200)
        matter = p["Omega_c"] + p["Omega_b"]
        dark = 1 - matter - p["Omega_k"] - p["Omega_r"]
        fade = a ** (-3 * (1 + p["w0"] + p["wa"])) * np.exp(-3 * p["wa"] * (1 - a))
        squared = matter / a**3 + p["Omega_r"] / a**4 + p["Omega_k"] / a**2 + dark * fade
        worst = a[np.unravel_index(np.argmin(squared), squared.shape)[-1]]
        checks.require(
            bool(np.all(squared > 0)), "E(a)**2", "be positive",
            f"{np.min(squared):.3g} at a = {worst:.3g}", "Check `Omega_k`, `Omega_c` and `w0`.",
        )  # fmt: skip


def require_cosmology(cosmo: Any) -> None:
    """Refuse what is not a cosmology.

    Args:
        cosmo: What was received.

    Raises:
        TypeError: If it is not a `Cosmology`.
    """
    checks.require(
        isinstance(cosmo, Cosmology), "cosmo", "be a Cosmology", cosmo,
        "For example `flowpm_ext.Planck18()`.", error=TypeError,
    )  # fmt: skip


def Planck15(**overrides: TensorLike) -> Cosmology:
    """The cosmology of Planck 2015, with any parameter changed by keyword.

    Args:
        **overrides: Parameters of `Cosmology`, for example `Omega_c=0.3` or `wa=0.1`.

    Returns:
        The cosmology.

    Raises:
        ValueError: As `Cosmology`.

    References:
        Planck Collaboration XIII 2016, arXiv:1502.01589, table 4 (TT,TE,EE+lowP+lensing+ext).
    """
    return _preset(overrides, Omega_c=0.2589, Omega_b=0.0486, h=0.6774, n_s=0.9667, sigma8=0.8159)


def Planck18(**overrides: TensorLike) -> Cosmology:
    """The cosmology of Planck 2018, with any parameter changed by keyword.

    Args:
        **overrides: Parameters of `Cosmology`, for example `Omega_c=0.3` or `wa=0.1`.

    Returns:
        The cosmology.

    Raises:
        ValueError: As `Cosmology`.

    References:
        Planck Collaboration VI 2020, arXiv:1807.06209, table 2 (TT,TE,EE+lowE+lensing+BAO).
    """
    return _preset(overrides, Omega_c=0.2607, Omega_b=0.0490, h=0.6766, n_s=0.9665, sigma8=0.8102)


def radiation_density(h: TensorLike, T_cmb: float = 2.7255, N_eff: float = 3.046) -> TensorLike:
    """Density of photons and massless neutrinos today, in units of the critical density.

    Args:
        h: Hubble constant over 100 km/s/Mpc, any shape.
        T_cmb: Temperature of the microwave background (K).
        N_eff: Effective number of neutrino species.

    Returns:
        Omega_r for `Cosmology`, in the shape of `h`.

    Raises:
        ValueError: If an argument is not positive (`N_eff`: negative).

    References:
        Dodelson 2003, Modern Cosmology, section 2.4.
    """
    checks.positive(h, "h")
    checks.positive(T_cmb, "T_cmb")
    checks.non_negative(N_eff, "N_eff")
    # 4 sigma_SB T**4 / c**3 over the critical density of h = 1, at T = 2.7255 K.
    photons = 2.47298e-5 * (T_cmb / 2.7255) ** 4 / h**2
    return photons * (1 + 7 / 8 * (4 / 11) ** (4 / 3) * N_eff)


def _preset(overrides: dict[str, TensorLike], **defaults: float) -> Cosmology:
    if "A_s" in overrides:
        defaults["sigma8"] = None
    return Cosmology(**{**defaults, **overrides})
