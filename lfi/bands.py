"""Bands of photometry."""

from flowpm_ext.core import checks

# 5-sigma depth of point sources (AB) after one year of LSST: that of a visit, Ivezic et al. 2019,
# arXiv:0805.2366, table 2, with the visits of a year.
LSST_DEPTH = {"u": 24.8, "g": 26.1, "r": 26.3, "i": 25.6, "z": 24.8, "y": 23.6}


def check_bands(bands: str, known: str = "") -> None:
    """Refuse letters of bands that are twice there or unknown.

    Args:
        bands: A letter for each band.
        known: Letters that there are; any by default.

    Raises:
        ValueError: If it is no text, empty, or has such letters.
    """
    fits = isinstance(bands, str) and 0 < len(bands) == len(set(bands))
    fits = fits and set(bands) <= set(known or bands)
    rule = "be different letters" + (f" of {known!r}" if known else "")
    checks.require(fits, "bands", rule, bands)
