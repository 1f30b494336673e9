"""A sweep of which a point takes a millisecond or two."""

from __future__ import annotations

from typing import Any

from socsim.sweeps import Plan, load_plan

BASE: dict[str, Any] = {
    "soc": "toy-phone",
    "model": "smollm2-135m",
    "engine": "llm-npu",
    "prompt_tokens": 64,
    "set": {"model.num_hidden_layers": 2},
}
METRICS = ["ttft_s", "peak_memory_bytes", "tpot_s"]
CHUNKS: dict[str, Any] = {"path": "chunk_tokens", "values": [16, 32, 64]}


def spec(*axes: dict[str, Any], base: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a sweep as nested dictionaries; `base` and `fields` are changed in the small one."""
    return {"base": BASE | (base or {}), "axes": list(axes or (CHUNKS,)), "metrics": METRICS, **fields}


def plan(*axes: dict[str, Any], **fields: Any) -> Plan:
    """Return a small sweep made ready."""
    return load_plan(spec(*axes, **fields))


def rows(made: Plan) -> list[tuple[Any, ...]]:
    """Return the values of all points, as they are listed in a table."""
    columns = made.points(0, made.raw_count)[1]
    return list(zip(*(columns[name].tolist() for name in made.columns), strict=True))
