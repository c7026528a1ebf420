"""Whether a posterior deserves belief."""

from lfi.diagnostics.c2st import c2st
from lfi.diagnostics.coverage import Coverage, expected_coverage
from lfi.diagnostics.misspecification import (
    Misspecification,
    MisspecificationWarning,
    misspecification,
    warn_if_misspecified,
)
from lfi.diagnostics.mmd import MMDTest, mmd_test
from lfi.diagnostics.predictive import PredictiveCheck, predictive_check
from lfi.diagnostics.ranks import SBCTest, sbc_ranks, sbc_test
from lfi.diagnostics.tarp import TarpCoverage, tarp_coverage

__all__ = [
    "Coverage",
    "MMDTest",
    "Misspecification",
    "MisspecificationWarning",
    "PredictiveCheck",
    "SBCTest",
    "TarpCoverage",
    "c2st",
    "expected_coverage",
    "misspecification",
    "mmd_test",
    "predictive_check",
    "sbc_ranks",
    "sbc_test",
    "tarp_coverage",
    "warn_if_misspecified",
]
