"""What may be chosen of an engine, and the settings that each choice stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from socsim.errors import SocsimError
from socsim.schedulers import SCHEDULERS, plans
from socsim.specs import LLM, Engine, SoC
from socsim.tuning.accuracy import accuracy_loss, largest_rate

GROUPS = ("chunks", "pruning", "placement", "scheduler", "decode")
"""What is chosen: prebuilt chunk lengths, pruning rate, processors of float work, order of subgraphs, processor of decode."""
LENGTHS = (32, 64, 128, 256, 512, 1024)
"""Chunk lengths that may be prebuilt (tokens)."""
MOVABLE = ("attn_norm", "rope", "attention", "attn_residual", "ffn_norm", "activation", "ffn_residual")
"""Operators that may run on the NPU, beside the linears, or with the other float work."""
SINGLE = {"scheduler": "scheduler", "decode": "decode_processor"}
"""Field that a group with one parameter sets."""
RATE_STEP = 0.01
SHARES_OF_RATE = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the largest pruning rate that are tried one by one."""

Values = Mapping[str, Any]
"""A value for each parameter, by name."""
Settings = dict[str, dict[str, Any]]
"""What each group sets, by path in the engine; a group that is not there leaves the engine as it is."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a group: options, or a range of pruning rates from 0 to the largest that is allowed."""

    group: str
    options: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Space:
    """What may be chosen: parameters by name, and the most chunk lengths that may be prebuilt."""

    engine: Engine
    parameters: Mapping[str, Parameter]
    max_chunk_graphs: int

    def settings(self, values: Values) -> Settings | None:
        """Return what values of all parameters set, by group; None if they are not allowed together."""
        found: Settings = {}
        lengths = [length for length in LENGTHS if values.get(f"chunk {length}")]
        if any(each.group == "chunks" for each in self.parameters.values()):
            if not 0 < len(lengths) <= self.max_chunk_graphs:
                return None
            found["chunks"] = {"chunk_tokens": "auto", "prebuilt_chunk_tokens": lengths}
        if "pruning" in values:
            found["pruning"] = {"outlier_pruning_rate": values["pruning"]}
        if "float work" in values:
            usual = {str(name): str(processor) for name, processor in self.engine.placement.operators.items()}
            chosen = {name: values[name] if values[name] != "as other" else values["float work"] for name in MOVABLE}
            found["placement"] = {"placement.other": values["float work"], "placement.operators": usual | chosen}
        found |= {group: {path: values[group]} for group, path in SINGLE.items() if group in values}
        return found

    def neighbors(self, values: Values, name: str) -> Iterator[dict[str, Any]]:
        """Yield values that differ in one parameter; for a chunk length, also those in which it takes the place of another."""
        parameter = self.parameters[name]
        options = [round(share * parameter.options[-1], 2) for share in SHARES_OF_RATE] if name == "pruning" else parameter.options
        yield from ({**values, name: option} for option in options)
        if parameter.group == "chunks" and not values[name]:
            others = [other for other, each in self.parameters.items() if each.group == "chunks" and values[other]]
            yield from ({**values, name: True, other: False} for other in others)

    def usual(self) -> dict[str, Any]:
        """Return the values that come nearest to the engine as it is; of prebuilt lengths the longest, if it has more than may be."""
        engine, known = self.engine, dict[str, Any]()
        own_lengths = engine.chunk_tokens if isinstance(engine.chunk_tokens, tuple) else (engine.chunk_tokens,)
        prebuilt = {*engine.prebuilt_chunk_tokens, *(length for length in own_lengths if isinstance(length, int))}
        prebuilt = set(sorted(prebuilt & set(LENGTHS))[-self.max_chunk_graphs :])
        for name, parameter in self.parameters.items():
            if name.startswith("chunk "):
                known[name] = int(name.removeprefix("chunk ")) in prebuilt
            elif name in MOVABLE:
                known[name] = "npu" if engine.placement.processor(name) == "npu" else "as other"
            else:
                own = {
                    "pruning": engine.outlier_pruning_rate,
                    "float work": engine.placement.other,
                    "scheduler": engine.scheduler,
                    "decode": engine.decode_processor,
                }[name]
                known[name] = own if own in parameter.options or name == "pruning" else parameter.options[0]
        if "pruning" in known:
            known["pruning"] = min(known["pruning"], self.parameters["pruning"].options[-1])
        return known


def make_space(
    soc: SoC, llm: LLM, engine: Engine, *, max_chunk_graphs: int | None, max_accuracy_loss: float | None, keep: tuple[str, ...]
) -> Space:
    """Return what may be chosen.

    Parameters
    ----------
    soc, llm, engine, max_chunk_graphs, max_accuracy_loss
        As in `socsim.tuning.objective.Problem`.
    keep
        Groups that stay as the engine has them.

    Raises
    ------
    SocsimError
        No pruning rate loses so little.
    """
    processors = sorted(soc.processors)
    found: dict[str, Parameter] = {}
    if engine.static_shapes:
        found |= {f"chunk {n}": Parameter("chunks", (False, True)) for n in LENGTHS if n <= llm.max_position_embeddings}
    if engine.shadow_outliers:
        rate = 1.0 if max_accuracy_loss is None else largest_rate(engine, max_accuracy_loss)
        if rate is None:
            least = accuracy_loss(engine, 0.0)
            raise SocsimError(
                f"--max-accuracy-loss {max_accuracy_loss:g}: even without pruning {least:.3g} % is lost on the measured curve"
            )
        found["pruning"] = Parameter("pruning", (0.0, rate))
    if engine.placement.linears == "npu":
        found["float work"] = Parameter("placement", tuple(name for name in ("cpu", "gpu") if name in processors))
        found |= {name: Parameter("placement", ("as other", "npu")) for name in MOVABLE}
    # Policies that plan by simulation are no choice: each trial would wait for its plans.
    found["scheduler"] = Parameter("scheduler", tuple(name for name, policy in SCHEDULERS.items() if not plans(policy)))
    found["decode"] = Parameter("decode", tuple(processors))
    chosen = {name: each for name, each in found.items() if each.group not in keep}
    return Space(engine, chosen, len(LENGTHS) if max_chunk_graphs is None else max_chunk_graphs)
