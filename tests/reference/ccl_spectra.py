"""Angular spectra by CCL, of tracers named by what is in them."""

import itertools

import numpy as np

Z = np.linspace(0.0, 4.0, 4001)


def smail(z):
    """Density of redshifts of a deep survey, up to a factor."""
    return z**2 * np.exp(-((z / 0.5) ** 1.5))


def gaussian(mean, sigma):
    """Gaussian density of redshifts, up to a factor."""
    return lambda z: np.exp(-0.5 * ((z - mean) / sigma) ** 2)


def tracer(reference, kind, nz=None, bias=1.0, slope=None):
    """One of "shear", "aligned" (amplitude one), "counts", "distorted" counts, "background"."""
    import pyccl

    constant = np.ones_like(Z)
    if kind == "background":
        return pyccl.CMBLensingTracer(reference, z_source=1100.0)
    if kind in ("shear", "aligned"):
        alignment = (Z, bias * constant) if kind == "aligned" else None
        return pyccl.WeakLensingTracer(reference, dndz=(Z, nz(Z)), ia_bias=alignment)
    return pyccl.NumberCountsTracer(
        reference, has_rsd=kind == "distorted", dndz=(Z, nz(Z)), bias=(Z, bias * constant),
        mag_bias=None if slope is None else (Z, slope * constant),
    )  # fmt: skip


def spectra(reference, tracers, ell):
    """Spectra of all pairs i <= j of a list of arguments of `tracer`, [num_cl, num_ell]."""
    import pyccl

    # By default CCL stops at 1e-4 of each spectrum, which in weak crosses is seen.
    before = pyccl.gsl_params["INTEGRATION_LIMBER_EPSREL"]
    pyccl.gsl_params["INTEGRATION_LIMBER_EPSREL"] = 1e-6
    try:
        made = [tracer(reference, *arguments) for arguments in tracers]
        pairs = itertools.combinations_with_replacement(made, 2)
        return np.stack([pyccl.angular_cl(reference, *pair, ell) for pair in pairs])
    finally:
        pyccl.gsl_params["INTEGRATION_LIMBER_EPSREL"] = before
