"""A run's parts as tests need them: what was measured and booked without a fault, to be changed in one place."""

from __future__ import annotations

from typing import Any

from ops.acceptance.certificate import Box, Run, canonical, page, payload
from ops.acceptance.evidence import Evidence, LifeBook, Reading
from ops.acceptance.folder import HTML, JSON, REQUESTS
from ops.acceptance.judge import judge
from ops.acceptance.measure import Measured, measure
from ops.acceptance.requests import Request, decode, encode
from ops.acceptance.workload import Target, Workload

LIFE = "11111111-0000-0000-0000-000000000000"
WORK = Workload("tiny", 40, 10, 2, 20.0, 5.0, 7)
TARGET = Target(10.0, 5.0, 2000.0, 500.0)
WINDOW = (5.0, 25.0)


def request(number: int, **changed: Any) -> Request:
    """A request that began at its number's second, with its first token after 0.1 s and a second in all."""
    values: dict[str, Any] = {
        "number": number,
        "request_id": f"req-{number}",
        "status": 200,
        "began_s": float(number),
        "ended_s": number + 1.0,
        "ttft_s": 0.1,
        "events": 10,
        "events_in_window": 10 if WINDOW[0] <= number < WINDOW[1] else 0,
        "prompt_tokens": 40,
        "cached_tokens": 0,
        "completion_tokens": 10,
        "error": "",
    }
    return Request(**{**values, **changed})


def requests() -> list[Request]:
    """Thirty requests, a second each; those of the seconds 5 to 24 are in the window."""
    return [request(number) for number in range(30)]


def measured(rows: list[Request] | None = None) -> Measured:
    return measure(requests() if rows is None else rows, WINDOW, 0.05)


def life(**changed: Any) -> LifeBook:
    values: dict[str, Any] = {
        "life_id": LIFE,
        "replica": "tiny/0",
        "devices": ("cpu:0",),
        "before": Reading(100.0, 1000, 100),
        "after": Reading(200.0, 2205, 401),
        "requests": 31,
        "prompt_tokens": 1205,
        "completion_tokens": 301,
        "requests_of_others": 1,
        "inexact": 0,
    }
    return LifeBook(**{**values, **changed})


def books(**changed: Any) -> Evidence:
    values: dict[str, Any] = {
        "key_id": "k",
        "requests": 30,
        "prompt_tokens": 1200,
        "cached_tokens": 0,
        "completion_tokens": 300,
        "num_disagreeing": 0,
        "disagreeing": (),
        "first_request": "req-0",
        "last_request": "req-29",
        "lives_before": (LIFE,),
        "lives_after": (LIFE,),
        "lives": (life(),),
    }
    return Evidence(**{**values, **changed})


def files(kind: str = "cpu", name: str = "A CPU", lines: bytes | None = None) -> dict[str, bytes]:
    """A certificate's files, judged and rendered, not yet signed."""
    import hashlib

    lines = encode(requests()) if lines is None else lines
    figures = measure(decode(lines), WINDOW, 0.05)
    run = Run(
        "22222222-0000-0000-0000-000000000000", "cli:operator", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:05.000Z",
        "2026-01-01T00:01:00.000Z", *WINDOW, hashlib.sha256(lines).hexdigest(),
        Box(
            ({"id": f"{kind}:0", "kind": kind, "name": name, "memory_bytes": 2**33, "used": True},),
            {"version": "0.32"}, {"digest": "d" * 64}, {"flags": ["--a", "1"]}, {"commit": None},
        ),
        WORK, TARGET, figures, books(),
    )  # fmt: skip
    facts = payload(run, judge(WORK, TARGET, figures, books()))
    return {JSON: canonical(facts), HTML: page(facts), REQUESTS: lines}
