"""Runs the recipe beside this file with another seed: a second version of the model, of the same shape and other weights.

Run with an engine slot's Python: the target's directory, then the seed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

RECIPE = Path(__file__).with_name("build.py")


def main(target: Path, seed: int) -> None:
    """Write the model directory, without a manifest."""
    spec = importlib.util.spec_from_file_location("build", RECIPE)
    if spec is None or spec.loader is None:
        raise ImportError(f"{RECIPE} can't be read")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    vars(recipe)["SEED"] = seed
    recipe.build(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
