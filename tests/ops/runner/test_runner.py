"""The runner against real processes: order, readiness, restarts, the end, and what a killed runner leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference.pool.process import is_alive, read_stat
from ops.runner import runner as runner_module
from ops.runner.errors import AlreadyRunning, RunnerError
from ops.runner.processes import ProcessSpec, last_lines
from ops.runner.runner import BACKOFF_S, Runner, backoff_s, end_leftovers, runner_pid

SLEEP = ("/bin/sleep", "60")
# A runner of its own process: starts two children, says so, and waits to be killed.
LONELY_RUNNER = """
import sys, time
from pathlib import Path
from ops.runner.processes import ProcessSpec
from ops.runner.runner import Runner
run_dir = Path(sys.argv[1])
runner = Runner(run_dir, print)
for name in ("first", "second"):
    runner.start(ProcessSpec(name, ("/bin/sleep", "60"), {}, run_dir / f"{name}.log", run_dir))
print("ready", flush=True)
while True:
    runner.watch()
    time.sleep(0.05)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def runner(tmp_path: Path, said: list[str]) -> Iterator[Runner]:
    it = Runner(tmp_path, said.append)
    yield it
    it.stop_all()
    it.close()


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", LONELY_RUNNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    end_leftovers(tmp_path)


def started_ticks(pid: int) -> int | None:
    facts = read_stat(pid)
    return facts.started if facts else None


def spec(directory: Path, name: str, *argv: str, **more: object) -> ProcessSpec:
    return ProcessSpec(name, argv or SLEEP, {"PATH": os.environ["PATH"]}, directory / f"{name}.log", directory, **more)  # type: ignore[arg-type]


def shell(directory: Path, name: str, script: str, **more: object) -> ProcessSpec:
    return spec(directory, name, "/bin/sh", "-c", script, **more)


def watch_until(runner: Runner, done: Callable[[], bool], timeout_s: float = 10.0) -> float:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < timeout_s, "it never came"
        runner.watch()
        time.sleep(0.01)
    return time.monotonic() - began


def remembered(directory: Path) -> list[tuple[str, int]]:
    return [(row["name"], row["pid"]) for row in json.loads((directory / "processes.json").read_text())]


