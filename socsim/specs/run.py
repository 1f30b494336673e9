"""Description of one run: the prompt, the output, and the conditions under which the SoC works."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from socsim.specs.base import Count, Factor, NonNegative, NonNegativeCount, ProcessorName, Spec


class Run(Spec):
    """What is asked of the model, and under which conditions."""

    prompt_tokens: Count
    output_tokens: Count = Field(1, description="the prefill gives the first, each decode step one more")
    cached_tokens: NonNegativeCount = Field(0, description="prompt tokens whose keys and values are there already")
    memory: Literal["shared", "private", "infinite"] = Field(
        "shared", description="DRAM: shared by all, private to each processor, or infinitely fast"
    )
    operating_point: str = "burst"
    power_calibration: str = "whole-device"
    duration_noise: NonNegative = Field(
        0.0, le=5.0, description="sigma of the log-normal factor on true durations; policies see them without"
    )
    slowed_processor: ProcessorName | None = Field(None, description="processor that slows down in mid-run, of which no policy knows")
    slowed_from_s: NonNegative = Field(0.0, description="its subgraphs that start at this time or later are slow")
    slowdown_factor: Factor = Field(1.0, description="how many times as long they then take, waiting for DRAM apart")
    seed: NonNegativeCount = 0

    @model_validator(mode="after")
    def _check_cached(self) -> Self:
        if self.cached_tokens >= self.prompt_tokens:
            cached, prompt = self.cached_tokens, self.prompt_tokens
            raise ValueError(f"cached_tokens {cached} should be below prompt_tokens {prompt}: the last token at least is prefilled")
        return self

    @model_validator(mode="after")
    def _check_slowed(self) -> Self:
        if self.slowed_processor is None and (self.slowed_from_s > 0 or self.slowdown_factor > 1):
            raise ValueError("slowed_from_s and slowdown_factor need slowed_processor, which is not set")
        return self
