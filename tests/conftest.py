"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("socsim", deadline=None, derandomize=True, database=None)
settings.load_profile("socsim")
