"""The version, for whoever tells it: the package, its command line and its faces."""

__version__ = "0.1.0"
