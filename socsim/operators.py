"""What each operator of a transformer computes and moves: exact operations and bytes for a chunk at its place in the prompt.

One MAC is two operations. Element-wise operators count these operations an element: RMSNorm 4, LayerNorm 6, quantize 2,
dequantize 1, RoPE 3 (six for each rotated pair), softmax with scale and mask 5 a score, SiLU or GELU 5, gating product 1,
add 1. Attention is counted causally: a query meets the keys up to its own position, no masked ones, and at most a sliding
window. It is one fused operator: scores are made, normalized and used where they arise, and never reach memory.
"""

from __future__ import annotations

from functools import lru_cache

from socsim.graph import DATA_TYPE_BYTES, Operator
from socsim.specs import LINEARS, LLM, Engine

NORM_OPS = {"rmsnorm": 4, "layernorm": 6}
SOFTMAX_OPS = 5
NORM_BYTES = 2
"""Bytes of one norm weight, bias or group scale (fp16, as published checkpoints hold them)."""
INT32_BYTES = FP32_BYTES = 4
"""Bytes of a partial sum of one group, and of the float sum over groups, read and written as each is added."""
SHADOW_WEIGHT_BYTES = 4
"""Bytes of one resident float weight of an outlier channel (fp32, as the CPU multiplies them)."""


def causal_pairs(rows: int, offset: int, window: int | None) -> int:
    """Return the number of query-key pairs of `rows` queries that follow `offset` earlier tokens."""
    if window is None or offset + rows <= window:
        return rows * offset + rows * (rows + 1) // 2
    growing = max(0, min(rows, window - offset))
    return growing * offset + growing * (growing + 1) // 2 + (rows - growing) * window


def visible_keys(rows: int, offset: int, window: int | None) -> int:
    """Return the number of keys that any of `rows` queries behind `offset` tokens meets."""
    return offset + rows if window is None else min(offset + rows, window + rows - 1)


