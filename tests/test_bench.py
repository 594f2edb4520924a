"""The benchmark's C parts compile without a warning and speak to each other; the figures themselves are `make bench`'s."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.bench.harness import Answer, Harness, build, compiler
from tests.bench.loads import events
from tests.bench.targets import Target, judge
from tests.waiting import wait_until

Run = Callable[..., Answer]

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler here (Debian: apt-get install gcc libc6-dev)")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("b")
    address = f"unix:{folder}/e.sock"
    harness = Harness(build(folder), [address])
    yield partial(harness.run, address=address, key="k", pids=os.getpid())
    harness.close()


def until(what: str, ask: Callable[[], Answer]) -> Answer:
    """A run in whose short window something happened: a busy machine may sleep through one."""

    def answer() -> Answer | None:
        got = ask()
        return got if got[what] else None

    found: Answer = wait_until(answer)
    return found


def test_it_exchanges_a_paced_stream(run: Run) -> None:
    answer = until("events", lambda: run(kind="paced", streams=1, seconds=0.2, period_us=5000, events=3))
    assert answer["prompts"] >= 1
    assert answer["tokens"] >= answer["events"] > 0
    assert answer["delay"]["num"] == answer["events"]
    figures = events({**answer, "own_cpu_s": answer["cpu_s"][0]}, paced=True)
    assert figures["events/s"] > 0
    assert 0 <= figures["in time, %"] <= 100


def test_a_stream_without_a_pace_sends_an_event_only_when_the_last_was_read(run: Run) -> None:
    answer = until("answers", lambda: run(kind="unpaced", streams=2, seconds=0.1, events=4))
    assert answer["events"] <= answer["tokens"] <= answer["prompts"] * 4


def test_whole_answers_are_counted(run: Run) -> None:
    answer = until("answers", lambda: run(kind="unary", streams=2, seconds=0.1))
    assert answer["tokens"] == 5 * answer["prompts"]
    assert 0 < answer["answers"] <= answer["prompts"]


@pytest.mark.parametrize("kind", ["leave", "leave-unary"])
def test_the_engine_notices_every_client_that_leaves(run: Run, kind: str) -> None:
    answer = run(kind=kind, streams=3, seconds=0.3)
    assert answer["left"] == answer["cancel"]["num"] == 3


def test_a_reader_that_never_reads_gets_only_what_the_sockets_hold(run: Run) -> None:
    answer = run(kind="flood", streams=1, seconds=0.1, bytes=50_000_000)
    assert answer["events"] == 0
    assert 0 < answer["tokens"] < 50_000_000 / 240


def test_targets_are_judged_by_ratios_within_a_round() -> None:
    ours = [{"unary: CPU ms per request": cost} for cost in (1.0, 3.0, 2.0)]
    nginx = [{"unary: CPU ms per request": cost} for cost in (1.0, 1.0, 0.1)]
    verdicts = {str(one.target): one for one in judge({"ours": ours, "nginx": nginx})}
    four = verdicts[str(Target("unary: CPU ms per request", 4, against="nginx"))]
    assert (four.found, four.reached) == (3.0, True)
    assert verdicts[str(Target("unary: CPU ms per request", 2.5, against="nginx"))].reached is False
    assert verdicts[str(Target("never read: MB more", 16))].reached is None


def test_what_is_added_is_a_difference_within_a_round() -> None:
    figure = "spread: event delay p99"
    rounds = {"direct": [{figure: 0.5}, {figure: 9.0}], "ours": [{figure: 1.5}, {figure: 11.0}]}
    (verdict,) = [one for one in judge(rounds) if one.target.figure == figure]
    assert (verdict.found, verdict.reached) == (1.5, True)


def test_near_the_harness_ceiling_a_rate_is_judged_by_cpu() -> None:
    def round_of(rate: float, cost: float) -> list[dict[str, float]]:
        return [{"unpaced 64: events/s": rate, "unpaced 64: CPU s per 1M events": cost}]

    rounds = {"direct": round_of(100.0, 0.0), "nginx": round_of(90.0, 10.0), "ours": round_of(60.0, 20.0)}
    target = Target("unpaced 64: events/s", 0.75, at_most=False, against="nginx")
    (verdict,) = [one for one in judge(rounds) if one.target == target]
    assert verdict.found == 0.5
    assert verdict.how
