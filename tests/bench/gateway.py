"""What the gateway costs beside others: nobody in between, nginx, the Rust router and ours with every duty on, the same
loads in turns, each on one core.

Run by hand: `python -m tests.bench.gateway`. Every round measures all contenders, so that whatever else the machine does
meets each. Nothing here judges but the list of targets at the end, and that fails nothing; pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.bench import report
from tests.bench.contenders import Absent, Contender, Engines, direct, nginx, router
from tests.bench.harness import Harness, Overrun, build, compiler, cores, raise_file_limit
from tests.bench.loads import LOADS, Bench, leaving, memory, two_workers
from tests.bench.ours import Ours, ours
from tests.bench.targets import Rounds
from tests.inference.gateway.parts import free_port

NUM_REPLICAS = 4


def main() -> None:
    """Measure and print."""
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if compiler() is None:
        sys.exit("A C compiler is needed (Debian: apt-get install gcc libc6-dev).")
    raise_file_limit()
    facts = report.facts(options.seconds, options.rounds)
    root = Path(tempfile.mkdtemp(prefix="bench", dir="/tmp"))
    root.chmod(0o755)  # the database may run as another user
    try:
        rounds = measure(root, options, facts)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write(report.as_json(facts, rounds) if options.json else report.as_text(facts, rounds))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2, help="measured time of one load on one contender")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything works")
    parser.add_argument("--router", type=Path, help="an installed vllm-router, instead of installing one for this run")
    names = [load.name for load in LOADS]
    parser.add_argument("--load", action="append", choices=names, help="only this load (may be said again)")
    parser.add_argument("--alone", action="store_true", help="only the direct run and ours")
    parser.add_argument("--json", action="store_true", help="print every round's figures as JSON")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.rounds < 1:
        parser.error("all numbers must be positive")
    if options.quick:
        options.seconds, options.rounds = 0.5, 1
    return options


def measure(root: Path, options: argparse.Namespace, facts: dict[str, str]) -> Rounds:
    """Each contender's figures by round; what only the run can tell is added to the facts."""
    engines = Engines(
        [root / f"engine{n}.sock" for n in range(NUM_REPLICAS)], [free_port() for _ in range(NUM_REPLICAS)]
    )
    with ExitStack() as stack:
        os.sched_setaffinity(0, {cores()[0]})
        bench = Bench(Harness(build(root), engines.listen()), options.seconds)
        stack.callback(bench.harness.close)
        parts = stack.enter_context(ours(engines, root / "ours"))
        contenders = start(stack, facts, engines, root, options.router, alone=options.alone)
        our_own = stack.enter_context(parts.gateway(1))
        contenders.append(our_own)
        rounds = in_turns(bench, contenders, options.rounds, options.load)
        if options.load is None:
            aside(bench, contenders, rounds, options.seconds, facts)
            with parts.gateway(2) as two:
                rounds["ours"][-1] |= two_workers(bench, our_own, two, min(options.rounds, 3))
        facts["meanwhile"] = str(bench.others)
    facts["ours, afterwards"] = books(parts, bench)
    return rounds


def start(
    stack: ExitStack, facts: dict[str, str], engines: Engines, root: Path, installed: Path | None, *, alone: bool
) -> list[Contender]:
    """All contenders but ours; who can't be had is named."""
    makers: list[tuple[str, Callable[[], AbstractContextManager[Contender]]]] = [
        ("direct", lambda: direct(engines)),
        ("nginx", lambda: nginx(engines, root / "nginx")),
        ("vllm-router", lambda: router(engines, root / "router", installed)),
    ]
    contenders = []
    for name, make in makers[:1] if alone else makers:
        try:
            contenders.append(stack.enter_context(make()))
        except Absent as reason:
            facts[f"without {name}"] = str(reason)
            sys.stderr.write(f"without {name}: {reason}\n")
    return contenders


def in_turns(bench: Bench, contenders: list[Contender], num_rounds: int, only: list[str] | None) -> Rounds:
    """Every load on every contender, round by round, the order turned each time."""
    rounds: Rounds = {contender.name: [] for contender in contenders}
    for number in range(num_rounds):
        turned = contenders[number % len(contenders) :] + contenders[: number % len(contenders)]
        for contender in turned:
            rounds[contender.name].append({})
        for load in [load for load in LOADS if only is None or load.name in only]:
            for contender in turned:
                rounds[contender.name][-1] |= bench.measure(load, contender)
    return rounds


def aside(bench: Bench, contenders: list[Contender], rounds: Rounds, seconds: float, facts: dict[str, str]) -> None:
    """What is measured once: memory, and clients that leave. Another's part that comes to no end is named and left out."""
    for contender in contenders:
        if contender.pid is None:
            continue
        for part, least in ((memory, 1.0), (leaving, 0.0)):
            try:
                rounds[contender.name][-1] |= part(bench, contender, max(seconds, least))
            except Overrun as fault:
                if contender.name == "ours":
                    raise
                facts[f"{contender.name}, left out"] = str(fault)


def books(parts: Ours, bench: Bench) -> str:
    """Whether the journal says what the engine says."""
    records = parts.rig.records()
    billed = sum(record.completion_tokens for record in records)
    exact = sum(record.exact for record in records)
    generated = bench.generated["ours"]
    return f"{len(records)} requests in the journal, {exact} exact; {billed} tokens billed of {generated} generated"


if __name__ == "__main__":
    main()
