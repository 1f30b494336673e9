"""The one exception that socsim raises for bad input, and the nearest-match hint that its messages share."""

from __future__ import annotations

from collections.abc import Iterable


class SocsimError(ValueError):
    """Bad input: the message is one line that names the file or argument, the field, the value and what was allowed."""


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest allowed name, or an empty string when none is near."""
    from difflib import get_close_matches

    near = get_close_matches(str(word).lower(), sorted(allowed), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def unknown_name(what: str, name: object, allowed: Iterable[str]) -> SocsimError:
    """Build the error for a name that is not in a list of allowed names."""
    names = sorted(allowed)
    return SocsimError(f"unknown {what} '{name}'{did_you_mean(name, names)}; allowed: {', '.join(names)}")
