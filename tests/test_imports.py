"""The import rule: packages import one way, Django and Celery stay outside the inner ones. Also that the rule can fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parent.parent
LINTER = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
PYPROJECT = (REPO / "pyproject.toml").read_text()
CONTRACTS: list[dict[str, Any]] = tomllib.loads(PYPROJECT)["tool"]["importlinter"]["contracts"]
# What a slot's Python runs by path: the control plane's packages are not there.
SLOT_SCRIPTS = ["ops/models/gguf_to_safetensors.py", "ops/models/tiny_deepseek/build.py"]


@pytest.fixture
def small_copy(tmp_path: Path) -> Path:
    """The packages the contracts name, all empty, under the project's own contracts."""
    layers = next(c["layers"] for c in CONTRACTS if c["type"] == "layers")
    for module in [name.strip() for layer in layers for name in re.split(r"[|:]", layer)]:
        package = tmp_path.joinpath(*module.split("."))
        package.mkdir(parents=True, exist_ok=True)
        for level in (package, *package.parents):
            if level == tmp_path:
                break
            (level / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.importlinter]" + PYPROJECT.split("[tool.importlinter]", 1)[1])
    return tmp_path


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(LINTER, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


def test_the_packages_import_one_way() -> None:
    told = lint(REPO)
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_contracts_hold_where_nothing_is_imported(small_copy: Path) -> None:
    told = lint(small_copy)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("inference/gateway.py", "import appliance"),
        ("inference/pool.py", "from finetune import nothing"),
        ("finetune/train.py", "import inference"),
        ("finetune/train.py", "import ops.runner"),
        ("ops/runner/loop.py", "import appliance"),
        ("ops/slots/install.py", "import ops.cli"),
        ("appliance/pages.py", "import ops.cli"),
        ("inference/gateway.py", "import django"),
        ("inference/gateway.py", "def late():\n    from django.db import models"),
        ("finetune/train.py", "from celery import shared_task"),
        ("ops/embedded/postgres.py", "import django.conf"),
    ],
)
def test_it_refuses_a_wrong_import(small_copy: Path, file: str, line: str) -> None:
    (small_copy / file).write_text(f"{line}\n")
    told = lint(small_copy)
    assert told.returncode == 1, told.stdout + told.stderr
    assert file.removesuffix(".py").replace("/", ".") in told.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("ops/cli/up.py", "import appliance, ops.runner, inference, django"),
        ("appliance/pages.py", "import django, celery, ops.slots, inference, finetune"),
        ("ops/runner/loop.py", "import inference"),
    ],
)
def test_it_accepts_a_right_import(small_copy: Path, file: str, line: str) -> None:
    (small_copy / file).write_text(f"{line}\n")
    told = lint(small_copy)
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_package_stands_in_the_contracts() -> None:
    named = {
        name.strip()
        for c in CONTRACTS
        if c["type"] == "layers"
        for layer in c["layers"]
        for name in re.split(r"[|:]", layer)
    }
    inner = {f"ops.{p.parent.name}" for p in REPO.glob("ops/*/__init__.py")}
    assert inner | {"appliance", "inference", "finetune"} == named
    for contract in [c for c in CONTRACTS if c["type"] == "forbidden"]:
        assert set(contract["source_modules"]) == named - {"appliance", "ops.cli"}


@pytest.mark.parametrize("script", SLOT_SCRIPTS)
def test_what_runs_in_a_slot_imports_nothing_of_ours(script: str) -> None:
    tree = ast.parse((REPO / script).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert outside <= {"gguf", "safetensors", "tokenizers", "torch", "transformers"}, outside
