"""pg_dump and pg_restore: the one that fits is found, and no password is in a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.backup.errors import DatabaseTool
from ops.backup.tools import connection, find, major, needs_newer_server


def tool(folder: Path, version: str) -> None:
    path = folder / "pg_dump"
    path.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    path.chmod(0o755)


def test_the_embedded_server_has_its_own_tools() -> None:
    path, version = find("pg_restore", True, 18)
    assert "pgserver" in str(path)
    assert version >= 18


def test_an_own_server_uses_the_one_in_path_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tool(tmp_path, "16.3 (Debian 16.3-1)")
    assert find("pg_dump", False, 15) == (tmp_path / "pg_dump", 16)
    assert find("pg_dump", False, 17)[0] != tmp_path / "pg_dump"


def test_none_that_is_new_enough_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tool(tmp_path, "15.1")
    with pytest.raises(DatabaseTool, match=r"is version 15.*postgresql-client"):
        find("pg_dump", False, 99)


def test_a_server_before_17_takes_no_newer_pg_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tool(tmp_path, "17.2")
    assert (needs_newer_server(17, 150004), needs_newer_server(16, 150004), needs_newer_server(18, 170001)) == (
        True, False, False,
    )  # fmt: skip
    with pytest.raises(DatabaseTool, match=r"is version 17.*postgresql-client-15"):
        find("pg_dump", False, 15, below=17)


def test_what_libpq_reads_from_the_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert connection("postgresql://rack@db.example/coderack")[1]["PGSSLMODE"] == "verify-full"


def test_a_password_is_in_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    shown, environment = connection("postgresql://rack:s3cr%2Ft@db.example:5433/coderack?sslmode=require")
    assert environment["PGPASSWORD"] == "s3cr/t"
    assert "s3cr" not in shown
    assert all(word in shown for word in ("host=db.example", "port=5433", "sslmode=require", "user=rack"))
    assert "PGPASSWORD" not in connection("postgresql://coderack@/coderack?host=/run/pg")[1]


def test_versions_are_major_ones() -> None:
    assert (major(180004), major(150000)) == (18, 15)
