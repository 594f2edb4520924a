"""A support bundle's file: private, listed in its README, and never there with a secret in it."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from ops.support.bundle import Parts, write
from ops.support.errors import SecretFound, SupportError
from ops.support.machine import machine, tail, versions
from ops.support.masking import Masker

KNOWN = {"the-secret-key": "secret_key"}


@pytest.fixture
def parts() -> Parts:
    parts = Parts(Masker(KNOWN, {}))
    parts.add_json("status.json", "what runs", {"pid": 17})
    parts.add_text("logs/pool.log", "the last lines", "signed with the-secret-key\nall is well\n")
    parts.lack("fleet.json", "the database doesn't answer")
    return parts


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {m.name: (archive.extractfile(m) or open("/dev/null", "rb")).read().decode() for m in archive}


def test_it_holds_the_parts_and_says_what_is_missing(parts: Parts, tmp_path: Path) -> None:
    target = tmp_path / "s.tar.gz"
    assert write(target, parts, KNOWN) == target.stat().st_size
    held = members(target)
    assert sorted(held) == [f"coderack-support/{name}" for name in ("README.txt", "logs/pool.log", "status.json")]
    assert held["coderack-support/logs/pool.log"] == "signed with [masked]\nall is well\n"
    assert "fleet.json                   MISSING: the database" in held["coderack-support/README.txt"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar.gz"]


def test_a_secret_that_was_not_masked_makes_no_bundle(parts: Parts, tmp_path: Path) -> None:
    parts.files["logs/odd.log"] = "the-secret-key"
    with pytest.raises(SecretFound, match=r"odd\.log would have held secret_key") as caught:
        write(tmp_path / "s.tar.gz", parts, KNOWN)
    assert "the-secret-key" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "s.tar.gz").write_text("mine")
    with pytest.raises(SupportError, match="there already"):
        write(tmp_path / "s.tar.gz", parts, KNOWN)
    assert (tmp_path / "s.tar.gz").read_text() == "mine"


def test_a_file_system_without_second_names_will_do(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "s.tar.gz", parts, KNOWN)
    assert len(members(tmp_path / "s.tar.gz")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["s.tar.gz"]


def test_a_directory_that_is_not_there_is_told(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(SupportError, match="can't be written"):
        write(tmp_path / "no" / "s.tar.gz", parts, KNOWN)


def test_a_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("first line\nsecond line\nthird line\n")
    assert tail(tmp_path / "log", 20) == "third line\n"
    assert tail(tmp_path / "log", 1000).startswith("first line")


def test_the_machine_and_its_versions_are_described(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "x").write_bytes(b"12345")
    (tmp_path / "engines" / "cpu-1").mkdir(parents=True)
    (tmp_path / "engines" / "cpu-1" / "slot.json").write_text('{"name": "cpu-1"}')
    facts = machine(tmp_path, tmp_path)
    assert facts["data_dir_bytes"]["jobs"] == 5
    assert facts["disks"].keys() == {str(tmp_path), "/tmp"}
    assert machine(tmp_path, tmp_path / "not there yet")["disks"].keys() == {str(tmp_path), "/tmp"}
    assert {"MemTotal", "MemAvailable"} <= facts["memory_kib"].keys()
    told = versions(tmp_path)
    assert told["slots"] == {"cpu-1": {"name": "cpu-1"}}
    assert any(line.startswith("Django==") for line in told["installed"])
