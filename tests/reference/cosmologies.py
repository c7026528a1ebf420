"""Cosmologies drawn around Planck, and the same cosmologies in CCL and astropy."""

import functools

import numpy as np

SIZE = 24
PLANCK = {
    "Omega_c": 0.2607, "Omega_b": 0.0490, "h": 0.6766, "n_s": 0.9665, "sigma8": 0.8102,
    "Omega_k": 0.0, "w0": -1.0, "wa": 0.0,
}  # fmt: skip
# About five times the errors of Planck, in units of which uniform numbers are drawn.
WIDTHS = {"Omega_c": 0.03, "Omega_b": 0.004, "h": 0.04, "n_s": 0.03, "sigma8": 0.06, "w0": 0.1}


def draw(size=SIZE, seed=20):
    """Parameters, [size] each: a third flat, a third with Omega_k = 0.02, a third with -0.02.

    Every second one has a dark energy that changes, with |wa| between 0.1 and 0.3, and the
    first is a flat one with a cosmological constant.
    """
    rng = np.random.default_rng(seed)
    values = {name: np.full(size, value) for name, value in PLANCK.items()}
    for name, width in WIDTHS.items():
        values[name] += width * rng.uniform(-1, 1, size)
    changes = rng.uniform(0.1, 0.3, size) * rng.choice([-1.0, 1.0], size)
    values["wa"] = np.where(np.arange(size) % 2, changes, 0.0)
    values["Omega_k"] = np.resize([0.0, 0.02, -0.02], size)
    values["w0"][0] = -1.0
    return values


def one(values, index):
    """The parameters of one cosmology of a draw, as numbers."""
    return {name: float(column[index]) for name, column in values.items()}


def ccl(parameters, transfer="eisenstein_hu", **settings):
    """The cosmology in CCL, without radiation unless `settings` say otherwise."""
    return _ccl(tuple(sorted({**PLANCK, **parameters}.items())), transfer, tuple(settings.items()))


@functools.cache
def _ccl(parameters, transfer, settings):
    import pyccl

    options = {"Neff": 0, "Omega_g": 0, "T_CMB": 2.726, "matter_power_spectrum": "halofit"}
    options |= dict(settings)
    return pyccl.Cosmology(**dict(parameters), transfer_function=transfer, **options)


def astropy(parameters):
    """The cosmology in astropy, without radiation."""
    from astropy.cosmology import w0waCDM

    p = {**PLANCK, **parameters}
    matter = p["Omega_c"] + p["Omega_b"]
    return w0waCDM(
        100 * p["h"], matter, 1 - matter - p["Omega_k"], w0=p["w0"], wa=p["wa"],
        Ob0=p["Omega_b"], Tcmb0=0,
    )  # fmt: skip
