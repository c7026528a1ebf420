"""The version of flowpm-ext, in one place for the package, its files and the installer."""

__version__ = "0.1.0"
