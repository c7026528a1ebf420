"""Quantities become numbers in the units of the project."""

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import units as cu

from flowpm_ext.core.units import to_value


@pytest.mark.parametrize(
    "quantity, unit, expected",
    [
        (60 * u.arcmin, "deg", 1.0),
        ([1.0, 2.0] * u.km, "m", [1000.0, 2000.0]),
        (70 * u.Mpc / cu.littleh, "Mpc/h", 70.0),
        (100 * u.Mpc, "Mpc/h", 70.0),  # with h = 0.7
        (0.7 / u.Mpc, "h/Mpc", 1.0),
        (1 / u.arcsec**2, "arcmin-2", 3600.0),
    ],
)
def test_quantities_are_converted(quantity, unit, expected):
    np.testing.assert_allclose(to_value(quantity, unit, "x", h=0.7), expected, rtol=1e-14)


def test_other_values_pass_unchanged():
    for value in (3.0, "text", None, np.ones(2)):
        assert to_value(value, "Mpc/h", "x") is value


def test_wrong_units_are_refused():
    message = r"`x` must have a unit that converts to deg. Received: 3.0 m."
    with pytest.raises(ValueError, match=message):
        to_value(3 * u.m, "deg", "x")
    with pytest.raises(ValueError, match="`x` must have a unit that converts to Mpc/h"):
        to_value(3 * u.Mpc, "Mpc/h", "x")  # without h there is no conversion
