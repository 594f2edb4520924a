"""`coderack up`: the whole appliance under one runner, from nothing to a streamed answer, until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from appliance.env import Env, EnvError, load
from appliance.metrics.show import show
from ops.cli import ready
from ops.cli.first_steps import Start, begin_database, set_up
from ops.cli.printing import Exit, fail, out
from ops.cli.servers import start_servers
from ops.cli.specs import POOL_STOP_S, control_plane_specs
from ops.cli.surroundings import prepare_directories, require_home, require_port, require_space, require_whole
from ops.embedded.errors import EmbeddedError
from ops.models.errors import ModelError
from ops.runner.errors import AlreadyRunning, RunnerError
from ops.runner.metrics import Children, Disks
from ops.runner.runner import Runner, end_leftovers
from ops.runner.sweep import end_engines
from ops.slots.errors import SlotError

ENGINE_READY_S = 420.0
KNOWN_FAULTS = (RunnerError, EmbeddedError, SlotError, ModelError, EnvError)
Report = Callable[[str], None]


def up(
    give_up: Annotated[bool, typer.Option("--give-up", help="End everything when no streamed answer comes.")] = False,
) -> None:
    """Set up what is missing, start everything, print how to use it, keep it running until Ctrl-C."""
    report = _reporter()
    try:
        env = load()
        require_home(env)
        prepare_directories(env)
        runner = Runner(env.run_dir, report)
    except AlreadyRunning as error:
        raise fail(str(error), Exit.ALREADY_RUNNING) from None
    except KNOWN_FAULTS as error:
        raise fail(str(error)) from None

    def on_signal(number: int, _frame: FrameType | None) -> None:
        runner.request_stop()
        if runner.may_be_interrupted:
            raise RunnerError(f"stopped by {signal.Signals(number).name} during the set-up")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        signal.signal(number, on_signal)
    fault = ""
    try:
        _run(env, runner, report, give_up)
    except KNOWN_FAULTS as error:
        fault = "" if runner.stop_requested else str(error)
    finally:
        _stop(env, runner, report)
    if fault:
        raise fail(fault)


def _run(env: Env, runner: Runner, report: Report, give_up: bool) -> None:
    for name in end_leftovers(env.run_dir):
        report(f"ended {name}, left over from a runner that was killed")
    (env.run_dir / "stopping").unlink(missing_ok=True)
    env.ready_file.unlink(missing_ok=True)
    require_whole(env)
    require_port(env)
    require_space(env)

    _show_metrics(env, runner)
    runner.may_be_interrupted = True  # nothing runs yet that would have to be drained
    installed = set_up(env, report)
    runner.may_be_interrupted = False
    start_servers(env, runner, report)
    report("preparing the database")
    start = begin_database(env, installed)
    for spec in control_plane_specs(env):
        report(f"starting the {spec.name}")
        runner.start(spec)
    try:
        _first_answer(env, runner, report, start)
    except RunnerError as error:
        if give_up or runner.stop_requested:
            raise
        out.print(f"\n{error}\n\nThe rest keeps running: the console is at {env.base_url}\n", markup=False, style="red")
    while not runner.stop_requested:
        runner.watch()
        time.sleep(0.2)


def _show_metrics(env: Env, runner: Runner) -> None:
    registry = CollectorRegistry()
    registry.register(Children(runner.children))
    registry.register(Disks({"data": env.data_dir, "cache": env.cache_dir}))
    show(env.metrics_dir, "runner", registry)


def _first_answer(env: Env, runner: Runner, report: Report, start: Start) -> None:
    def waiting() -> bool:
        runner.watch()
        return not runner.stop_requested

    models = [start.model] if start.model else []
    if start.model and start.login:
        ready.wait_for_replica(start.model, ENGINE_READY_S, waiting, report)
        report("sending the first request")
        report(f"the answer begins: {ready.streamed_answer(env, start.login.api_key, start.model)!r}")
    values = ready.facts(env, start.login, models)
    ready.write_facts(env, values)
    out.print(ready.announcement(values), markup=False)


def _stop(env: Env, runner: Runner, report: Report) -> None:
    """Stop taking requests, let the pool drain and end the engines, then end everything in reverse order."""
    report("stopping")
    env.ready_file.unlink(missing_ok=True)
    (env.run_dir / "stopping").touch()
    runner.ask_to_stop("worker")  # a trainer writes a checkpoint, evaluations leave the engines
    runner.ask_to_stop("gateway")  # streams go on for a moment while the pool waits for its engines to be idle
    runner.wait_for_end("pool", POOL_STOP_S)
    runner.stop_all()
    if end_engines(env.run_dir):
        report("ended engines that did not stop by themselves")
    (env.run_dir / "stopping").unlink(missing_ok=True)
    runner.close()
    report("stopped")


def _reporter() -> Report:
    begin = time.monotonic()

    def report(line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone, and stopping must go on
            out.print(f"[{time.monotonic() - begin:6.1f} s] {line}", markup=False)

    return report
