"""``socsim plot``: figures of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsim.cli.console import make_console, one_line
from socsim.cli.files import PLOT_SUFFIXES, check_outputs
from socsim.cli.options import parse_count
from socsim.errors import SocsimError, unknown_name

KIND_NAMES = ("heatmap", "line", "parallel", "pareto", "tornado")

EXAMPLES = """\b
Kinds:
  line      a metric over an axis, a line for each value of another one: --x, --y, --color
            (first axis with several values, ttft_s, next such axis)
  heatmap   a metric over two axes; a name such as bottleneck, or an axis: which value is best: --x, --y, --color
            (first two axes with several values, ttft_s)
  pareto    all points, and those that no other one beats in all objectives: --objective, --x, --y, --color
            (ttft_s, prefill_energy_j, peak_memory_bytes; the first two; the third)
  parallel  a line for each point through all columns: --objective for these, --color
            (axes with several values and the metrics of pareto, ttft_s)
  tornado   how far each axis moves a metric on average, other axes alike; for saltelli samples its share in the variance: --y
            (ttft_s)

\b
Examples:
  socsim plot results/my-sweep --kind heatmap --x npu --y dram --color ttft_s
  socsim plot results/my-sweep --kind heatmap --color bottleneck --at chunk_tokens=256
  socsim plot results/my-sweep --kind pareto --objective ttft_s --objective prefill_energy_j -o front.pdf
  socsim plot results/my-sweep --kind tornado --y prefill_energy_j
"""


def plot_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that 'socsim sweep' wrote; it need not be complete.")],
    kind: Annotated[str, typer.Option("--kind", metavar="|".join(KIND_NAMES), help="What to draw.")],
    x: Annotated[str | None, typer.Option("--x", metavar="COLUMN", help="Axis, of pareto objective, from left to right.")] = None,
    y: Annotated[str | None, typer.Option("--y", metavar="COLUMN", help="Metric, of heatmap axis, of pareto objective, upwards.")] = None,
    color: Annotated[str | None, typer.Option("--color", metavar="COLUMN", help="What colors stand for; of line an axis.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option("--objective", metavar="COLUMN", help="Metric or axis of a front, or of parallel; repeatable.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", metavar="AXIS=VALUE", help="Only points where an axis has this value; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Figure: .png, .pdf or .svg.  [default: DIR/KIND.png]")
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option("--columns", metavar="1|2", parser=parse_count, help="Width in columns of a paper.  [default: 1; parallel: 2]"),
    ] = None,
) -> None:
    """Draw the points of a sweep, and print what the figure shows.

    COLUMN is an axis or a metric by its name, or by the last parts of it if these are unambiguous: speed for soc.processors.npu.speed.
    Line and heatmap show the best point over all axes that are neither drawn nor fixed by --at: that with the least, or of speeds and
    utilizations most, of the metric that is shown, else of ttft_s. Axes that say what is run, such as model or prompt_tokens, are no
    choice: each of several values has to be drawn, or one fixed.
    """
    if kind not in KIND_NAMES:
        raise unknown_name("--kind", kind, KIND_NAMES)
    if columns not in (None, 1, 2):
        raise SocsimError(f"--columns: is {columns}; allowed: 1, 2")
    path = output or folder / f"{kind}.png"
    from socsim.cli.plot_kinds import KINDS, Request

    draw, allowed, usual_columns = KINDS[kind]
    for option, given in (("--x", x), ("--y", y), ("--color", color), ("--objective", objective)):
        if given and option not in allowed:
            raise SocsimError(f"{option}: is not for --kind {kind}; allowed: {', '.join([*allowed, '--at'])}")
    from socsim.sweeps import read_sweep

    result = read_sweep(folder)
    check_outputs(output=path)
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise SocsimError(f"--output '{path}': unknown suffix '{path.suffix}'; allowed: {', '.join(PLOT_SUFFIXES)}")
    from socsim.cli.plot_options import slice_at
    from socsim.plots import save

    points, console = slice_at(result, at or []), make_console()
    request = Request(x, y, color, tuple(objective or ()), usual_columns if columns is None else columns)
    with console.capture() as told:  # until nothing can be wrong with the request any more
        figure = draw(points, request, console)
    print(told.get(), end="")
    done, failed = result.counts()
    if failed or done < result.record["points"]:
        one_line("note", f"{done:,} of {result.record['points']:,} points are there, {failed:,} of them failed")
    save(figure, path)
    one_line("wrote", path)
