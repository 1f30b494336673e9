"""Contents to one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from socsim.errors import SocsimError
from socsim.report.contents import Contents
from socsim.report.tables import VERDICTS

PAGE = "index.html"
PARTS = Path(__file__).parent


def render(contents: Contents) -> str:
    """Return the page; the same contents give the same text."""
    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    parts = {name: (PARTS / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    # In a script only "</" and "<!--" would end or change what follows.
    timeline = contents.timeline.replace("<", "\\u003c")
    page = environment.get_template("template.html")
    return page.render(contents._asdict(), contents=contents, verdicts=VERDICTS, plotly=get_plotlyjs(), **parts, timeline_json=timeline)


def write_page(contents: Contents, out: Path) -> Path:
    """Write the page as ``index.html`` of a folder, whole or not at all, and return its path.

    Raises
    ------
    SocsimError
        It cannot be written.
    """
    path = out / PAGE
    beside = path.with_name(f".{PAGE}.{os.getpid()}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        beside.write_text(render(contents), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise SocsimError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return path
