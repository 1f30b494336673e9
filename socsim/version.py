"""The version of socsim, which every record carries."""

__version__ = "0.1.0"
