"""Calibrations that a command asks for, and the files that they make; places are checked before anything is fitted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from socsim.cli.console import one_line
from socsim.cli.files import check_outputs
from socsim.cli.progress import named_steps
from socsim.errors import SocsimError, unknown_name

if TYPE_CHECKING:
    from socsim.calibration import Calibration

ENSEMBLE = "ensemble.csv"

Texts = dict[Path, str]
"""What files are to hold."""


def fit_own(template: str | None, files: Sequence[Path], output: Path | None, plot: Path | None) -> tuple[Calibration, Texts]:
    """Fit a SoC to a user's micro-benchmarks.

    Raises
    ------
    SocsimError
        SoC or output is missing, the output cannot be written, or a file or its rows are not valid.
    """
    if template is None:
        raise SocsimError(
            "--measurements: needs SOC, from which everything else is taken, such as 'socsim calibrate snapdragon-8-gen-3 ...'"
        )
    if output is None:
        raise SocsimError("--measurements: needs --output FILE, the new SoC")
    check_outputs(plot=plot, output=output)
    if output.resolve() in [file.resolve() for file in files]:
        raise SocsimError(f"--output '{output}': is a file of --measurements")
    from socsim.calibration import calibrate_own, inheriting_text

    names = [path.stem.removeprefix("soc_") for path in (output, Path(template)) if path.suffix == ".toml"]
    names = list(dict.fromkeys([output.stem.removeprefix("soc_"), *names, template]))
    calibration = calibrate_own(template, files, names)
    source = f"fitted to {', '.join(file.name for file in files)}"
    return calibration, {output: inheriting_text(template, calibration.findings, source)}


def fit_shipped(soc: str | None, output: Path | None, plot: Path | None) -> tuple[Calibration, Texts]:
    """Fit everything that is shipped; the texts are of one SoC, or of all files with fitted figures and the ensemble.

    Raises
    ------
    SocsimError
        The SoC is not shipped or has nothing to fit, or the files cannot be written.
    """
    from socsim.calibration import calibrate, calibrated_text, ensemble_text
    from socsim.calibration.calibrate import ordered_groups
    from socsim.catalog import description_path, hardware_path, list_socs
    from socsim.measurements import load_operator_rows, load_system_rows

    _check_places(soc, output, plot)
    rows = list_socs(), load_operator_rows(), load_system_rows()
    with named_steps("fitting", len(ordered_groups(*rows))) as progress:
        calibration = calibrate(*rows, progress)
    if soc is not None:
        return calibration, {output or description_path("soc", soc): calibrated_text("soc", soc, calibration.findings)}
    kinds: tuple[Literal["soc", "engine"], ...] = ("soc", "engine")
    found = [(kind, name) for kind in kinds for other, name in calibration.findings.values if other == kind]
    texts = {description_path(kind, name): calibrated_text(kind, name, calibration.findings) for kind, name in found}
    texts[hardware_path(ENSEMBLE)] = ensemble_text(calibration)
    return calibration, texts if output is None else {output / path.name: text for path, text in texts.items()}


def _check_places(soc: str | None, output: Path | None, plot: Path | None) -> None:
    """Check what is to be written where."""
    from socsim.calibration.targets import fitted_targets
    from socsim.catalog import list_socs

    check_outputs(plot=plot, output=output if soc is not None else None)
    if soc is not None:
        if soc not in list_socs():
            raise unknown_name("SoC", soc, list_socs())
        if not fitted_targets("soc", soc):
            having = ", ".join(name for name in list_socs() if fitted_targets("soc", name))
            raise SocsimError(f"SoC {soc} has no figures of its own that are marked as fitted; there are some in: {having}")
    elif output is not None:
        if not output.is_dir():
            raise SocsimError(f"--output '{output}': no such folder; without SOC several files are written")
        if not os.access(output, os.W_OK):
            raise SocsimError(f"--output '{output}': cannot be written: permission denied")
    if output is None:
        _check_in_place(soc)


def _check_in_place(soc: str | None) -> None:
    """Check that the shipped files may be changed: those of a checkout, not of an installed package."""
    import socsim
    from socsim.catalog import description_path, hardware_path, list_engines, list_socs

    instead = f"give --output {'FOLDER' if soc is None else 'FILE'}"
    folder = hardware_path(".")
    if folder.is_relative_to(Path(socsim.__file__).parent):
        raise SocsimError(f"the files in {folder} belong to an installed package and are not changed; {instead}")
    names = [("soc", name) for name in list_socs()] + [("engine", name) for name in list_engines()] if soc is None else [("soc", soc)]
    for path in [description_path(kind, name) for kind, name in names] + [hardware_path(ENSEMBLE)] * (soc is None):
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise SocsimError(f"{path}: cannot be written: permission denied; {instead}")


def write_texts(texts: Texts) -> None:
    """Write files that are not as they should be already, and report each on standard error.

    Raises
    ------
    SocsimError
        A file cannot be written.
    """
    for path, text in texts.items():
        data = text.encode()
        try:
            if path.exists() and path.read_bytes() == data:
                one_line("unchanged", path)
                continue
            path.write_bytes(data)
        except OSError as error:
            raise SocsimError(f"{path}: cannot be written: {error.strerror}") from None
        one_line("wrote", path)
