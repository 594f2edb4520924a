"""`coderack doctor` where nothing runs: what it finds well, what it warns of, what it calls failed, and that it goes on."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.env import Env
from ops.cli.doctor import command, machine, programs, running, stored
from ops.cli.doctor.finding import Finding, Result
from ops.cli.printing import Exit
from ops.cli.surroundings import prepare_directories
from ops.models import manifest
from ops.slots import contents
from ops.slots.record import SlotRecord
from tests.ops.cli.conftest import Cli


def by_check(findings: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def make_model(env: Env) -> Path:
    directory = env.cache_dir / "models" / "tiny"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    manifest.write(directory, name="tiny", origin="a test", licence="none")
    return directory


def make_slot(env: Env) -> Path:
    """Looks like an installed slot of one package."""
    slot = env.cache_dir / "engines" / "cpu-1"
    info = slot / "lib" / "python3.11" / "site-packages" / "vllm-1.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text("vllm.py,sha256=" + "A" * 43 + ",1\n")
    (slot / "bin").mkdir()
    (slot / "bin" / "python").symlink_to(sys.executable)
    (slot / "pyvenv.cfg").touch()
    SlotRecord("cpu-1", "cpu", "1", "lock", contents.digest(slot), "now").write(slot)
    return slot


def test_a_machine_that_nothing_runs_on_is_no_failure(cli: Cli, env: Env) -> None:
    prepare_directories(env)
    told = cli("doctor", "--json")
    answer = json.loads(told.stdout)
    failed = [finding for finding in answer["findings"] if finding["result"] == "failed"]
    assert (told.returncode, answer["ok"], failed) == (Exit.OK, True, [])
    results = {finding["check"]: finding["result"] for finding in answer["findings"]}
    assert {results[name] for name in ("python", "packages", "clock", "/tmp", "port")} == {"ok"}
    assert {results[name] for name in ("processes", "PostgreSQL", "Redis", "engine slots")} == {"warning"}
    assert all(finding["advice"] for finding in answer["findings"] if finding["result"] != "ok")


def test_it_tells_people_what_failed_and_what_to_do(cli: Cli, env: Env) -> None:
    with socket.socket() as other:
        other.bind((env.host, env.port))
        other.listen()
        told = cli("doctor", COLUMNS="200")
    assert told.returncode == Exit.FAILED
    lines = told.stdout.splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("failed   port: "))
    assert "CODERACK_PORT" in lines[number + 1]
    assert lines[-1].endswith(" 1 failed")


def test_it_looks_at_nothing_with_its_hands(cli: Cli, root: Path) -> None:
    before = sorted(root.rglob("*"))
    cli("doctor")
    assert sorted(root.rglob("*")) == before


def test_servers_of_ones_own_that_do_not_answer_are_failures(cli: Cli) -> None:
    told = cli("doctor", "--json", DATABASE_URL="postgresql://x@127.0.0.1:9/x", REDIS_URL="redis://127.0.0.1:9/0")
    found = {finding["check"]: finding for finding in json.loads(told.stdout)["findings"]}
    assert told.returncode == Exit.FAILED
    assert "DATABASE_URL" in found["PostgreSQL"]["found"]
    assert "REDIS_URL" in found["Redis"]["found"]
    assert "PostgreSQL's programs" not in found


def test_it_names_a_model_whose_file_was_cut(env: Env) -> None:
    model = make_model(env)
    assert [finding.result for finding in stored.models(env, False)] == [Result.OK]
    (model / "config.json").write_text("{")
    (finding,) = stored.models(env, False)
    assert finding.result is Result.FAILED
    assert "config.json: 1 bytes instead of 2" in finding.found


def test_only_deep_reading_notices_a_byte_that_was_changed(env: Env) -> None:
    model = make_model(env)
    (model / "config.json").write_text("[]")
    assert [finding.result for finding in stored.models(env, False)] == [Result.OK]
    assert [finding.result for finding in stored.models(env, True)] == [Result.FAILED]


def test_it_tells_a_whole_slot_from_an_unfinished_and_a_changed_one(env: Env) -> None:
    slot = make_slot(env)
    assert [finding.result for finding in stored.slots(env, False)] == [Result.OK]
    (finding,) = stored.slots(env, True)  # its one file was never there
    assert (finding.result, "vllm.py" in finding.found) == (Result.FAILED, True)
    record = slot / "lib/python3.11/site-packages/vllm-1.dist-info/RECORD"
    record.write_text(record.read_text().replace("AAA", "BBB"))
    assert [finding.result for finding in stored.slots(env, False)] == [Result.FAILED]
    (slot / "bin" / "python").unlink()
    assert "python is missing" in next(stored.slots(env, False)).found
    (slot / "slot.json").write_text("{")
    assert "damaged" in next(stored.slots(env, False)).found
    (slot / "slot.json").unlink()
    assert [finding.result for finding in stored.slots(env, False)] == [Result.WARNING]


def test_a_clock_before_the_softwares_files_is_wrong(env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "appliance").mkdir()
    (tmp_path / "appliance" / "later.py").touch()
    os.utime(tmp_path / "appliance" / "later.py", (4e9, 4e9))
    monkeypatch.setattr(machine, "REPO", tmp_path)
    (finding,) = machine.clock(env)
    assert (finding.result, "2096" in finding.found) == (Result.FAILED, True)


@pytest.mark.parametrize(("mode", "result"), [(0o1777, Result.OK), (0o777, Result.FAILED), (0o1755, Result.FAILED)])
def test_the_shared_folder_is_everybodys_and_sticky(
    env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int, result: Result
) -> None:
    tmp_path.chmod(mode)
    monkeypatch.setattr(machine, "SHARED", tmp_path)
    assert by_check(machine.temporary(env))[str(tmp_path)].result is result


def test_packages_that_are_not_as_locked_are_named(env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "base.lock"
    lock.write_text("pytest==0.0.1 \\\n    --hash=sha256:00\nno-such-package==1\n")
    monkeypatch.setattr(machine, "REPO", tmp_path)
    found = by_check(machine.python(env))["packages"]
    assert (found.result, found.found) == (Result.FAILED, "2 are not as locked: pytest, no-such-package")


def test_a_full_disk_is_a_failure_and_a_nearly_full_one_a_warning(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LITTLE_DISK_BYTES", 1 << 60)
    assert {finding.result for finding in machine.disks(env)} == {Result.WARNING}
    monkeypatch.setattr(machine, "DATA_FREE_BYTES", 1 << 60)
    assert {finding.result for finding in machine.disks(env)} == {Result.FAILED}


def test_missing_programs_come_with_the_line_that_installs_them(
    env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_check([*programs.bubblewrap(env), *programs.for_tests(env)])
    assert {name: finding.result for name, finding in found.items()} == dict.fromkeys(found, Result.WARNING)
    assert "apt-get install bubblewrap" in found["bubblewrap"].advice
    assert found["promtool"].advice == "apt-get install prometheus"


def test_processes_that_died_are_named(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_directories(env)
    (env.run_dir / "processes.json").write_text(json.dumps([{"name": "meter", "pid": 2**22 + 1, "started": 1}]))
    monkeypatch.setattr(running, "runner_pid", lambda _run_dir: 1)
    found = by_check(running.processes(env))
    assert "gateway" in found["processes"].found
    assert "meter" in found["processes"].found
    assert {finding.result for finding in found.values()} == {Result.FAILED}
    assert set(found) == {"processes", "port", "console"}


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_env: Env, _deep: bool) -> Any:
        raise ZeroDivisionError("of no kind that anybody foresaw")

    monkeypatch.setattr(command, "CHECKS", {"broken": broken, "clock": lambda env, _deep: machine.clock(env)})
    found = by_check(command.findings(env, False))
    assert "ZeroDivisionError" in found["broken"].found
    assert found["clock"].result is Result.OK
