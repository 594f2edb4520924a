"""A folder of tiny wheels as pip's only source, and the lock that belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.slots.lock import Lock, read_lock
from tests.ops.slots.wheels import MODULES, make_lock, make_wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return {name: make_wheel(folder, name, module) for name, module in MODULES.items()}


@pytest.fixture
def lock(tmp_path: Path, wheels: dict[str, Path]) -> Lock:
    return read_lock("cpu", make_lock(tmp_path / "locks", wheels).parent)
