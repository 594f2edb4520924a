"""What the pool costs when nothing happens, how soon it sees an engine's death, how long it plans for a large fleet.

Run by hand: `make bench-pool`. The pool is the process that the appliance runs, on a real PostgreSQL; its eight engines are
the tests' fake ones, which answer as vLLM does. Nothing fails because of a figure; pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from inference.devices import DeviceInfo
from inference.pool.plan import Create, plan
from inference.pool.states import ReplicaState
from inference.pool.store import DesiredDeployment, Life, ReplicaRow
from inference.pool.strategies import STRATEGIES
from tests.bench.machine import REPO, Others, commit, family, hardware

REPLICAS = 8
DEVICES, DEPLOYMENTS = 64, 32
TARGETS = {"idle CPU, % of a core": 1.0, "death to failed, s": 2.0, "planning, ms": 50.0}
_READY_S = 120.0
_DEATH_S = 30.0
Figures = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    options = parse(sys.argv[1:])
    others = Others()
    found: Figures = {"planning, ms": planning(options.fleets)}
    with running_pool() as (pool, postgres):
        found |= idle(pool, postgres, options.seconds, others)
        found["death to failed, s"] = [reaction(number) for number in range(options.kills)]
    facts = {"hardware": hardware(), "commit": commit(), "meanwhile": str(others)}
    sys.stdout.write(
        json.dumps({"facts": facts, "figures": found}, indent=2) + "\n" if options.json else text(facts, found)
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pool", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of idleness, each of three times")
    parser.add_argument("--kills", type=int, default=16, help="engines killed, one after the other")
    parser.add_argument("--fleets", type=int, default=40, help="made-up fleets that are planned for")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    options = parser.parse_args(arguments)
    if min(options.seconds, options.kills, options.fleets) < 1:
        parser.error("every number has to be at least 1")
    return options


def planning(fleets: int) -> list[float]:
    """Milliseconds of a plan for each fleet, empty and with every engine in its place."""
    found = []
    for number in range(fleets):
        desired, devices = fleet(random.Random(number))
        begun = time.perf_counter()
        actions = plan(desired, devices, [], 0.0)
        found.append(1000 * (time.perf_counter() - begun))
        rows = [ready(a) for a in actions if isinstance(a, Create) and a.devices]
        begun = time.perf_counter()
        plan(desired, devices, rows, 0.0)
        found.append(1000 * (time.perf_counter() - begun))
    return found


def fleet(dice: random.Random) -> tuple[list[DesiredDeployment], list[DeviceInfo]]:
    """Eight boxes of eight linked cards, and more wishes than they can fulfil."""
    devices = [
        DeviceInfo(f"nvidia:{n}", "nvidia", "H20", 96 << 30, group=f"nvlink-{n // 8}", healthy=dice.random() > 0.03)
        for n in range(DEVICES)
    ]
    desired = []
    for number in range(DEPLOYMENTS):
        each, replicas = dice.choice((1, 1, 2, 4, 8)), dice.randint(1, 4)
        pinned = dice.sample([d.id for d in devices], each * replicas) if dice.random() < 0.25 else []
        desired.append(
            DesiredDeployment(
                f"d{number}",
                f"m{number}",
                f"m{number}",
                Path("/m"),
                "",
                "",
                Path("/python"),
                replicas,
                each,
                (),
                4096,
                running=True,
                placement=dice.choice(sorted(STRATEGIES)),
                pinned=tuple(pinned),
            )
        )
    return desired, devices


def ready(made: Create) -> ReplicaRow:
    life = Life("l", 1, 1, Path("/s"), Path("/l"), 0.0)
    place = f"{made.deployment_id}-{made.index}"
    return ReplicaRow(place, made.deployment_id, made.index, ReplicaState.READY, "", made.devices, life, 0, None)


def idle(pool: psutil.Process, postgres: int, seconds: float, others: Others) -> Figures:
    """The CPU of the pool's own process, and of the database, which has no other client."""
    found: Figures = {"idle CPU, % of a core": [], "its database's, %": []}
    for _ in range(3):
        before, at, all_s = others.read(), time.monotonic(), (used(pool), used_by_family(postgres))
        time.sleep(seconds)
        took_s = time.monotonic() - at
        pool_s, database_s = used(pool) - all_s[0], used_by_family(postgres) - all_s[1]
        others.count(before, pool_s + database_s, took_s)
        found["idle CPU, % of a core"].append(100 * pool_s / took_s)
        found["its database's, %"].append(100 * database_s / took_s)
    return found


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def used_by_family(pid: int) -> float:
    return sum(used(psutil.Process(member)) for member in family(pid))


def reaction(number: int) -> float:
    """Seconds from an engine's SIGKILL until the database says that it failed."""
    from appliance.fleet.models import Replica

    row = Replica.objects.select_related("life").get(index=number % REPLICAS)
    assert row.life is not None
    mine = Replica.objects.filter(pk=row.pk)
    os.kill(row.life.pid, signal.SIGKILL)
    begun = time.monotonic()
    wait(lambda: mine.filter(state=ReplicaState.FAILED.value).exists(), _DEATH_S, 0.005)
    took_s = time.monotonic() - begun
    wait(all_ready, _READY_S)
    return took_s


@contextlib.contextmanager
def running_pool() -> Iterator[tuple[psutil.Process, int]]:
    """The pool's process with every engine ready, and the database's pid; all of it ends afterwards."""
    from django.db import connection

    from tests.appliance import conftest

    postgres = conftest._start_postgres()
    pool = None
    try:
        deploy(conftest.ROOT)
        environment = os.environ | conftest.ENVIRONMENT | {"CODERACK_DEVICES": f"cpu:{REPLICAS}"}
        with (conftest.ROOT / "pool.log").open("wb") as log:
            argv = [sys.executable, "manage.py", "run_pool"]
            pool = subprocess.Popen(argv, cwd=REPO, env=environment, stdout=log, stderr=log)
        wait(all_ready, _READY_S)
        yield psutil.Process(pool.pid), postgres.pid
    finally:
        if pool is not None:
            (conftest.ROOT / "run" / "stopping").touch()
            with contextlib.suppress(subprocess.TimeoutExpired):
                pool.wait(60)
            pool.kill()
        connection.close()  # it ends once its last client is gone
        postgres.terminate()
        postgres.wait(30)


def deploy(root: Path) -> None:
    from django.core.management import call_command

    from appliance.first_rows import register_model, register_slot
    from appliance.fleet.deployments import serve
    from tests.inference.pool.fake_slot import make_model, make_slot

    call_command("migrate", verbosity=0)
    make_slot(root / "slot" / "bin")
    slot = register_slot("fake", "cpu", "1", root / "slot", "d")
    serve(register_model("lite", make_model(root / "model"), "d", "", 512, False), slot, (), REPLICAS, 1)


def all_ready() -> bool:
    from appliance.fleet.models import Replica

    return Replica.objects.filter(state=ReplicaState.READY.value).exclude(life=None).count() == REPLICAS


def wait(holds: Callable[[], bool], seconds: float, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {holds.__qualname__}")
        time.sleep(pause_s)


def text(facts: dict[str, str], found: Figures) -> str:
    lines = [f"{name}: {value}" for name, value in facts.items()]
    for name, values in found.items():
        line = f"{name}: median {statistics.median(values):.2f}, most {max(values):.2f} of {len(values)}"
        if name in TARGETS:
            line += f"; target {TARGETS[name]:g}: {'reached' if max(values) <= TARGETS[name] else 'NOT reached'}"
        lines.append(line)
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
