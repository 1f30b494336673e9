"""What each operator of a transformer computes and moves: exact operations and bytes for a chunk at its place in the prompt.

One MAC is two operations. Element-wise operators count these operations an element: RMSNorm 4, LayerNorm 6, quantize 2,
dequantize 1, RoPE 3 (six for each rotated pair), softmax with scale and mask 5 a score, SiLU or GELU 5, gating product 1,
add 1. Attention is counted causally: a query meets the keys up to its own position, no masked ones, and at most a sliding
window. It is one fused operator: scores are made, normalized and used where they arise, and never reach memory.
"""

from __future__ import annotations

from functools import lru_cache

from socsim.graph import DATA_TYPE_BYTES, Operator
from socsim.linears import NORM_BYTES, Linears
from socsim.specs import LINEARS, LLM, Engine

NORM_OPS = {"rmsnorm": 4, "layernorm": 6}
SOFTMAX_OPS = 5


def causal_pairs(rows: int, offset: int, window: int | None) -> int:
    """Return the number of query-key pairs of `rows` queries that follow `offset` earlier tokens."""
    if window is None or offset + rows <= window:
        return rows * offset + rows * (rows + 1) // 2
    growing = max(0, min(rows, window - offset))
    return growing * offset + growing * (growing + 1) // 2 + (rows - growing) * window


def visible_keys(rows: int, offset: int, window: int | None) -> int:
    """Return the number of keys that any of `rows` queries behind `offset` tokens meets."""
    return offset + rows if window is None else min(offset + rows, window + rows - 1)


class OperatorModel(Linears):
    """Operators of one LLM under one engine's precision, by placement site.

    Parameters
    ----------
    llm
        Shape of the model.
    engine
        Precision and outlier settings.
    """

    def __init__(self, llm: LLM, engine: Engine) -> None:
        super().__init__(llm, engine)
        self.kv_bytes = DATA_TYPE_BYTES[self.precision.kv_cache_type]
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

    def _dequantize(self, name: str, consumer: str, size: int, count: int) -> tuple[Operator, ...]:
        """Return the dequantization of a linear's output, if its product was quantized on another processor than its consumer.

        On its own processor a product writes floats: its last step scales what it has summed.
        """
        place = self.engine.placement.processor
        if not self.precision.quantized or place(name) == place(consumer):
            return ()
        return (self._vector(f"dequantize_{name}", size, count, ops=1),)

    def _norm(self, name: str, rows: int, count: int) -> Operator:
        return self._vector(
            name, rows * self.llm.hidden_size, count, ops=NORM_OPS[self.llm.norm], weight_bytes=self.llm.norm_size * NORM_BYTES
        )

    def _embedding(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = rows * self.llm.hidden_size
        return (self._vector("embedding", size, count, reads=0, ops=0, weight_bytes=self.embedding_bytes(size)),)

    def _attn_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        return (self._norm("attn_norm", rows, count), *self._quantize("attn_norm", rows * self.llm.hidden_size, count))

    def _ffn_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        return (self._norm("ffn_norm", rows, count), *self._quantize("ffn_norm", rows * self.llm.hidden_size, count))

    def _final_norm(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        quantize = () if self.float_head else self._quantize("final_norm", rows * self.llm.hidden_size, count)
        return (self._norm("final_norm", rows, count), *quantize)

    def _rope(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        llm = self.llm
        rotated = round(rows * (llm.query_size + llm.key_value_size) * llm.partial_rotary_factor)
        return (
            *self._dequantize("q_proj", "rope", rows * llm.query_size, count),
            *self._dequantize("k_proj", "rope", rows * llm.key_value_size, count),
            *self._dequantize("v_proj", "rope", rows * llm.key_value_size, count),
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
        return (*self._dequantize("o_proj", "attn_residual", size, count), self._vector("attn_residual", size, count, reads=2, ops=1))

    def _ffn_residual(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        size = rows * self.llm.hidden_size
        return (*self._dequantize("down_proj", "ffn_residual", size, count), self._vector("ffn_residual", size, count, reads=2, ops=1))

    def _activation(self, rows: int, offset: int, count: int) -> tuple[Operator, ...]:
        gated = self.llm.gated_ffn
        size = rows * self.llm.intermediate_size
        inputs = 2 if gated else 1
        return (
            *(self._dequantize("gate_proj", "activation", size, count) if gated else ()),
            *self._dequantize("up_proj", "activation", size, count),
            self._vector("activation", size, count, reads=inputs, ops=6 if gated else 5),
            *self._quantize("activation", size, count),
        )