class OperatorModel:
    """Operators of one LLM under one engine's precision, by placement site.

    Parameters
    ----------
    llm
        Shape of the model.
    engine
        Precision and outlier settings.
    """

    def __init__(self, llm: LLM, engine: Engine) -> None:
        precision = engine.precision
        self.llm, self.engine, self.precision = llm, engine, precision
        self.activation_bytes = DATA_TYPE_BYTES[precision.activation_type]
        self.kv_bytes = DATA_TYPE_BYTES[precision.kv_cache_type]
        self.linear_input_bytes = DATA_TYPE_BYTES[precision.linear_type]
        self.site = lru_cache(maxsize=None)(self._site)

    def _site(self, name: str, rows: int, offset: int, count: int = 1) -> tuple[Operator, ...]:
        """Return the operators of one placement site.

        Parameters
        ----------
        name
            A site such as ``q_proj`` or ``attention``; ``shadow:LINEAR`` and ``merge:LINEAR`` for outlier work.
        rows
            Tokens, padding included.
        offset
            Tokens before them; only attention depends on it.
        count
            Executions, such as one for each block in a decode step.
        """
        head, _, linear = name.partition(":")
        if head == "shadow":
            return self._shadow(linear, rows)
        if head == "merge":
            size = rows * self._shape(linear)[1]
            return (self._vector(name, size, count, reads=2, ops=1),)
        if name in LINEARS or name == "lm_head":
            return self._linear(name, rows, count)
        builder = getattr(self, f"_{name}")
        result: tuple[Operator, ...] = builder(rows, offset, count)
        return result

    def _shape(self, linear: str) -> tuple[int, int]:
        """Input and output size of a linear, the LM head included."""
        if linear == "lm_head":
            return self.llm.hidden_size, self.llm.vocab_size
        return self.llm.linear_shapes[linear]

    def _vector(
        self, name: str, size: int, count: int, *, reads: int = 1, ops: int, writes: float = 1, weight_bytes: int = 0, kv_bytes: int = 0
    ) -> Operator:
        """Return an element-wise operator on `size` activations; `writes` is the output in activations an element."""
        unit = size * self.activation_bytes * count
        return Operator(
            name,
            "vector",
            self.precision.activation_type,
            ops=size * ops * count,
            input_bytes=reads * unit,
            output_bytes=int(writes * unit),
            weight_bytes=weight_bytes * count,
            kv_bytes=kv_bytes * count,
            count=count,
        )

    def _quantize(self, name: str, size: int, count: int) -> tuple[Operator, ...]:
        """Return the quantization of a linear's input, if the engine quantizes activations."""
        if not self.precision.quantized:
            return ()
        shrink = self.linear_input_bytes / self.activation_bytes
        return (self._vector(f"quantize_{name}", size, count, ops=2, writes=shrink),)

    def _dequantize(self, name: str, size: int, count: int) -> tuple[Operator, ...]:
        """Return the dequantization of a linear's output, if its product was quantized."""
        return (self._vector(f"dequantize_{name}", size, count, ops=1),) if self.precision.quantized else ()

    def weight_bytes(self, inner: int, columns: int) -> int:
        """Return the bytes of a weight matrix as stored, with an fp16 scale for each group where there are groups."""
        stored = inner * columns * self.precision.weight_bits // 8
        if self.precision.group_size is not None and self.precision.quantization == "per-group":
            stored += -(-inner // self.precision.group_size) * columns * NORM_BYTES
        return stored

    def _linear(self, name: str, rows: int, count: int) -> tuple[Operator, ...]:
        """Return a linear, with the dequantization of weights stored narrower and the float sums over groups."""
        inner, columns = self._shape(name)
        precision, macs = self.precision, rows * inner * columns
        bias = columns if self.llm.has_bias(name) else 0
        weights = inner * columns * count
        conversion_ops = conversion_bytes = 0
        if precision.weight_bits < 8 * self.linear_input_bytes:
            conversion_ops += weights
            conversion_bytes += weights * precision.weight_bits // 8 + weights * self.linear_input_bytes
        if precision.group_size is not None and precision.quantization == "per-group":
            partial_sums = rows * columns * -(-inner // precision.group_size) * count
            conversion_ops += 2 * partial_sums
            conversion_bytes += (INT32_BYTES + 2 * FP32_BYTES) * partial_sums
        return (
            Operator(
                name,
                "product",
                precision.linear_type,
                ops=(2 * macs + rows * bias) * count + conversion_ops,
                input_bytes=rows * inner * self.linear_input_bytes * count,
                output_bytes=rows * columns * self.activation_bytes * count,
                weight_bytes=(self.weight_bytes(inner, columns) + bias * NORM_BYTES) * count,
                rows=rows,
                inner=inner,
                columns=columns,
                macs=macs * count,
                count=count,
                weight_width=precision.weight_bits / (8 * self.linear_input_bytes),
                conversion_ops=conversion_ops,
                conversion_bytes=conversion_bytes,
            ),
        )

    def _norm(self, name: str, rows: int, count: int) -> Operator:
        return self._vector(
            name, rows * self.llm.hidden_size, count, ops=NORM_OPS[self.llm.norm], weight_bytes=self.llm.norm_size * NORM_BYTES
        )

    def _embedding(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = rows * self.llm.hidden_size
        return (self._vector("embedding", size, count, reads=0, ops=0, weight_bytes=size * self.precision.weight_bits // 8),)

    def _attn_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        return (self._norm("attn_norm", rows, count), *self._quantize("attn_norm", rows * self.llm.hidden_size, count))

    def _ffn_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        return (self._norm("ffn_norm", rows, count), *self._quantize("ffn_norm", rows * self.llm.hidden_size, count))

    def _final_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        return (self._norm("final_norm", rows, count), *self._quantize("final_norm", rows * self.llm.hidden_size, count))

    def _rope(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        llm = self.llm
        rotated = round(rows * (llm.query_size + llm.key_value_size) * llm.partial_rotary_factor)
        return (
            *self._dequantize("qkv", rows * (llm.query_size + 2 * llm.key_value_size), count),
            self._vector("rope", rotated, count, ops=3),
        )

    def _kv_append(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = 2 * rows * self.llm.key_value_size
        return (self._vector("kv_append", size, count, ops=0, writes=0, kv_bytes=size * self.kv_bytes),)

    def _attention(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        llm = self.llm
        pairs = causal_pairs(rows, offset, llm.sliding_window) * llm.num_attention_heads * count
        keys = visible_keys(rows, offset, llm.sliding_window)
        ops = pairs * (4 * llm.head_dim + SOFTMAX_OPS)
        queries = rows * llm.query_size * self.activation_bytes * count
        return (
            Operator(
                "attention",
                "attention",
                self.precision.activation_type,
                ops=ops,
                input_bytes=queries,
                output_bytes=queries,
                kv_bytes=2 * keys * llm.key_value_size * self.kv_bytes * count,
                rows=rows,
                inner=llm.query_size,
                columns=keys,
                macs=ops // 2,
                count=count,
            ),
            *self._quantize("attention", rows * llm.query_size, count),
        )

    def _attn_residual(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = rows * self.llm.hidden_size
        return (*self._dequantize("o_proj", size, count), self._vector("attn_residual", size, count, reads=2, ops=1))

    def _ffn_residual(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = rows * self.llm.hidden_size
        return (*self._dequantize("down_proj", size, count), self._vector("ffn_residual", size, count, reads=2, ops=1))

    def _activation(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        gated = self.llm.gated_ffn
        size = rows * self.llm.intermediate_size
        inputs = 2 if gated else 1
        return (
            *self._dequantize("up", size * inputs, count),
            self._vector("activation", size, count, reads=inputs, ops=6 if gated else 5),
            *self._quantize("activation", size, count),
        )

    def _shadow(self, linear: str, rows: int) -> tuple[Operator, ...]:
        """Return the float product of a linear's outlier channels: gather, fetch of cold weights, compact product."""
        inner, columns = self._shape(linear)
        channels = min(self.engine.outlier_channels, inner)
        fetched = round(channels * self.engine.cold_outlier_fraction * columns * SHADOW_WEIGHT_BYTES)
        macs = rows * channels * columns
        return (
            Operator(
                f"gather_{linear}",
                "vector",
                "fp32",
                ops=2 * rows * inner,
                input_bytes=rows * inner * self.activation_bytes,
                output_bytes=rows * channels * FP32_BYTES,
            ),
            Operator(f"fetch_{linear}", "fetch", "fp32", ops=0, weight_bytes=fetched),
            Operator(
                f"shadow_{linear}",
                "product",
                "fp32",
                ops=2 * macs,
                input_bytes=rows * channels * FP32_BYTES,
                output_bytes=rows * columns * self.activation_bytes,
                weight_bytes=channels * columns * SHADOW_WEIGHT_BYTES,
                rows=rows,
                inner=channels,
                columns=columns,
                macs=macs,
            ),
        )
