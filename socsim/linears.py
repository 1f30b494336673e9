"""Matrix products of a transformer with their weights: linears, the LM head, and the float products of outlier channels."""

from __future__ import annotations

from socsim.graph import DATA_TYPE_BYTES, Operator
from socsim.specs import LLM, Engine

FLOAT_BITS = 16
"""Bits from which stored weights are floats."""
NORM_BYTES = 2
"""Bytes of one norm weight, bias or group scale (fp16, as published checkpoints hold them)."""
FP32_BYTES = 4
SHADOW_WEIGHT_BYTES = 4
"""Bytes of one resident float weight of an outlier channel (fp32, as the CPU multiplies them)."""


class Linears:
    """Products of one LLM under one engine's precision and outlier settings."""

    def __init__(self, llm: LLM, engine: Engine) -> None:
        self.llm, self.engine, self.precision = llm, engine, engine.precision
        self.activation_bytes = DATA_TYPE_BYTES[self.precision.activation_type]
        self.linear_input_bytes = DATA_TYPE_BYTES[self.precision.linear_type]

    def _shape(self, linear: str) -> tuple[int, int]:
        """Input and output size of a linear, the LM head included."""
        if linear == "lm_head":
            return self.llm.hidden_size, self.llm.vocab_size
        return self.llm.linear_shapes[linear]

    @property
    def head_weight_bytes(self) -> int:
        """Bytes of the LM head as stored: those of the embedding where it is tied to it."""
        size = self.llm.hidden_size, self.llm.vocab_size
        return self.embedding_bytes(size[0] * size[1]) if self.float_head else self.weight_bytes(*size)

    @property
    def float_head(self) -> bool:
        """Whether the LM head is a tied embedding that is stored as floats."""
        return self.llm.tie_word_embeddings and self.precision.stored_embedding_bits >= FLOAT_BITS

    def embedding_bytes(self, size: int) -> int:
        """Return the bytes of some elements of the token embedding as stored."""
        return size * self.precision.stored_embedding_bits // 8

    def weight_bytes(self, inner: int, columns: int) -> int:
        """Return the bytes of a linear's weights as stored, with an fp16 scale for each group where there are groups."""
        stored = inner * columns * self.precision.weight_bits // 8
        if self.precision.group_size is not None and self.precision.quantization == "per-group":
            stored += -(-inner // self.precision.group_size) * columns * NORM_BYTES
        return stored

    def _linear(self, name: str, rows: int, count: int) -> tuple[Operator, ...]:
        """Return a linear, with the dequantization of weights stored narrower and the float sums over groups."""
        inner, columns = self._shape(name)
        if name == "lm_head" and self.float_head:
            return (self._float_product(name, rows, inner, columns, count),)
        precision, macs = self.precision, rows * inner * columns
        bias = columns if self.llm.has_bias(name) else 0
        weights = inner * columns * count
        groups, conversion_ops, conversion_bytes = 1, 0, 0
        if precision.weight_bits < 8 * self.linear_input_bytes:
            conversion_ops += weights
            conversion_bytes += weights * precision.weight_bits // 8 + weights * self.linear_input_bytes
        if precision.group_size is not None and precision.quantization == "per-group":
            groups = -(-inner // precision.group_size)
            partial_sums = rows * columns * groups * count
            conversion_ops += 2 * partial_sums
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
                groups=groups,
                conversion_ops=conversion_ops,
                conversion_bytes=conversion_bytes,
            ),
        )

    def _float_product(self, name: str, rows: int, inner: int, columns: int, count: int) -> Operator:
        """Return a product with the token embedding in floats."""
        macs = rows * inner * columns * count
        bias = columns if self.llm.has_bias(name) else 0
        return Operator(
            name,
            "product",
            {16: "fp16", 32: "fp32"}[self.precision.stored_embedding_bits],
            ops=2 * macs + rows * bias * count,
            input_bytes=rows * inner * self.activation_bytes * count,
            output_bytes=rows * columns * self.activation_bytes * count,
            weight_bytes=(self.embedding_bytes(inner * columns) + bias * NORM_BYTES) * count,
            rows=rows,
            inner=inner,
            columns=columns,
            macs=macs,
            count=count,
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
