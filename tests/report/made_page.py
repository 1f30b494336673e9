"""A page of a few quick experiments, real and hand-made, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from socsim.cli.report_page import make_report
from socsim.experiments.running import Experiment, find_experiment

HOSTILE = "</script><script>alert(1)</script> & \"quotes\" <b>'bold'</b>"
SCRIPTS = {
    "hand_made": f'''"""What is hand-made? (Nobody et al. 2025, Fig 3)"""
from socsim.experiments import Publication
from socsim.plots import bars

def main(out, quick=False, formats=()):
    with Publication(out, __file__, quick=quick, formats=formats, seed=7, words=["a", "b"], nested={{"deep": [1, 2]}}) as paper:
        rows = [
            {{"name": "ten", "time_s": 10.0, "phone_model": "same", "source": "a book"}},
            {{"name": "nine", "time_s": 9.0, "phone_model": "same", "source": ""}},
            {{"name": "none", "time_s": None, "phone_model": "same", "source": ""}},
            {{"name": "many", "time_s": 12345.0, "phone_model": "same", "source": ""}},
        ]
        paper.table("short", rows, {HOSTILE!r})
        paper.table("long", [{{"place": place, "value_ms": 200.0 - place}} for place in range(200)], "A long table")
        paper.figure("small", bars(rows[:2], x="name", y="time_s", series="phone_model", y_label="time (s)"), "A small figure")
        paper.claim("near", 100.0, 110.0, "s", "a book")
        paper.claim("off", 100.0, 140.0, "s", "a book", fitted=True)
        paper.claim("far {HOSTILE.replace('"', "'")}", 100.0, 300.0, "s", "a book")
        paper.conclude({HOSTILE!r})
''',
    "refused": '''"""What if weights are missing?"""
from socsim import SocsimError

def main(out, quick=False, formats=()):
    raise SocsimError("weights <x> are missing: run 'socsim weights fetch'")
''',
    "mistaken": '''"""What if there is a mistake?"""

def main(out, quick=False, formats=()):
    return 1 / 0
''',
}


class Made(NamedTuple):
    """A page, where it is, what it was made of, and the exit code."""

    path: Path
    experiments: list[Experiment]
    code: int

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def make_page(folder: Path) -> Made:
    """Make a page in a folder."""
    for name, script in SCRIPTS.items():
        (folder / f"{name}.py").write_text(script)
    experiments = [find_experiment("prefill_speed"), *(Experiment(name, folder / f"{name}.py") for name in SCRIPTS)]
    code = make_report(experiments, folder / "out", quick=True)
    return Made(folder / "out" / "index.html", experiments, code)
