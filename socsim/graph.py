"""Operators, subgraphs and the task graph that schedulers and the simulator work on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError

DATA_TYPE_BYTES = {"int8": 1, "fp16": 2, "fp32": 4}
"""Bytes of one element of each data type."""

OperatorKind = Literal["product", "attention", "vector", "fetch"]
"""product: a linear; attention: scores, softmax and weighted sum; vector: element-wise; fetch: a read from flash."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: what it computes and which bytes it touches, for all of its `count` executions together.

    `rows`, `inner` and `columns` are M, K and N of one matrix product, of which there are `count`; attention's `macs` are
    half its operations, those of its softmax included and those of masked pairs not. Inputs and outputs are activations.
    A product is made of `groups` sub-products along K. Conversions are the dequantization of narrow weights and the float sums
    over groups; their bytes are those of the weights, as the sums stay on chip.
    """

    name: str
    kind: OperatorKind
    data_type: str
    ops: int
    input_bytes: int = 0
    output_bytes: int = 0
    weight_bytes: int = 0
    kv_bytes: int = 0
    rows: int = 1
    inner: int = 1
    columns: int = 1
    macs: int = 0
    count: int = 1
    groups: int = 1
    conversion_ops: int = 0
    conversion_bytes: int = 0
    enters: bool = False
    """Whether a product's left operand comes from outside the subgraph."""
    leaves: bool = False
    """Whether the output leaves the subgraph though other operators follow, as Q and K leave ``qkv``; the last one's always does."""


