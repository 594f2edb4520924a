"""The appliance's processes: their order, their environments, how it is known that they answer."""

from __future__ import annotations

import socket

import pytest

from appliance.env import Env
from ops.cli.specs import child_environment, control_plane_specs, port_answers, server_environment, socket_answers
from ops.cli.surroundings import prepare_directories


def test_the_gateway_starts_last_and_so_stops_first(env: Env) -> None:
    assert [s.name for s in control_plane_specs(env)] == [
        "meter", "beat", "worker", "batches", "pool", "console", "gateway",
    ]  # fmt: skip


def test_each_process_logs_to_a_file_of_its_own(env: Env) -> None:
    logs = [s.log for s in control_plane_specs(env)]
    assert len(set(logs)) == len(logs)
    assert all(log.parent == env.log_dir for log in logs)


def test_no_secret_stands_in_a_command_line(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODERACK_SECRET_KEY", "hunter2")
    assert "hunter2" not in " ".join(word for s in control_plane_specs(env) for word in s.argv)


def test_the_servers_inherit_no_setting_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CODERACK_SECRET_KEY", "DATABASE_URL", "REDIS_URL", "DJANGO_DEBUG", "PGHOST", "PYTHONPATH"):
        monkeypatch.setenv(name, "hunter2")
    assert "hunter2" not in server_environment().values()


def test_the_children_inherit_the_resolved_directories(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    handed = child_environment(env)
    assert handed["CODERACK_DATA_DIR"] == str(env.data_dir)
    assert handed["CODERACK_RUN_DIR"] == str(env.run_dir)
    assert "PYTHONPATH" not in handed


def test_it_knows_whether_a_socket_answers(env: Env) -> None:
    prepare_directories(env)
    path = env.run_dir / "console.sock"
    answers = socket_answers(path)
    assert not answers()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert answers()
    assert not answers()  # the file is still there, nobody behind it


def test_it_knows_whether_a_port_answers(env: Env) -> None:
    answers = port_answers("0.0.0.0", env.port)
    assert not answers()
    with socket.socket() as server:
        server.bind(("127.0.0.1", env.port))
        server.listen()
        assert answers()
