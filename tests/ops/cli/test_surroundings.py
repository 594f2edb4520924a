"""What is checked before anything starts, and that each refusal says what to do."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from appliance.env import Env, load
from ops.cli.surroundings import prepare_directories, require_port, require_space
from ops.runner.errors import RunnerError


def test_it_makes_the_directories_and_may_be_asked_again(env: Env) -> None:
    prepare_directories(env)
    prepare_directories(env)
    assert all(p.is_dir() for p in (env.data_dir, env.cache_dir, env.log_dir, env.journal_dir))
    assert stat.S_IMODE(env.run_dir.stat().st_mode) == 0o711  # walked through, not listed, by PostgreSQL's user
    assert stat.S_IMODE((env.run_dir / "replicas").stat().st_mode) == 0o700


def test_it_says_which_setting_moves_a_directory_that_cannot_be_made(root: Path) -> None:
    (root / "data").write_text("a file stands in the way")
    with pytest.raises(RunnerError, match="set CODERACK_DATA_DIR"):
        prepare_directories(load({"CODERACK_DATA_DIR": str(root / "data"), "CODERACK_RUN_DIR": str(root / "run")}))


def test_it_refuses_a_run_directory_that_is_a_link(env: Env, root: Path) -> None:
    (root / "elsewhere").mkdir()
    env.run_dir.symlink_to(root / "elsewhere")
    with pytest.raises(RunnerError, match="belongs to somebody else"):
        prepare_directories(env)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_it_refuses_a_run_directory_of_somebody_else(env: Env) -> None:
    env.run_dir.mkdir()
    os.chown(env.run_dir, 65534, 65534)
    with pytest.raises(RunnerError, match="belongs to somebody else"):
        prepare_directories(env)


def test_it_accepts_a_free_port(env: Env) -> None:
    require_port(env)


def test_it_names_another_port_when_its_own_is_in_use(env: Env) -> None:
    with socket.socket() as other:
        other.bind((env.host, env.port))
        other.listen()
        with pytest.raises(RunnerError, match=rf"port {env.port} on 127.0.0.1 is in use.*CODERACK_PORT="):
            require_port(env)


def test_it_says_why_an_address_cannot_be_bound(environment: dict[str, str]) -> None:
    with pytest.raises(RunnerError, match="see CODERACK_HOST, CODERACK_PORT"):
        require_port(load(environment | {"CODERACK_HOST": "192.0.2.1"}))  # reserved for documentation, nobody has it


def test_it_refuses_a_disk_that_is_nearly_full(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_directories(env)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12 - 10**8, 10**8))
    with pytest.raises(RunnerError, match=r"0\.1 GiB free .* at least 1; .*CODERACK_DATA_DIR"):
        require_space(env)


def test_it_accepts_a_disk_with_room(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_directories(env)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))
    require_space(env)