class Work:
    """The operators of a subgraph; subgraphs that do the same share one `Work`, as chunks share graphs."""

    def __init__(self, operators: tuple[Operator, ...]) -> None:
        self.operators = operators

    @cached_property
    def ops(self) -> int:
        """Operations of all operators."""
        return sum(operator.ops for operator in self.operators)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights read."""
        return sum(operator.weight_bytes for operator in self.operators)

    @cached_property
    def kv_bytes(self) -> int:
        """Bytes of KV cache read and written."""
        return sum(operator.kv_bytes for operator in self.operators)

    @cached_property
    def activation_bytes(self) -> int:
        """Bytes of activations that operators read and write, wherever they lie."""
        return sum(operator.input_bytes + operator.output_bytes for operator in self.operators)

    @cached_property
    def output_bytes(self) -> int:
        """Bytes handed to other subgraphs."""
        inside = sum(operator.output_bytes for operator in self.operators[:-1] if operator.leaves)
        return inside + (self.operators[-1].output_bytes if self.operators else 0)

    @cached_property
    def outer_bytes(self) -> int:
        """Bytes of weights, KV cache, input and output: what moves from and to DRAM whatever the size of on-chip memory."""
        return self.weight_bytes + self.kv_bytes + self.output_bytes + (self.operators[0].input_bytes if self.operators else 0)


class Subgraph(NamedTuple):
    """One unit of scheduling: a run of operators on one processor for one chunk and block."""

    stage: str
    """What it does, such as ``qkv`` or ``shadow_down_proj``."""
    chunk: int
    """Chunk of the prompt, from 0; decode steps count on from the last."""
    block: int
    """Transformer block; final norm, LM head and decode steps stand behind the last."""
    position: int
    """Place in the order block, stage of its chunk."""
    processor: str
    work: Work
    sites: tuple[str, ...] = ()
    """Placement sites that it computes, in order, such as ``q_proj``, ``shadow:q_proj`` or ``merge:q_proj``; none for decode steps."""


class Prefix(NamedTuple):
    """A dependency on chunks 0 to i without an edge for each: member j is the work of chunk j.

    `waiters[i]` are the subgraphs that need members 0 to i.
    """

    members: tuple[int, ...]
    waiters: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class TaskGraph:
    """Subgraphs in topological order with their dependencies; a subgraph is named by its index.

    Parameters
    ----------
    subgraphs
        Prefill first, by chunk, block and stage; then the decode steps.
    predecessors
        For each subgraph the subgraphs that it needs, apart from prefixes.
    prefixes
        Dependencies on all earlier chunks.
    prefill_count
        Number of subgraphs of the prefill.

    Raises
    ------
    SocsimError
        An index is out of range, a dependency does not stand before its consumer, or a prefix is malformed.
    """

    subgraphs: tuple[Subgraph, ...]
    predecessors: tuple[tuple[int, ...], ...]
    prefixes: tuple[Prefix, ...] = ()
    prefill_count: int = -1

    def __post_init__(self) -> None:
        if self.prefill_count < 0:
            object.__setattr__(self, "prefill_count", len(self.subgraphs))
        self._check_predecessors()
        members = [member for prefix in self.prefixes for member in prefix.members]
        if len(set(members)) != len(members):
            raise SocsimError("task graph: a subgraph is a member of two prefixes")
        for prefix in self.prefixes:
            self._check_prefix(prefix)
        self._check_needed_once()

    def _check_predecessors(self) -> None:
        if len(self.predecessors) != len(self.subgraphs):
            raise SocsimError(f"task graph: {len(self.subgraphs)} subgraphs but {len(self.predecessors)} lists of predecessors")
        for index, needed in enumerate(self.predecessors):
            for other in needed:
                if not 0 <= other < index:
                    raise SocsimError(f"task graph: subgraph {index} needs {other}, which does not stand before it")
            if len(set(needed)) != len(needed):
                raise SocsimError(f"task graph: subgraph {index} names a predecessor twice")

    def _check_needed_once(self) -> None:
        for waiter, needed in self.prefixes_needed.items():
            for p, rank in needed:
                for other in self.predecessors[waiter]:
                    prefix, place = self.prefix_of.get(other, (-1, 0))
                    if prefix == p and place <= rank:
                        raise SocsimError(f"task graph: subgraph {waiter} needs {other} both directly and through a prefix")

    def _check_prefix(self, prefix: Prefix) -> None:
        if len(prefix.members) != len(prefix.waiters):
            raise SocsimError("task graph: a prefix needs one tuple of waiters for each member")
        if len({self.subgraphs[member].processor for member in prefix.members if 0 <= member < len(self.subgraphs)}) > 1:
            raise SocsimError("task graph: the members of a prefix should run on one processor, from which they are handed over")
        latest = -1
        for member, waiters in zip(prefix.members, prefix.waiters, strict=True):
            latest = max(latest, member)
            if not 0 <= member < len(self.subgraphs):
                raise SocsimError(f"task graph: prefix member {member} is no subgraph")
            for waiter in waiters:
                if not latest < waiter < len(self.subgraphs):
                    raise SocsimError(f"task graph: subgraph {waiter} waits for a prefix up to {latest}, which does not stand before it")

    def __len__(self) -> int:
        return len(self.subgraphs)

    @cached_property
    def processors(self) -> tuple[str, ...]:
        """Names of the processors in use, sorted, so that no result depends on the order in which a file lists them."""
        return tuple(sorted({subgraph.processor for subgraph in self.subgraphs}))

    @cached_property
    def processor_index(self) -> list[int]:
        """For each subgraph the place of its processor in `processors`."""
        place = {name: index for index, name in enumerate(self.processors)}
        return [place[subgraph.processor] for subgraph in self.subgraphs]

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """`processor_index` as an array, of shape (subgraphs,)."""
        return np.array(self.processor_index, dtype=np.int64)

    @cached_property
    def prefill_positions(self) -> dict[str, int]:
        """For each processor the number of places in a chunk where it has a subgraph of the prefill: its graphs of one chunk length."""
        found: dict[str, set[int]] = {name: set() for name in self.processors}
        for subgraph in self.subgraphs[: self.prefill_count]:
            found[subgraph.processor].add(subgraph.position)
        return {name: len(positions) for name, positions in found.items()}

    @cached_property
    def successors(self) -> list[list[int]]:
        """For each subgraph those that need it directly, apart from prefixes, in rising order."""
        result: list[list[int]] = [[] for _ in self.subgraphs]
        for index, needed in enumerate(self.predecessors):
            for other in needed:
                result[other].append(index)
        return result

    @cached_property
    def kinds(self) -> tuple[tuple[tuple[Work, str], ...], NDArray[np.intp]]:
        """Work that is done, each with its processor, once for all subgraphs that do it; and for each subgraph the place of its own."""
        places: dict[tuple[int, str], int] = {}
        index = [places.setdefault((id(each.work), each.processor), len(places)) for each in self.subgraphs]
        firsts = np.unique(np.array(index, dtype=np.intp), return_index=True)[1].tolist()
        return tuple((self.subgraphs[first].work, self.subgraphs[first].processor) for first in firsts), np.array(index, dtype=np.intp)

    @cached_property
    def foreign_consumers(self) -> NDArray[np.int64]:
        """For each subgraph the number of other processors that consume its result, of shape (subgraphs,)."""
        processor = self.processor_index
        targets: list[set[int]] = [set() for _ in processor]
        for index, needed in enumerate(self.predecessors):
            for other in needed:
                if processor[other] != processor[index]:
                    targets[other].add(processor[index])
        for prefix in self.prefixes:
            waiting = {processor[waiter] for waiters in prefix.waiters for waiter in waiters}
            for member in prefix.members:
                targets[member] |= waiting - {processor[member]}
        return np.array([len(found) for found in targets], dtype=np.int64)

    @cached_property
    def missing(self) -> list[int]:
        """For each subgraph the number of direct predecessors and prefixes that it waits for."""
        result = [len(needed) for needed in self.predecessors]
        for prefix in self.prefixes:
            for waiters in prefix.waiters:
                for waiter in waiters:
                    result[waiter] += 1
        return result

    @cached_property
    def prefix_of(self) -> dict[int, tuple[int, int]]:
        """For each prefix member its prefix and its place in it."""
        return {m: (p, rank) for p, prefix in enumerate(self.prefixes) for rank, m in enumerate(prefix.members)}

    @cached_property
    def prefixes_needed(self) -> dict[int, list[tuple[int, int]]]:
        """For each waiter its prefixes, each with the place of the last member needed."""
        result: dict[int, list[tuple[int, int]]] = {}
        for p, prefix in enumerate(self.prefixes):
            for rank, waiters in enumerate(prefix.waiters):
                for waiter in waiters:
                    result.setdefault(waiter, []).append((p, rank))
        return result

    def all_predecessors(self, index: int) -> Iterator[int]:
        """Yield every subgraph that must end before this one starts, prefixes written out."""
        yield from self.predecessors[index]
        for p, rank in self.prefixes_needed.get(index, ()):
            yield from self.prefixes[p].members[: rank + 1]