def test_it_waits_until_a_process_says_it_is_ready(runner: Runner, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    runner.start(shell(tmp_path, "slow", "sleep 0.3; touch flag; sleep 60", ready=flag.exists))
    assert flag.exists()


def test_it_shows_the_log_of_a_process_that_ends_at_start(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="no such colour") as refusal:
        runner.start(shell(tmp_path, "broken", "echo no such colour; exit 3", ready=lambda: False))
    assert "broken ended at start" in str(refusal.value)


def test_it_gives_up_on_a_process_that_never_gets_ready(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"was not ready in 0 s; see .*mute.log"):
        runner.start(spec(tmp_path, "mute", ready=lambda: False), ready_timeout_s=0.2)


def test_it_restarts_a_child_that_was_killed(runner: Runner, said: list[str], tmp_path: Path) -> None:
    runner.start(spec(tmp_path, "engine"))
    before = runner.children[0].pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    watch_until(runner, lambda: runner.children[0].pid not in {None, before})
    assert said == [f"engine ended with -9; starting it again (log: {tmp_path / 'engine.log'})"]
    assert remembered(tmp_path) == [("engine", runner.children[0].pid)]


def test_it_leaves_the_other_children_alone_when_one_dies(runner: Runner, tmp_path: Path) -> None:
    runner.start(spec(tmp_path, "steady"))
    runner.start(spec(tmp_path, "victim"))
    steady, victim = (c.pid for c in runner.children)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    watch_until(runner, lambda: runner.children[1].pid not in {None, victim})
    assert runner.children[0].pid == steady


def test_it_waits_longer_after_each_failure_in_a_row(runner: Runner, tmp_path: Path) -> None:
    runner.start(shell(tmp_path, "crasher", "echo started; exit 1"))
    log = tmp_path / "crasher.log"

    def starts(count: int) -> Callable[[], bool]:
        return lambda: log.read_text().count("started") >= count

    watch_until(runner, starts(1))
    waited = [watch_until(runner, starts(count)) for count in (2, 3, 4)]
    assert all(took >= pause for took, pause in zip(waited, BACKOFF_S, strict=False)), waited


def test_its_pauses_grow_to_ten_seconds_and_no_further() -> None:
    pauses = [backoff_s(failures) for failures in range(10)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10


def test_it_forgets_failures_once_a_child_is_steady(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "STEADY_S", 0.2)
    runner.start(shell(tmp_path, "late", "[ -e again ] && exec sleep 60; touch again; exit 1"))
    watch_until(runner, lambda: runner.children[0].failures == 1)
    watch_until(runner, lambda: runner.children[0].failures == 0)


def test_it_ends_what_a_dead_child_left_in_its_group(runner: Runner, tmp_path: Path) -> None:
    runner.start(shell(tmp_path, "parent", "sleep 61 & echo $! > orphan; wait"))
    watch_until(runner, lambda: (tmp_path / "orphan").exists() and (tmp_path / "orphan").read_text().endswith("\n"))
    orphan = int((tmp_path / "orphan").read_text())
    started = started_ticks(orphan)
    parent = runner.children[0].pid
    assert started is not None
    assert parent is not None
    os.kill(parent, signal.SIGKILL)
    watch_until(runner, lambda: not is_alive(orphan, started))


def test_it_ends_its_children_in_reverse_order(runner: Runner, tmp_path: Path) -> None:
    for name in ("database", "console", "gateway"):
        script = f"trap 'echo {name} >> ends; exit 0' TERM; touch {name}.up; while :; do sleep 0.02; done"
        runner.start(shell(tmp_path, name, script, ready=(tmp_path / f"{name}.up").exists))
    pids = [c.pid for c in runner.children]
    runner.stop_all()
    assert (tmp_path / "ends").read_text().split() == ["gateway", "console", "database"]
    assert not [pid for pid in pids if pid and started_ticks(pid)]
    assert remembered(tmp_path) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background job, and what it starts, ignores SIGINT; the runner's own handler sees to that elsewhere."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_sends_each_child_the_signal_it_stops_on(runner: Runner, tmp_path: Path, interruptible: None) -> None:
    script = (
        "trap 'echo int > how; exit 0' INT; trap 'echo term > how; exit 0' TERM; touch up; while :; do sleep 0.02; done"
    )
    runner.start(shell(tmp_path, "server", script, ready=(tmp_path / "up").exists, stop_signal=signal.SIGINT))
    runner.ask_to_stop("server")
    assert runner.wait_for_end("server", 10)
    assert (tmp_path / "how").read_text() == "int\n"


def test_it_kills_a_child_that_does_not_listen(runner: Runner, tmp_path: Path) -> None:
    script = "trap '' TERM; touch up; while :; do sleep 0.02; done"
    runner.start(shell(tmp_path, "deaf", script, ready=(tmp_path / "up").exists, stop_timeout_s=0.3))
    began = time.monotonic()
    runner.stop_all()
    assert 0.3 <= time.monotonic() - began < 9


def test_it_waits_for_a_child_that_ends_by_itself(runner: Runner, tmp_path: Path) -> None:
    runner.start(shell(tmp_path, "brief", "sleep 0.3"))
    runner.start(spec(tmp_path, "endless"))
    assert runner.wait_for_end("brief", 10)
    assert not runner.wait_for_end("endless", 0.2)


def test_it_refuses_a_second_runner(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(AlreadyRunning, match="already running"):
        Runner(tmp_path, print)
    assert runner_pid(tmp_path) == os.getpid()


def test_a_refused_runner_does_not_disturb_the_first(lonely: subprocess.Popen[str], tmp_path: Path) -> None:
    before = remembered(tmp_path)
    with pytest.raises(AlreadyRunning):
        Runner(tmp_path, print)
    assert runner_pid(tmp_path) == lonely.pid
    assert remembered(tmp_path) == before


def test_it_may_run_again_after_the_first_has_gone(tmp_path: Path) -> None:
    Runner(tmp_path, print).close()
    Runner(tmp_path, print).close()


def test_it_ends_what_a_killed_runner_left(lonely: subprocess.Popen[str], tmp_path: Path) -> None:
    children = remembered(tmp_path)
    ticks = {pid: started_ticks(pid) for _, pid in children}
    assert [name for name, _ in children] == ["first", "second"]
    lonely.kill()
    lonely.wait()
    assert runner_pid(tmp_path) is None
    assert all(is_alive(pid, started) for pid, started in ticks.items() if started)

    assert end_leftovers(tmp_path) == ["first", "second"]
    assert not any(is_alive(pid, started) for pid, started in ticks.items() if started)
    assert end_leftovers(tmp_path) == []


def test_it_never_ends_a_stranger_who_got_the_pid(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    started = started_ticks(stranger.pid)
    assert started is not None
    try:
        row = {"name": "engine", "pid": stranger.pid, "started": started - 1}
        (tmp_path / "processes.json").write_text(json.dumps([row]))
        assert end_leftovers(tmp_path) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_it_has_no_leftovers_where_nothing_ran(tmp_path: Path) -> None:
    assert end_leftovers(tmp_path) == []
    assert runner_pid(tmp_path) is None
    (tmp_path / "processes.json").write_text("{half a fi")
    (tmp_path / "runner.lock").write_text("")
    assert end_leftovers(tmp_path) == []
    assert runner_pid(tmp_path) is None


def test_it_shows_only_the_end_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert last_lines(log, 2) == "line 99998\nline 99999"
    assert last_lines(tmp_path / "none.log") == ""


def test_a_full_disk_does_not_end_what_runs(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    runner.start(spec(tmp_path, "server"))
    pid = runner.children[0].pid
    assert pid is not None

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while runner.children[0].pid in (None, pid) and time.monotonic() < deadline:
            runner.watch()
            time.sleep(0.02)
    assert runner.children[0].pid not in (None, pid)
    assert any("can't be written" in line for line in said)
