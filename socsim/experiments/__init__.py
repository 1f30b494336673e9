"""Experiments: scripts that ask one question each, simulate a grid, and publish a table, a figure and what came out."""

from socsim.experiments.publication import FORMATS, Publication
from socsim.experiments.published import (
    advantages,
    beside_published,
    counted,
    errors_sentence,
    geometric_mean,
    hollow,
    origin,
    published_values,
)

__all__ = [
    "FORMATS",
    "Publication",
    "advantages",
    "beside_published",
    "counted",
    "errors_sentence",
    "geometric_mean",
    "hollow",
    "origin",
    "published_values",
]
