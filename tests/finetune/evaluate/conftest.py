from __future__ import annotations

from pathlib import Path

import pytest

from appliance.env import load
from finetune.evaluate import humaneval, sandbox
from finetune.evaluate.humaneval import Task
from finetune.evaluate.sandbox import Sandbox
from ops.suites.humaneval import ensure_humaneval


@pytest.fixture(scope="session")
def place() -> Sandbox:
    """The real sandbox; a machine without one fails these tests, as it can't evaluate."""
    return sandbox.find()


@pytest.fixture(scope="session")
def suite() -> Path:
    return ensure_humaneval(load().cache_dir)


@pytest.fixture(scope="session")
def tasks(suite: Path) -> list[Task]:
    return humaneval.load(suite)
