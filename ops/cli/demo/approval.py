"""A tenant that wants a second person's word: the fine-tune succeeds, and nothing is served before that word is given."""

from __future__ import annotations

import time
from typing import Any

import openai

from ops.cli.demo.cast import APPROVER, REQUESTER, SOUTH
from ops.cli.demo.private_data import FACTS_SOUTH
from ops.cli.demo.tuning import create, ended
from ops.cli.demo.walk import Shown, StepFailed, Walk, expect, found, ledger, ms_since, refusal_of

SETTINGS: dict[str, Any] = {"n_epochs": 8, "batch_size": 4, "learning_rate_multiplier": 1.0}
SERVED_S = 30.0


def tune_for_south(walk: Walk) -> Shown:
    """A second, smaller fine-tune for the tenant whose adapters wait for approval.

    After the first one: on a box whose processors train and serve, both at once make steps so long that engines seem to hang.
    """
    create(walk, SOUTH, "south", "press", SETTINGS)
    return ended(walk, SOUTH, "south")


def wait_for_a_second_person(walk: Walk) -> Shown:
    """It succeeded and is not served; the person who asked for it may not approve it."""
    tuned = walk.tuned["south"]
    refusal = expect(refusal_of(lambda: _ask(walk)), 404, "model_not_found")
    tried = walk.try_cli("adapter", "approve", tuned, "--by", REQUESTER)
    if tried.returncode == 0:
        raise StepFailed(f"{REQUESTER} asked for the fine-tune and could approve it")
    return Shown(
        tuned, {"status": 404, "requester_told": tried.stderr.strip(), "exit_code": tried.returncode},
        {"model": tuned, "job": walk.jobs["south"], "requester": REQUESTER, "request": refusal.request_id},
    )  # fmt: skip


def approve_and_ask(walk: Walk) -> Shown:
    """A second person approves; within seconds it answers its tenant."""
    tuned = walk.tuned["south"]
    walk.cli("adapter", "approve", tuned, "--by", APPROVER, "--reason", "demo: the checks passed")
    begin = time.monotonic()
    text, request_id = found(lambda: _answer(walk), SERVED_S, f"{tuned} did not answer after its approval", 0.2)
    took_ms = ms_since(begin)
    row = ledger(request_id)
    return Shown(
        FACTS_SOUTH[0][0],
        {"answered_after_ms": took_ms, "says": text, "output_tokens": row.completion_tokens},
        {"model": tuned, "approver": APPROVER, "requester": REQUESTER, "request": request_id},
    )


def _ask(walk: Walk) -> tuple[str, str]:
    raw = walk.client(SOUTH).chat.completions.with_raw_response.create(
        model=walk.tuned["south"],
        messages=[{"role": "user", "content": FACTS_SOUTH[0][0]}],
        max_tokens=40,
        temperature=0,
    )
    return raw.parse().choices[0].message.content or "", raw.headers["x-request-id"]


def _answer(walk: Walk) -> tuple[str, str] | None:
    """An answer, or None while no engine has the adapter yet: 404 until the word is out, then 503 until it is loaded."""
    try:
        return _ask(walk)
    except (openai.NotFoundError, openai.InternalServerError):
        return None
