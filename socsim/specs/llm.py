"""Shape of a decoder-only language model, read from a Hugging Face ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from socsim.errors import SocsimError, did_you_mean
from socsim.specs.base import Count, Fraction, Positive, Spec, validate

FAMILIES = ("gemma", "llama", "mistral", "phi", "qwen2")


class LLM(Spec):
    """Shape of a decoder-only transformer, in the names of Hugging Face configurations."""

    name: str
    family: Literal["gemma", "llama", "mistral", "phi", "qwen2"]
    hidden_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Count
    intermediate_size: Count
    gated_ffn: bool = Field(description="gate and up projections (true) or a single up projection")
    vocab_size: Count
    tie_word_embeddings: bool
    qkv_bias: bool = False
    o_bias: bool = False
    ffn_bias: bool = False
    lm_head_bias: bool = False
    norm: Literal["rmsnorm", "layernorm"]
    parallel_block: bool = Field(False, description="attention and FFN read the same normalized input")
    sliding_window: Count | None = Field(None, description="keys that a query sees at most; none: all earlier ones")
    rope_theta: Positive = 10000.0
    partial_rotary_factor: Fraction = Field(1.0, description="share of each head that RoPE rotates")
    max_position_embeddings: Count

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    @property
    def query_size(self) -> int:
        """Columns of the Q projection."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        """Columns of the K projection, and of the V projection."""
        return self.num_key_value_heads * self.head_dim

    @property
    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Input and output size of each linear of a block."""
        hidden, ffn = self.hidden_size, self.intermediate_size
        shapes = {
            "q_proj": (hidden, self.query_size),
            "k_proj": (hidden, self.key_value_size),
            "v_proj": (hidden, self.key_value_size),
            "o_proj": (self.query_size, hidden),
            "gate_proj": (hidden, ffn),
            "up_proj": (hidden, ffn),
            "down_proj": (ffn, hidden),
        }
        if not self.gated_ffn:
            del shapes["gate_proj"]
        return shapes

    def has_bias(self, linear: str) -> bool:
        """Tell whether a linear adds a bias."""
        if linear in ("q_proj", "k_proj", "v_proj"):
            return self.qkv_bias
        return {"o_proj": self.o_bias, "lm_head": self.lm_head_bias}.get(linear, self.ffn_bias)

    @property
    def norm_size(self) -> int:
        """Parameters of one normalization."""
        return self.hidden_size * (2 if self.norm == "layernorm" else 1)

    @property
    def block_parameters(self) -> int:
        """Parameters of one transformer block."""
        linears = sum(k * n + (n if self.has_bias(name) else 0) for name, (k, n) in self.linear_shapes.items())
        return linears + self.norm_size * (1 if self.parallel_block else 2)

    @property
    def parameters(self) -> int:
        """All parameters; tied embeddings count once."""
        embedding = self.vocab_size * self.hidden_size
        head = 0 if self.tie_word_embeddings else embedding
        head += self.vocab_size if self.lm_head_bias else 0
        return embedding + self.num_hidden_layers * self.block_parameters + self.norm_size + head


def llm_from_config(config: Mapping[str, Any], name: str, where: str) -> LLM:
    """Read the shape from a Hugging Face ``config.json``.

    Parameters
    ----------
    config
        The parsed file. Fields that say nothing about the shape are ignored, as these files hold many.
    name
        What to call the model.
    where
        The file, for error messages.

    Raises
    ------
    SocsimError
        The family is not one of llama, qwen2, gemma, phi and mistral, or a needed field is missing or not allowed.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise SocsimError(f"{where}: field 'model_type' is {family!r}{did_you_mean(family, FAMILIES)}; allowed: {', '.join(FAMILIES)}")
    heads, hidden = _needed(config, "num_attention_heads", where), _needed(config, "hidden_size", where)
    if config.get("head_dim") is None and hidden % heads:
        raise SocsimError(f"{where}: hidden_size {hidden} is no multiple of num_attention_heads {heads}, and there is no head_dim")
    phi = family == "phi"
    attention_bias = bool(config.get("attention_bias", False))
    data = {
        "name": name,
        "family": family,
        "hidden_size": hidden,
        "num_hidden_layers": _needed(config, "num_hidden_layers", where),
        "num_attention_heads": heads,
        "num_key_value_heads": _or(config.get("num_key_value_heads"), heads),
        "head_dim": _or(config.get("head_dim"), hidden // heads),
        "intermediate_size": _needed(config, "intermediate_size", where),
        "gated_ffn": not phi,
        "vocab_size": _needed(config, "vocab_size", where),
        "tie_word_embeddings": _or(config.get("tie_word_embeddings"), family == "gemma"),
        "qkv_bias": phi or family == "qwen2" or attention_bias,
        "o_bias": phi or attention_bias,
        "ffn_bias": phi or bool(config.get("mlp_bias", False)),
        "lm_head_bias": phi,
        "norm": "layernorm" if phi else "rmsnorm",
        "parallel_block": phi,
        "sliding_window": config.get("sliding_window") if config.get("use_sliding_window", family != "qwen2") else None,
        "rope_theta": _or(config.get("rope_theta"), 10000.0),
        "partial_rotary_factor": _or(config.get("partial_rotary_factor"), 0.5 if phi else 1.0),
        "max_position_embeddings": _needed(config, "max_position_embeddings", where),
    }
    return validate(LLM, data, where)


def _needed(config: Mapping[str, Any], field: str, where: str) -> int:
    """Return a positive whole number that every configuration must have."""
    value = config.get(field)
    if value is None:
        raise SocsimError(f"{where}: field '{field}' is missing{did_you_mean(field, config)}")
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise SocsimError(f"{where}: field '{field}' should be a whole number above 0, not {value!r}")
    return value


def _or(value: Any, default: Any) -> Any:
    """Return the value unless the file leaves it out or says null."""
    return default if value is None else value
