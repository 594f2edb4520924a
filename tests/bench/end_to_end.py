"""What a user's tokens per second lose by the gateway with a real engine, and what chat loses by a batch beside it.

Run by hand: `make bench-engine`. One appliance with vLLM on the CPU and the demo model; every duty of the gateway is on:
keys, limits of every kind, routing, journal, metrics. Answers of the same lengths are asked of the engine's own socket and
of the gateway in turns, the order turned each time, every prompt a new one; who has an answer asks for the next. Nothing
fails because of a figure; pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.bench.beside import beside_batches
from tests.bench.engine_report import as_text
from tests.bench.machine import Others, commit, family, hardware
from tests.bench.streams import Door, lengths, load
from tests.system.appliance import DEMO, Appliance, free_port

PLENTY = "1000000000"
LIMITS = ("requests-per-minute", "tokens-per-minute", "max-concurrency", "tokens-per-day", "monthly-budget")
START_S = 900
ANSWERS = 4  # of each stream, one after the other
Round = dict[str, float]


def main() -> None:
    """Measure and print."""
    options = parse(sys.argv[1:])
    with running(options.running) as appliance:
        key = make_key(appliance)
        doors = [Door("engine", socket=appliance.replica()["socket"]), Door("gateway", port=appliance.port, key=key)]
        others = Others()
        facts = {"hardware": hardware(), "commit": commit(), "model": f"{DEMO}, vLLM on the CPU, bfloat16"}
        pairs = {num: in_pairs(appliance, doors, num, options, others) for num in options.streams}
        beside = beside_batches(appliance, doors[1], options.batches, options.tokens, others) if options.batches else []
    found = {"facts": facts | {"meanwhile": str(others)}, "pairs": pairs, "beside": beside}
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else as_text(found, options.tokens))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.end_to_end", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each load against engine and gateway")
    parser.add_argument("--streams", type=int, action="append", help="streams at once (may be said again; 4 and 16)")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer, in the mean")
    parser.add_argument("--batches", type=int, default=3, help="times that chat is measured alone and beside a batch")
    parser.add_argument("--running", metavar="DATA_DIR:PORT", help="an appliance that is up, instead of a new one")
    parser.add_argument("--json", action="store_true", help="print every round's figures as JSON")
    options = parser.parse_args(arguments)
    options.streams = options.streams or [4, 16]
    if min(options.tokens - 1, options.pairs, *options.streams) < 1 or options.batches < 0:
        parser.error("all numbers must be positive, --tokens above 1")
    return options


@contextlib.contextmanager
def running(known: str | None) -> Iterator[Appliance]:
    """The appliance that is named, or one that lives as long as the benchmark."""
    if known is not None:
        data_dir, port = known.rsplit(":", 1)
        yield Appliance(Path(data_dir), int(port))
        return
    folder = Path(tempfile.mkdtemp(prefix="coderack-bench-"))
    folder.chmod(0o755)  # the embedded database runs as another user
    appliance = Appliance(folder, free_port())
    try:
        started = appliance.cli("start", timeout_s=START_S)
        if started.returncode:
            sys.exit(started.stdout + started.stderr)
        yield appliance
    finally:
        appliance.cli("stop", timeout_s=120)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(appliance.env.run_dir, ignore_errors=True)


def make_key(appliance: Appliance) -> str:
    """A key whose tenant has a limit of every kind, and none that refuses."""
    name = f"bench-{int(time.time())}"
    limits = [word for limit in LIMITS for word in (f"--{limit}", PLENTY)]
    prices = ["--input-price", "1", "--cached-price", "0.1", "--output-price", "2"]
    for command in (["plan", "create", name, *limits, *prices], ["tenant", "create", name, "--plan", name]):
        made = appliance.cli(*command)
        if made.returncode:
            sys.exit(made.stderr)
    return str(appliance.cli_json("key", "create", name)["key"])


def in_pairs(
    appliance: Appliance, doors: list[Door], num_streams: int, options: argparse.Namespace, others: Others
) -> list[dict[str, Round]]:
    """Pairs of one load, after one of each that does not count."""
    found: list[dict[str, Round]] = []
    for number in range(-1, options.pairs):
        turned = doors if number % 2 else doors[::-1]
        pair = {
            door.name: measure(
                appliance, door, num_streams, options.tokens, f"{door.name} {num_streams} {number}", others
            )
            for door in turned
        }
        if number >= 0:
            found.append(pair)
    return found


def measure(appliance: Appliance, door: Door, num_streams: int, max_tokens: int, mark: str, others: Others) -> Round:
    """One run: rates, delays, and the CPU of each process for a token."""
    before, other = cpu_seconds(appliance), others.read()
    began = time.monotonic()
    wanted = lengths(ANSWERS * num_streams, max_tokens)
    streams = asyncio.run(load(door, DEMO, num_streams, wanted, f"{time.time_ns()} {mark}"))
    seconds = time.monotonic() - began
    used = {name: after - before[name] for name, after in cpu_seconds(appliance).items()}
    others.count(other, sum(used.values()), seconds)
    tokens = sum(one.tokens for one in streams)
    return {
        "tokens/s": tokens / seconds,
        "TTFT ms": 1000 * sum(one.ttft_s for one in streams) / len(streams),
        "TPOT ms": 1000 * sum(one.tpot_s for one in streams) / len(streams),
        **{f"CPU ms per token: {name}": 1e3 * spent / tokens for name, spent in used.items()},
    }


def cpu_seconds(appliance: Appliance) -> dict[str, float]:
    """What each has used so far, with all its processes and threads."""
    roots = {
        "engine": int(appliance.replica()["pid"]), "gateway": appliance.child_pid("gateway"),
        "redis": appliance.child_pid("redis"), "load": psutil.Process().pid,
    }  # fmt: skip
    return {name: sum(map(_cpu_s, family(pid))) for name, pid in roots.items()}


def _cpu_s(pid: int) -> float:
    times: Any = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
