"""Description of a runtime engine: chunks, precision, placement, outliers, graphs, synchronization, scheduler, decode."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from socsim.specs.base import Count, DataType, Fraction, NonNegativeCount, Positive, ProcessorName, Spec

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

OperatorName = Literal[
    "embedding", "attn_norm", "q_proj", "k_proj", "v_proj", "rope", "kv_append", "attention", "o_proj", "attn_residual",
    "ffn_norm", "gate_proj", "up_proj", "activation", "down_proj", "ffn_residual", "final_norm", "lm_head",
]  # fmt: skip


class Precision(Spec):
    """Number formats of weights, products, activations and the KV cache."""

    linear_type: DataType = Field(description="data type in which linears are multiplied")
    weight_bits: Literal[4, 8, 16] = Field(description="bits in which weights are stored; fewer than the product's are dequantized")
    quantization: Literal["per-tensor", "per-group", "none"]
    group_size: Count | None = Field(None, description="weights that share one scale; needed with per-group quantization")
    weight_scales: Literal["tensor", "channel"] = Field(
        "tensor", description="scales of per-tensor weights: one, or one for each output channel; of no effect on time"
    )
    embedding_bits: Literal[4, 8, 16, 32] | None = Field(
        None, description="bits of the token embedding, and of an LM head that is tied to it; none: weight_bits"
    )
    activation_type: DataType = "fp16"
    kv_cache_type: DataType = "fp16"

    @model_validator(mode="after")
    def _check_quantization(self) -> Self:
        if (self.linear_type == "int8") == (self.quantization == "none"):
            raise ValueError(
                f"quantization '{self.quantization}' does not go with linear_type '{self.linear_type}'; "
                "int8 needs per-tensor or per-group, float needs none"
            )
        stored, multiplied = self.weight_bits, {"int8": 8, "fp16": 16, "fp32": 32}[self.linear_type]
        if stored > multiplied:
            raise ValueError(f"weight_bits {stored} exceeds the {multiplied} bits of linear_type '{self.linear_type}'")
        if self.quantization == "per-group" and self.group_size is None:
            raise ValueError("quantization 'per-group' needs a group_size")
        return self

    @property
    def stored_embedding_bits(self) -> int:
        """Bits in which the token embedding is stored."""
        return self.embedding_bits or self.weight_bits

    @property
    def quantized(self) -> bool:
        """Whether activations are quantized before each linear."""
        return self.quantization != "none"


class Placement(Spec):
    """Which processor runs each operator; what is not listed follows its class."""

    linears: ProcessorName = Field(description="the seven linears of a block")
    other: ProcessorName = Field(description="everything else")
    operators: dict[OperatorName, ProcessorName] = Field(default_factory=dict, description="exceptions, by operator")
    alternatives: dict[OperatorName, tuple[ProcessorName, ...]] = Field(
        default_factory=dict, description="other processors that may run an operator, for schedulers that place subgraphs"
    )

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        for operator, others in self.alternatives.items():
            if operator in (*LINEARS, "lm_head"):
                raise ValueError(f"alternatives.{operator}: a linear has none, as its weights would be in memory for each processor")
            if self.processor(operator) in others:
                raise ValueError(f"alternatives.{operator} names the {self.processor(operator)}, where {operator} runs anyway")
            if len(set(others)) != len(others):
                raise ValueError(f"alternatives.{operator} names a processor twice: {', '.join(others)}")
        return self

    def processor(self, operator: str) -> str:
        """Return the processor that runs an operator."""
        listed: str | None = self.operators.get(operator)  # type: ignore[call-overload]
        return listed or (self.linears if operator in LINEARS else self.other)


class Efficiency(Spec):
    """How fast an engine's kernels are on one processor, over the rates of the SoC file."""

    linear: Positive = Field(1.0, description="products of several rows: multiplications, and weights unless they have their own")
    weights: Positive | None = Field(None, description="bringing weights in for products of several rows; none: as linear")
    row: Positive = Field(1.0, description="products of one row, as in decode")
    attention: Positive = Field(1.0, description="attention")


