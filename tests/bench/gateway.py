"""What the gateway costs: the same load straight at an engine and through a real gateway, in turns, as figures and ratios.

Run by hand: `python -m tests.bench.gateway`. Every round measures both sides, so that whatever else the machine does
meets both. Nothing here judges the figures; pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.clients import Target
from tests.bench.loop import Engine, Loop
from tests.bench.machine import Others
from tests.bench.report import Pair
from tests.bench.windows import Figures, Window, paced, small, unary, unpaced
from tests.inference.gateway.database import SCHEMA, Postgres, add_key, add_model
from tests.inference.gateway.parts import KEY, Rig, healthy, start_gunicorn, write_tokenizer
from tests.waiting import wait_until

MODEL = "deepseek-bench"
SHARES = {"unpaced": 0.25, "paced": 0.3, "small": 0.25, "unary": 0.2}  # of one side's time in a round


@dataclass
class Side:
    """Where one side's load goes, and the process in between, if any."""

    target: Target
    worker_pid: int | None
    num_requests: int = 0


def main() -> None:
    """Measure and print."""
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_file_limit()
    facts = report.facts(options.seconds, options.rounds, options.streams)
    root = Path(tempfile.mkdtemp(prefix="bench", dir="/tmp"))
    try:
        pairs = measure(root, options, facts)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write(report.as_json(facts, pairs) if options.json else report.as_text(facts, pairs))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="time spent measuring, both sides together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=256, help="concurrent streams of the two large loads")
    parser.add_argument("--json", action="store_true", help="print every round's figures as JSON")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.rounds < 1 or options.streams < 1:
        parser.error("all numbers must be positive")
    return options


def raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure(root: Path, options: argparse.Namespace, facts: dict[str, Any]) -> list[Pair]:
    """Each round's figures; what only the run can tell is added to the facts."""
    loop = Loop()
    socket = root / "engine.sock"
    engine = Engine(loop, socket)
    with gateway(root, socket) as (rig, worker_pid):
        straight = Side(Target(socket, MODEL, KEY), None)
        through = Side(Target(("127.0.0.1", rig.port), MODEL, KEY), worker_pid)
        window_s = options.seconds / options.rounds / 2
        others = Others(os.getpid(), worker_pid)
        pairs: list[Pair] = []
        for number in range(options.rounds):
            order = (straight, through) if number % 2 == 0 else (through, straight)
            figures = {id(side): round_of(engine, side, window_s, options.streams) for side in order}
            pairs.append((figures[id(straight)], figures[id(through)]))
        facts["meanwhile"] = str(others)
    engine.close()
    records = rig.records()
    exact = sum(record.exact and record.outcome == "completed" for record in records)
    facts["requests"] = f"{through.num_requests} through the gateway, {len(records)} in its journal, {exact} exact"
    return pairs


def round_of(engine: Engine, side: Side, seconds: float, num_streams: int) -> Figures:
    figures: Figures = {}
    for name, share in SHARES.items():
        window = Window(engine, side.worker_pid, seconds * share)
        match name:
            case "unpaced":
                figures |= unpaced(window, side.target, num_streams)
            case "paced":
                figures |= paced(window, side.target, num_streams)
            case "small":
                figures |= small(window, side.target)
            case "unary":
                figures |= unary(window, side.target)
        side.num_requests += window.tally.num_asked
    return figures


@contextmanager
def gateway(root: Path, engine_socket: Path) -> Iterator[tuple[Rig, int]]:
    """A directory database and a gunicorn with one gateway worker, on a core of its own where there is one."""
    root.chmod(0o755)  # the database may run as another user
    (root / "pg").mkdir()
    postgres = Postgres(root / "pg")
    postgres.start()
    try:
        write_tokenizer(root / "tokenizer.json")
        postgres.execute(SCHEMA)
        add_key(postgres, KEY, "owner")
        add_model(postgres, MODEL, str(root))
        postgres.execute("INSERT INTO gateway_replicas VALUES ('r', 'life', %s, %s)", MODEL, str(engine_socket))
        rig = Rig(root, postgres)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1]})  # inherited
        process = start_gunicorn(rig, rig.port, 1, comment_after_s=10, stall_timeout_s=120)
        os.sched_setaffinity(0, {cores[0]})
        try:
            wait_until(lambda: healthy(rig.port), log=root / f"gateway-{rig.port}.log")
            yield rig, worker_of(process.pid)
        finally:
            process.terminate()
            process.wait(20)
    finally:
        postgres.stop()


def worker_of(master_pid: int) -> int:
    (pid,) = Path(f"/proc/{master_pid}/task/{master_pid}/children").read_text().split()
    return int(pid)


if __name__ == "__main__":
    main()
