"""Whether a posterior deserves belief."""

from lfi.diagnostics.c2st import c2st

__all__ = ["c2st"]