def _chunk_tokens_kind(value: Any) -> str:
    """Return which alternative of `ChunkTokens` a value is meant to be, so that an error is about that one alone."""
    return "[plan]" if isinstance(value, (list, tuple)) else "[length]"  # in brackets as pydantic's own marks, which no error path shows


ChunkTokens = Annotated[
    Annotated[Count | Literal["auto", "prompt"], Tag("[length]")] | Annotated[tuple[Count, ...], Field(min_length=1), Tag("[plan]")],
    Discriminator(_chunk_tokens_kind),
]
"""Tokens of every chunk, a word that stands for them, or the tokens of each chunk in order."""


class Engine(Spec):
    """A runtime engine as data."""

    name: str
    description: str = ""
    chunk_tokens: ChunkTokens = Field(
        description="tokens of a chunk, or of each in order; auto: the prebuilt lengths with the least TTFT; prompt: one chunk"
    )
    prebuilt_chunk_tokens: tuple[Count, ...] = Field((), description="chunk lengths whose graphs are built in advance")
    graph: Literal["shared", "per-chunk", "rebuilt", "none"] = Field(
        description="static graphs: shared by chunks, one set a chunk, rebuilt for each prompt, or not static"
    )
    precision: Precision
    placement: Placement
    merge_adjacent: bool = Field(False, description="neighboring stages on one processor become one subgraph")
    shadow_outliers: bool = Field(False, description="compute outlier channels in float beside the int8 product")
    outlier_pruning_rate: Fraction = Field(1.0, description="share of linears, least important first, whose outliers get no shadow work")
    smoothing: Fraction | None = Field(
        None, description="exponent of activations in smoothing factors, folded into weights; linears are then ranked after it; none: none"
    )
    pruned_fallback: Literal["max-abs", "clip"] = Field(
        "max-abs", description="scale of a linear whose outliers are pruned: its largest input's, or a kept one's, which cuts outliers off"
    )
    outlier_channels: NonNegativeCount = Field(0, description="outlier channels of one linear in one chunk")
    hot_channel_fraction: Fraction = Field(0.0, description="share of channels whose float weights stay in memory")
    cold_outlier_fraction: Fraction = Field(0.0, description="share of outliers in other channels, fetched from flash")
    efficiency: dict[ProcessorName, Efficiency] = Field(default_factory=dict, description="kernels over the SoC's rates; not listed: 1")
    square_inputs: bool = Field(True, description="rows lie near-square for the NPU, which is faster than in one line")
    synchronization: str = Field(description="mechanism of the SoC by which processors hand tensors over")
    scheduler: str
    cpu_threads: Count | None = Field(None, description="threads of CPU work; none: those at which the SoC's rates were measured")
    decode_processor: ProcessorName = "cpu"

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.shadow_outliers and self.precision.quantization != "per-tensor":
            raise ValueError("shadow_outliers needs precision.quantization 'per-tensor'")
        if self.shadow_outliers and not self.outlier_channels:
            raise ValueError("shadow_outliers needs outlier_channels above 0")
        if self.chunk_tokens == "auto" and not self.prebuilt_chunk_tokens:
            raise ValueError("chunk_tokens 'auto' needs prebuilt_chunk_tokens to choose from")
        if list(self.prebuilt_chunk_tokens) != sorted(set(self.prebuilt_chunk_tokens)):
            raise ValueError(f"prebuilt_chunk_tokens should rise, not {list(self.prebuilt_chunk_tokens)}")
        return self

    @property
    def static_shapes(self) -> bool:
        """Whether chunks are padded to the length for which a graph was built."""
        return self.graph != "none"

    @property
    def processors(self) -> tuple[str, ...]:
        """Processors that the engine uses, or may use, sorted by name."""
        placement, shadow = self.placement, {"cpu"} if self.shadow_outliers else set()
        others = {name for names in placement.alternatives.values() for name in names}
        return tuple(sorted({placement.linears, placement.other, *placement.operators.values(), *others, self.decode_processor, *shadow}))
