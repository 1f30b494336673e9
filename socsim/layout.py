"""The subgraphs that every chunk has in common: stages split and merged by placement, with shadow-outlier work."""

from __future__ import annotations

from dataclasses import dataclass, field

from socsim.outliers import kept_linears
from socsim.specs import LINEARS, LLM, Engine

STAGES: dict[str, tuple[str, ...]] = {
    "attn_norm": ("attn_norm",),
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "attention": ("rope", "kv_append", "attention"),
    "o_proj": ("o_proj", "attn_residual"),
    "ffn_norm": ("ffn_norm",),
    "ffn": ("gate_proj", "up_proj", "activation", "down_proj", "ffn_residual"),
}
"""The six subgraphs of a block and the placement sites in each."""

CONSUMER = {"q_proj": "rope", "k_proj": "rope", "v_proj": "rope", "gate_proj": "activation", "up_proj": "activation"}
"""Site that consumes the result of a linear which reads its stage's input, and so runs the merge of its shadow."""

PRODUCERS = {
    "q_proj": ("attn_norm",), "k_proj": ("attn_norm",), "v_proj": ("attn_norm",), "o_proj": ("attention",),
    "gate_proj": ("ffn_norm", "attn_norm"), "up_proj": ("ffn_norm", "attn_norm"), "down_proj": ("activation",), "lm_head": ("final_norm",),
}  # fmt: skip
"""Sites of which one makes the left operand of a linear."""


@dataclass(slots=True)
class LayoutTask:
    """One subgraph of a chunk before it is tied to a chunk; dependencies are places in the chunk."""

    stage: str
    block: int
    processor: str
    sites: list[str]
    needs: set[int] = field(default_factory=set)
    keys_of: set[int] = field(default_factory=set)
    """Places whose work in this and all earlier chunks must be done (producers of keys and values)."""
    open_end: bool = True
    """Whether the next stage may be merged into this subgraph."""


class ChunkLayout:
    """The subgraphs that every chunk has in common, in the order block, stage."""

    def __init__(self, llm: LLM, engine: Engine) -> None:
        self.llm, self.engine = llm, engine
        self.kept = kept_linears(llm, engine)
        self.tasks: list[LayoutTask] = []
        stream: set[int] = set()
        for block in range(llm.num_hidden_layers):
            stream = self._block(block, stream)
        self.result = stream

    def _block(self, block: int, stream: set[int]) -> set[int]:
        """Add one block behind the residual stream; return what the next one needs."""
        normalized = self._stage("attn_norm", block, stream)
        heads = self._stage("qkv", block, normalized)
        attention = self._stage("attention", block, heads)
        projected = self._stage("o_proj", block, attention)
        if self.llm.parallel_block:
            return projected | self._stage("ffn", block, normalized)
        return self._stage("ffn", block, self._stage("ffn_norm", block, projected))

    def _sites(self, stage: str, block: int) -> list[str]:
        """Return the placement sites of a stage; the embedding belongs to the first normalization."""
        linears = self.llm.linear_shapes
        sites = [site for site in STAGES[stage] if site not in LINEARS or site in linears]
        return ["embedding", *sites] if stage == "attn_norm" and block == 0 else sites

    def _stage(self, stage: str, block: int, inputs: set[int]) -> set[int]:
        """Add one stage as runs of sites on one processor, with shadow work; return what follows needs.

        Q, K, V, gate and up read the stage's input, whatever stands before them; every other site needs all before it.
        """
        runs, results = self._runs(stage, block), set[int]()
        for sites in runs:
            side_by_side = all(site in CONSUMER for site in sites)
            needs = inputs if side_by_side or not results else results | (inputs if sites[0] in CONSUMER else set())
            kept = [site for site in sites if (block, site) in self.kept]
            keys = stage == "attention" and sites is runs[0]
            place = self._add(self._name(stage, sites, len(runs)), block, sites, needs, kept, keys=keys)
            done = self._merged(block, place, sites, kept, inputs if side_by_side else needs) if kept else {place}
            results = results | done if side_by_side else done
        return results

    def _merged(self, block: int, place: int, sites: list[str], kept: list[str], needs: set[int]) -> set[int]:
        """Add shadows and merges of the linears that a run keeps; return what follows the run needs."""
        self.tasks[place].open_end = False
        merges = {self._shadow(linear, block, place, needs) for linear in kept}
        keys = {"k_proj", "v_proj"} & set(sites)
        return merges | {place} if keys and not keys & set(kept) else merges

    def _runs(self, stage: str, block: int) -> list[list[str]]:
        """Split a stage where the processor changes, and where shadow work needs an input or a merge inside it."""
        runs: list[list[str]] = []
        before_merge = {(block, "gate_proj"), (block, "up_proj")} & self.kept
        for site in self._sites(stage, block):
            split = (site == "down_proj" and (block, site) in self.kept) or (site == "activation" and before_merge)
            same = runs and self._processor(runs[-1][-1]) == self._processor(site)
            if same and not split:
                runs[-1].append(site)
            else:
                runs.append([site])
        return runs

    def _name(self, stage: str, sites: list[str], parts: int) -> str:
        """Name a run of sites: the stage, or a part of it."""
        if parts == 1:
            return stage
        return f"{stage}_{'up' if 'up_proj' in sites else 'down' if 'down_proj' in sites else sites[0]}"

    def _processor(self, site: str) -> str:
        return self.engine.placement.processor(site)

    def _add(self, stage: str, block: int, sites: list[str], needs: set[int], kept: list[str], *, keys: bool) -> int:
        """Add a subgraph, or merge it into the one before where the engine does so; return its place."""
        processor = self._processor(sites[0])
        last = self.tasks[-1] if self.tasks else None
        if self.engine.merge_adjacent and last and last.open_end and last.processor == processor and not kept:
            place = len(self.tasks) - 1
            last.stage += f"+{stage}"
            last.sites += sites
        else:
            place = len(self.tasks)
            self.tasks.append(LayoutTask(stage, block, processor, list(sites)))
        task = self.tasks[place]
        if keys:
            self._need_keys(task, needs)
        task.needs |= needs - {place}
        return place

    def _need_keys(self, task: LayoutTask, producers: set[int]) -> None:
        """Make attention wait for the keys and values of all chunks; Q is needed of its own chunk only."""
        task.keys_of |= {
            place for place in producers if {"k_proj", "v_proj", "merge:k_proj", "merge:v_proj"} & set(self.tasks[place].sites)
        }

    def _shadow(self, linear: str, block: int, place: int, needs: set[int]) -> int:
        """Add the shadow and the merge of one kept linear; return the place of the merge."""
        consumer = CONSUMER.get(linear)
        if consumer is None:
            following = "ffn_norm" if linear == "o_proj" and not self.llm.parallel_block else "attn_norm"
            consumer = "final_norm" if following == "attn_norm" and block + 1 == self.llm.num_hidden_layers else following
        shadow = len(self.tasks)
        self.tasks.append(LayoutTask(f"shadow_{linear}", block, "cpu", [f"shadow:{linear}"], set(needs), open_end=False))
        self.tasks.append(
            LayoutTask(f"merge_{linear}", block, self._processor(consumer), [f"merge:{linear}"], {place, shadow}, open_end=False)
        )
        return shadow + 1
