"""Cosmologies of astropy, and what is lost when they are taken over."""

import warnings
from typing import Any

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike


def parameters(
    cosmology: Any, sigma8: TensorLike | None, n_s: TensorLike | None, keep_radiation: bool
) -> dict[str, TensorLike]:
    """Arguments of `Cosmology` for an astropy cosmology; see `Cosmology.from_astropy`.

    Args:
        cosmology: An astropy FLRW cosmology.
        sigma8: Amplitude, or None for the one in the metadata.
        n_s: Spectral index, or None for the one in the metadata.
        keep_radiation: Whether photons and massless neutrinos stay, as smooth radiation.

    Returns:
        Keyword arguments of `Cosmology`.

    Raises:
        ValueError: If the dark energy is of another kind, or the baryon density or the
            spectral index is unknown.

    References:
        Astropy Collaboration 2022, arXiv:2206.14220.
    """
    kind = type(cosmology).__name__.removeprefix("Flat")
    checks.require(
        kind in ("LambdaCDM", "wCDM", "w0waCDM"), "cosmology",
        "be a (Flat)LambdaCDM, (Flat)wCDM or (Flat)w0waCDM of astropy", type(cosmology).__name__,
    )  # fmt: skip
    metadata = cosmology.meta or {}
    n_s = metadata.get("n") if n_s is None else n_s
    checks.require(n_s is not None, "n_s", "be given: the cosmology does not know it", n_s)
    checks.require(
        cosmology.Ob0 is not None and cosmology.Ob0 > 0, "cosmology", "have a baryon density Ob0",
        cosmology.Ob0,
    )  # fmt: skip
    result = {
        "Omega_c": float(cosmology.Om0 - cosmology.Ob0),
        "Omega_b": float(cosmology.Ob0),
        "h": float(cosmology.h),
        "n_s": n_s,
        "sigma8": metadata.get("sigma8") if sigma8 is None else sigma8,
        "Omega_k": float(cosmology.Ok0),
        "w0": float(getattr(cosmology, "w0", -1.0)),
        "wa": float(getattr(cosmology, "wa", 0.0)),
        "Omega_r": _massless_radiation(cosmology) if keep_radiation else 0.0,
    }
    if float(cosmology.Tcmb0.value) > 0:
        result["T_cmb"] = float(cosmology.Tcmb0.value)
    _warn_of_losses(cosmology, result)
    return result


def _massless_radiation(cosmology: Any) -> float:
    """Photons and neutrinos as if they had no mass: massive ones are not radiation today."""
    return float(cosmology.Ogamma0 * (1 + 7 / 8 * (4 / 11) ** (4 / 3) * cosmology.Neff))


def _warn_of_losses(cosmology: Any, kept: dict[str, Any]) -> None:
    """Say what is dropped, and the largest error of the comoving distance at z <= 10."""
    from astropy.cosmology import w0waCDM

    keeps_radiation = kept["Omega_r"] > 0
    lost = []
    if not keeps_radiation and cosmology.Ogamma0 > 0:
        lost.append("radiation")
    if cosmology.has_massive_nu:
        lost.append("the masses of neutrinos" if keeps_radiation else "massive neutrinos")
    if not lost:
        return
    matter = float(cosmology.Om0)
    without = w0waCDM(
        H0=cosmology.H0, Om0=matter, Ode0=1 - matter - kept["Omega_k"] - kept["Omega_r"],
        w0=kept["w0"], wa=kept["wa"], Neff=cosmology.Neff,
        Tcmb0=cosmology.Tcmb0 if keeps_radiation else 0.0,
    )  # fmt: skip
    z = np.geomspace(0.01, 10.0, 50)
    error = np.max(np.abs(without.comoving_distance(z) / cosmology.comoving_distance(z) - 1))
    fix = "" if keeps_radiation else " `keep_radiation=True` keeps radiation."
    warnings.warn(
        f"Dropped {' and '.join(lost)}: comoving distances at z <= 10 change by up to "
        f"{error:.1e}.{fix}",
        stacklevel=4,
    )
