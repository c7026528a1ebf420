"""Data compressed to a few summaries: by networks, by scores; and how much they say."""

from lfi.compressors.compressor import Compressor
from lfi.compressors.imnn import InformationNetwork, central_differences
from lfi.compressors.information import InformationReport, InformationRow, information_report
from lfi.compressors.score import ScoreCompressor

__all__ = [
    "Compressor",
    "InformationNetwork",
    "InformationReport",
    "InformationRow",
    "ScoreCompressor",
    "central_differences",
    "information_report",
]
