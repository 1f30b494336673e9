"""A publication that only remembers what a script claims and concludes."""

from __future__ import annotations


class Paper:
    """Keeps published and simulated values by what is claimed, where they come from, and all conclusions as one text."""

    def __init__(self) -> None:
        self.claims: dict[str, tuple[float | None, float]] = {}
        self.fitted: dict[str, bool] = {}
        self.sources: dict[str, str] = {}
        self.text = ""

    def claim(self, what: str, published: float | None, simulated: float, unit: str, source: str, *, fitted: bool = False) -> None:
        self.claims[what], self.fitted[what], self.sources[what] = (published, simulated), fitted, source

    def conclude(self, sentence: str) -> None:
        self.text += sentence
