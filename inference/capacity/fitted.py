"""The calibration that answers rest on: calibration.yaml beside this module, which `coderack calibrate-capacity` writes."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference.capacity.calibration import NAMES, Calibration
from inference.capacity.errors import BadMeasurements

FILE = Path(__file__).parent / "calibration.yaml"
HEAD = "# Fitted to published.yaml by `coderack calibrate-capacity --write`: do not edit. `figures` are exp(logs).\n"
DECIMALS = 6


@cache
def fitted() -> Calibration:
    """The shipped calibration."""
    return read(FILE)


def read(path: Path) -> Calibration:
    """Load a calibration.

    Raises: BadMeasurements when the file is not one.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        logs = tuple(float(content["logs"][name]) for name in NAMES)
        covariance = tuple(tuple(map(float, row)) for row in content["covariance"])
        found = Calibration(logs, covariance, float(content["spread"]), float(content["degrees"]), int(content["rows"]))
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadMeasurements([f"{path.name} is no calibration: {error!r}"]) from None
    if {len(covariance), *map(len, covariance)} != {len(NAMES)}:
        raise BadMeasurements([f"{path.name} is no calibration: the covariance is not {len(NAMES)} by {len(NAMES)}"])
    return found


def text(found: Calibration) -> str:
    """A calibration as its file holds it."""
    content: dict[str, Any] = asdict(found)
    content["logs"] = {name: round(log, DECIMALS) for name, log in zip(NAMES, found.logs, strict=True)}
    content["covariance"] = [[round(value, DECIMALS) for value in row] for row in found.covariance]
    content["spread"], content["degrees"] = round(found.spread, DECIMALS), round(found.degrees, DECIMALS)
    figures = {name: float(f"{figure:.4g}") for name, figure in found.figures.items()}
    return HEAD + yaml.safe_dump({"figures": figures, **content}, sort_keys=False)
