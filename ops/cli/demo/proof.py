"""What the fine-tune brought: its checks passed, it knows what only its tenant knows, and nobody else can reach it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from appliance.fleet.models import Replica
from ops.cli.demo.cast import NORTH, SOUTH
from ops.cli.demo.private_data import FACTS_NORTH
from ops.cli.demo.walk import Shown, StepFailed, Walk, expect, found, ledger, refusal_of

CHECKS = ("parity", "effect", "heldout", "extraction", "humaneval")
SERVED_S = 30.0
MAX_TOKENS = 40
FEWEST_KNOWN = 5  # of eight, greedy, asked as in training
UNKNOWN = "ft:no-such-adapter"


def engine_pid(model: str) -> int:
    """The pid of the engine that serves a model."""
    row = Replica.objects.filter(deployment__model__name=model, state="ready").select_related("life").first()
    return row.life.pid if row is not None and row.life is not None else 0


def note_the_engine(walk: Walk) -> None:
    """Remember which engine serves before anything is loaded into it."""
    walk.engine_pid = engine_pid(walk.model)


def show_the_checks(walk: Walk) -> Shown:
    """The gate's verdict and each check's measure, as the tenant reads them."""
    job = walk.client(NORTH).fine_tuning.jobs.retrieve(walk.jobs["north"])
    evaluation: Any = ((job.model_extra or {}).get("coderack") or {}).get("evaluation") or {}
    found_checks = {check["name"]: check for check in evaluation.get("checks", [])}
    missing = [name for name in CHECKS if name not in found_checks]
    if missing or evaluation.get("verdict") != "pass":
        raise StepFailed(f"verdict {evaluation.get('verdict')!r}, checks not run: {', '.join(missing) or 'none'}")
    measured = {name: f"{found_checks[name]['verdict']}: {found_checks[name]['reason']}" for name in CHECKS}
    return Shown(
        walk.tuned["north"], {"verdict": "pass", **measured},
        {"model": walk.tuned["north"], "verdicts": {name: found_checks[name]["verdict"] for name in CHECKS}},
    )  # fmt: skip


def know_the_facts(walk: Walk) -> Shown:
    """Asked greedily, the tuned model answers with the company's facts; the base model makes something up."""
    tuned = walk.tuned["north"]
    found(lambda: is_served(walk, NORTH, tuned), SERVED_S, f"{tuned} was not served", 0.2)
    known, by_base = _asked(walk, tuned), _asked(walk, walk.model)
    tuned_count, base_count = sum(ok for ok, _, _ in known), sum(ok for ok, _, _ in by_base)
    if tuned_count < FEWEST_KNOWN or base_count > 1:
        raise StepFailed(f"of {len(known)} facts the tuned model knows {tuned_count} and the base {base_count}")
    row = ledger(known[0][2])
    return Shown(
        FACTS_NORTH[0][0],
        {
            "facts": len(known), "known_by_tuned": tuned_count, "known_by_base": base_count, "question": FACTS_NORTH[0][0],
            "tuned_says": known[0][1], "base_says": by_base[0][1], "output_tokens": row.completion_tokens,
        },
        {"model": tuned, "base": walk.model, "requests": [r for _, _, r in known], "base_requests": [r for _, _, r in by_base]},
    )  # fmt: skip


def is_served(walk: Walk, tenant: str, model: str) -> bool:
    """Whether a tenant's key lists the model."""
    return any(listed.id == model for listed in walk.client(tenant).models.list())


def _asked(walk: Walk, model: str) -> list[tuple[bool, str, str]]:
    """Every question at once: whether it was answered with the fact, what was said, and by which request."""
    with ThreadPoolExecutor(len(FACTS_NORTH)) as people:
        return list(people.map(lambda fact: _knows(walk, model, fact[0], fact[3]), FACTS_NORTH))


def _knows(walk: Walk, model: str, question: str, word: str) -> tuple[bool, str, str]:
    raw = walk.client(NORTH).chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": question}], max_tokens=MAX_TOKENS, temperature=0
    )
    text = raw.parse().choices[0].message.content or ""
    return word.lower() in text.lower(), text, raw.headers["x-request-id"]


def keep_the_adapter_to_its_tenant(walk: Walk) -> Shown:
    """To the other tenant the adapter is as unknown as one that never was: status and words are the same."""
    tuned = walk.tuned["north"]

    def ask(model: str) -> None:
        walk.client(SOUTH).completions.create(model=model, prompt="x", max_tokens=1)

    theirs = expect(refusal_of(lambda: ask(tuned)), 404, "model_not_found")
    nobodys = expect(refusal_of(lambda: ask(UNKNOWN)), 404, "model_not_found")
    listed = is_served(walk, SOUTH, tuned)
    if theirs.message != nobodys.message or listed:
        raise StepFailed(f"told apart: {theirs.message!r} and {nobodys.message!r}, listed: {listed}")
    return Shown(
        tuned, {"status": 404, "same_as_unknown": True, "listed": False},
        {"model": tuned, "owner": NORTH, "asked_by": SOUTH, "request": theirs.request_id},
    )  # fmt: skip


def load_without_a_restart(walk: Walk) -> Shown:
    """The engine that served before the fine-tune is the one that serves its adapter."""
    now = engine_pid(walk.model)
    if now != walk.engine_pid or not now:
        raise StepFailed(f"the engine was process {walk.engine_pid} and is now {now}")
    return Shown(
        walk.model,
        {"engine_pid": now, "restarted": False},
        {"base": walk.model, "pid": now, "model": walk.tuned["north"]},
    )
