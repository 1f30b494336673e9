"""What columns of tables are called for people, as ``prefill_tokens_per_s`` is 'prefill (tokens/s)', and which cells are numbers."""

from __future__ import annotations

from math import isfinite

UNITS = {
    "_tokens_per_s": "tokens/s",
    "_ms_per_token": "ms/token",
    "_j_per_token": "J/token",
    "_nats_per_token": "nats/token",
    "_gb_per_s": "GB/s",
    "_ops_per_byte": "op/B",
    "_tops": "TOPS",
    "_gops": "GOPS",
    "_percent": "%",
    "_tokens": "tokens",
    "_mb": "MB",
    "_gb": "GB",
    "_us": "µs",
    "_ms": "ms",
    "_s": "s",
    "_mj": "mJ",
    "_j": "J",
    "_w": "W",
}
"""Units by the end of a column's name, longer ends first."""
NAMES = {
    "cpu": "CPU",
    "dram": "DRAM",
    "e2e": "end-to-end",
    "gpu": "GPU",
    "kl": "KL",
    "kv": "KV",
    "npu": "NPU",
    "se": "std. error",
    "soc": "phone",
    "ttft": "TTFT",
}


def heading(column: str) -> str:
    """Return the name of a column with its unit."""
    suffix = next((end for end in UNITS if column.endswith(end) and column != end[1:]), "")
    words = " ".join(NAMES.get(word, word) for word in column.removesuffix(suffix).split("_"))
    return f"{words} ({UNITS[suffix]})" if suffix else words


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False
