"""Fit the figures of hardware and engine files to measured rows."""

from socsim.calibration.calibrate import Calibration, calibrate
from socsim.calibration.fit import Fit, Parameter, fit
from socsim.calibration.groups import Group

__all__ = ["Calibration", "Fit", "Group", "Parameter", "calibrate", "fit"]
