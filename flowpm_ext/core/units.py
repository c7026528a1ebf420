"""Astropy quantities at the public door: converted once, to the project's units."""

from typing import Any

from flowpm_ext.core import checks


def to_value(value: Any, unit: str, name: str, h: Any = None) -> Any:
    """The number in `unit` of an astropy quantity; anything else unchanged.

    `tf.constant` drops the unit of a quantity without a word, so every public function that
    takes a dimensional number passes it through here first.

    Args:
        value: An `astropy.units.Quantity`, or what the function takes without units.
        unit: The project's unit, as astropy spells it; "Mpc/h" and "h/Mpc" are understood.
        name: Name of the argument, for the message.
        h: Hubble parameter, needed to take "Mpc" to "Mpc/h".

    Returns:
        The value without unit.

    Raises:
        ValueError: If the quantity cannot be converted to `unit`.
    """
    if not hasattr(value, "unit") or not hasattr(value, "to_value"):
        return value
    from astropy import units as u
    from astropy.cosmology import units as cu

    target = {"Mpc/h": u.Mpc / cu.littleh, "h/Mpc": cu.littleh / u.Mpc}.get(unit) or u.Unit(unit)
    equivalencies = [] if h is None else cu.with_H0(100 * float(h) * u.km / u.s / u.Mpc)
    try:
        return value.to_value(target, equivalencies)
    except u.UnitConversionError:
        checks.require(False, name, f"have a unit that converts to {unit}", value)
