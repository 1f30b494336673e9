"""The tables of ``socsim accuracy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from socsim.cli.tables import make_table

if TYPE_CHECKING:
    from rich.console import Console

WIDE, MEDIUM = 118, 96
"""Columns of text from which a table has all its columns, or those that matter most and the float work."""
LONG_LABELS = 38
"""How much longer labels of the ablation are, and so the lines that have all columns."""
FLOAT_WORK = ("kept", "float\nchan.", "fetched", "hot\n(%)", "MACs\n(%)")
Record = dict[str, Any]


def print_accuracy(console: Console, report: Record) -> None:
    """Print measures of schemes as a table, with as many columns as there is room for."""
    columns = _columns(report)
    left_out = _left_out(console.width, long_labels=report["table"] == "ablation")
    shown = [name for name in columns if name not in left_out]
    table = make_table(shown, sum(name not in ("scheme", "weight\nscales") for name in shown))
    for row in report["rows"]:
        cells = _cells(row)
        table.add_row(*(cells[name] for name in shown))
    console.print(table)
    if missing := [name.partition("\n")[0] for name in columns if name in left_out]:
        console.print(f"Left out: {', '.join(missing)}; see a wider terminal or --json")
    first = report["rows"][0]
    console.print(
        f"{report['weights']} on {report['tokens']:,} tokens of {report['text']} (SHA-256 {report['text_sha256'][:12]}): "
        f"{first['predictions']:,} predictions, {first['last_words']} last words of passages. Scales and outliers from "
        f"{report['calibration_tokens']:,} tokens of {report['calibration_text']} (SHA-256 {report['calibration_text_sha256'][:12]})."
    )
    console.print("; ".join(_notes(report, shown)) + ".")


def _notes(report: Record, shown: list[str]) -> list[str]:
    """Explain the columns and words of a table."""
    labels, first = [row["label"] for row in report["rows"]], report["rows"][0]
    notes = {
        "KL (nats)": "KL: divergence from float32 a token",
        "change (%)": "change: of perplexity",
        "top-1 (%)": "top-1: agreement with float32",
        "words\n(%)": "words: last words guessed",
        "kept": f"kept: of {first['linears']} linears, those with float work beside the int8 products",
        "float\nchan.": f"float chan.: in such work of one of these and one chunk of {report['chunk_tokens']} tokens",
        "fetched": "fetched: read from flash",
        "hot\n(%)": "hot: in memory",
        "MACs\n(%)": "MACs: of such work, of all linears'",
    }
    words = ["%: of the linears pruned"] if any(" %" in label for label in labels) else []
    if any(" channels" in label or " ch." in label for label in labels):
        words.append("channels, ch.: float channels aimed at, else 20")
    return [*words, *(note for name, note in notes.items() if name in shown), "±: standard error"]


def _columns(report: Record) -> list[str]:
    """Return the columns of a wide table: weight scales unless labels say them, float work if there is any; --json has all."""
    columns = ["scheme", "weight\nscales", "KL (nats)", "perplexity", "change (%)", "top-1 (%)", "words\n(%)"]
    if report["table"] == "ablation":
        columns.remove("weight\nscales")
    return columns + (list(FLOAT_WORK) if any(row["kept_linears"] for row in report["rows"]) else [])


def _left_out(width: int, *, long_labels: bool) -> set[str]:
    """Return the columns for which there is no room."""
    left_out = {"perplexity", "words\n(%)"} if width < WIDE + LONG_LABELS * long_labels else set()
    return left_out | (set(FLOAT_WORK[2:]) if width < MEDIUM else set())


def _cells(row: Record) -> dict[str, str]:
    """Return what stands in each column."""
    return {
        "scheme": row["label"].removesuffix(" pruned"),
        "weight\nscales": (row["weight_scales"] or "-").partition(" ")[0],
        "KL (nats)": _with_error(row["kl"], row["kl_se"], 4),
        "perplexity": _with_error(row["perplexity"], row["perplexity_se"], 2),
        "change (%)": _with_error(row["perplexity_change_percent"], row["perplexity_change_se_percent"], 1, "+"),
        "top-1 (%)": _with_error(100 * row["top1_agreement"], 100 * row["top1_agreement_se"], 1),
        "words\n(%)": _words(row),
        "kept": str(row["kept_linears"]),
        "float\nchan.": f"{row['outlier_channels']:.1f}",
        "fetched": f"{row['fetched_channels']:.1f}",
        "hot\n(%)": "-" if row["hot_share"] is None else f"{100 * row['hot_share']:.0f}",
        "MACs\n(%)": f"{100 * row['shadow_mac_share']:.2f}",
    }


def _words(row: Record) -> str:
    if row["last_word_accuracy_se"] is None:
        return "-"
    return _with_error(100 * row["last_word_accuracy"], 100 * row["last_word_accuracy_se"], 0)


def _with_error(value: float, error: float, digits: int, sign: str = "") -> str:
    """Return a number with its standard error; large ones have fewer digits, so that columns stay narrow."""
    if max(abs(value), error) >= 1e4:
        return f"{value:{sign}.2g} ±{error:.0g}"
    digits = max(digits - max(len(f"{max(abs(value), error):.0f}") - 2, 0), 0)
    return f"{value:{sign}.{digits}f} ±{error:.{digits}f}"


def print_importance(console: Console, report: Record) -> None:
    """Print the outlier importance of linears, a row for each block."""
    linears = list(dict.fromkeys(row["linear"] for row in report["rows"]))
    table = make_table(["block", *linears], len(linears))
    values = {(row["layer"], row["linear"]): row["importance"] for row in report["rows"]}
    for layer in dict.fromkeys(row["layer"] for row in report["rows"]):
        table.add_row(str(layer), *(f"{values[layer, linear]:.2f}" for linear in linears))
    console.print(table)
    console.print(f"largest input of each linear of {report['weights']} over the magnitude that outliers exceed, on {report['text']}")
