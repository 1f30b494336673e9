"""Fit the figures of hardware and engine files to measured rows."""

from socsim.calibration.calibrate import Calibration, calibrate
from socsim.calibration.ensemble import ensemble_text
from socsim.calibration.files import calibrated_text, inheriting_text
from socsim.calibration.fit import Fit, Parameter, fit
from socsim.calibration.groups import Group
from socsim.calibration.own import calibrate_own

__all__ = [
    "Calibration",
    "Fit",
    "Group",
    "Parameter",
    "calibrate",
    "calibrate_own",
    "calibrated_text",
    "ensemble_text",
    "fit",
    "inheriting_text",
]
