"""What runs in a slot imports the standard library, the slot's packages and finetune only; the other side no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.train.slot import REPO

SLOT_PACKAGES = {"accelerate", "jinja2", "peft", "safetensors", "torch", "transformers"}
BOTH_SIDES = [
    "finetune.manifest",
    "finetune.train.checkpoints",
    "finetune.train.errors",
    "finetune.train.estimate",
    "finetune.train.memory",
    "finetune.train.methods",
    "finetune.train.per_rank",
    "finetune.train.shape",
    "finetune.train.slot",
    "finetune.train.spec",
]
CONTROL_PLANE = [
    "finetune.train.hyperparameters",
    "finetune.train.launch",
    "finetune.evaluate.run_scoring",
]
IN_SLOT = [
    "finetune.evaluate.scoring",
    *(
        f"finetune.train.{name}"
        for name in (
            "adapter", "attention", "bases", "esft", "events", "experts", "fused", "head", "holes", "literal", "loop", "main",
            "model", "order", "parent", "ranks", "results", "rows", "schedule", "sharded", "shares", "state", "tokens",
            "world",
        )
    ),
]  # fmt: skip
IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""


def imports_of(module: str) -> set[str]:
    tree = ast.parse((REPO / f"{module.replace('.', '/')}.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_every_module_is_on_one_of_the_lists() -> None:
    listed = {name.rpartition(".")[2] for name in (*BOTH_SIDES, *CONTROL_PLANE, *IN_SLOT) if ".train." in name}
    assert {path.stem for path in (REPO / "finetune" / "train").glob("*.py")} - {"__init__", "__main__"} == listed


@pytest.mark.parametrize("module", IN_SLOT)
def test_what_runs_in_a_slot_imports_only_what_is_there(module: str) -> None:
    outside = {name for name in imports_of(module) if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name for name in outside if name.startswith("finetune")}
    assert ours <= {"finetune", "finetune.train", *IN_SLOT, *BOTH_SIDES}
    assert {name.partition(".")[0] for name in outside - ours} <= SLOT_PACKAGES


@pytest.mark.parametrize("module", [*BOTH_SIDES, *CONTROL_PLANE, "finetune.train.parent"])
def test_the_other_side_loads_nothing_heavy(module: str) -> None:
    code = "import sys, importlib; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, text=True, check=True, cwd=REPO, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & (SLOT_PACKAGES | {"django", "appliance", "ops", "inference"})


@pytest.mark.engine
def test_a_slots_python_imports_all_of_it_and_nothing_of_the_control_plane(in_slot: Callable[..., Any]) -> None:
    loaded = {name.partition(".")[0] for name in in_slot(IMPORT, *IN_SLOT, *BOTH_SIDES)}
    assert not loaded & {"appliance", "inference", "ops", "tests", "django", "celery"}


def test_nothing_is_imported_before_the_parents_end_is_watched() -> None:
    tree = ast.parse(Path(REPO / "finetune/train/__main__.py").read_text())
    armed = next(
        index for index, node in enumerate(tree.body) if "die_with" in ast.dump(node) and isinstance(node, ast.If)
    )
    before = {
        name
        for node in tree.body[:armed]
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)])
        if name
    }
    assert before <= {"argparse", "sys", "pathlib", "finetune.train.parent"}
