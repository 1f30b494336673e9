"""Frozen descriptions of what is simulated: SoC, LLM, engine and run."""

from socsim.specs.base import Spec, validate
from socsim.specs.engine import LINEARS, Efficiency, Engine, Placement, Precision
from socsim.specs.llm import LLM, llm_from_config
from socsim.specs.run import Run
from socsim.specs.soc import (
    Dram,
    Flash,
    GraphLifeCycle,
    OperatingPoint,
    PowerCalibration,
    Processor,
    ProcessorPower,
    SoC,
    Synchronization,
    Throughput,
)
from socsim.specs.sweep import Axis, Base, Sample, SweepSpec

__all__ = [
    "LINEARS",
    "LLM",
    "Axis",
    "Base",
    "Dram",
    "Efficiency",
    "Engine",
    "Flash",
    "GraphLifeCycle",
    "OperatingPoint",
    "Placement",
    "PowerCalibration",
    "Precision",
    "Processor",
    "ProcessorPower",
    "Run",
    "Sample",
    "SoC",
    "Spec",
    "SweepSpec",
    "Synchronization",
    "Throughput",
    "llm_from_config",
    "validate",
]
