"""Proves an adapter before it is used: waits until an engine has it, measures, asks the gate, and does what follows.

Scores of the training stack come from a process of the engine slot, everything else from the engine that will serve it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from appliance.audit.record import record
from appliance.fleet.merged import ask_for, merges, serving_of, standing
from appliance.fleet.models import AdapterLoad, Deployment
from appliance.registry.models import Adapter, AdapterState
from appliance.tenants.models import AdapterPolicy
from appliance.training import lease, metrics
from appliance.training.adapters import is_loaded, move
from appliance.training.devices import a_device
from appliance.training.errors import AttemptFailed, BrokeOff, LeaseLost
from appliance.training.events import add_event, say
from appliance.training.folders import attempt_dir, job_dir
from appliance.training.heartbeat import Heartbeat
from appliance.training.models import Dataset, Evaluation, Job
from appliance.training.patience import patiently
from appliance.training.plan import MAX_LENGTH
from appliance.training.planted import planted_secret
from appliance.training.rows import SCORES, read_rows, rows_for
from appliance.training.serving import EngineSampler, NoEngine, ReadyEngine, merged_engine, ready_engine
from finetune.evaluate import humaneval, sandbox
from finetune.evaluate.check import Check, Verdict
from finetune.evaluate.checks.extraction import Planted
from finetune.evaluate.errors import SandboxMissing
from finetune.evaluate.gate import Gate, decide
from finetune.evaluate.humaneval import Task
from finetune.evaluate.plan import Inputs, evaluate
from finetune.evaluate.run_scoring import run_scoring
from finetune.evaluate.scored import Scored
from finetune.files import write_json
from finetune.job import JobStatus
from inference.metering.journal import JournalWriter
from ops.suites.humaneval import suite_path

LOAD_TIMEOUT_S = 120.0
MAX_TEXTS = 24


@functools.cache
def journal() -> JournalWriter:
    """The worker's own journal: evaluations are booked like everything else that an engine generates."""
    return JournalWriter(settings.ENV.journal_dir, "worker")


def prove(
    job: Job, adapter: Adapter, fence: int, heart: Heartbeat, training: Dataset, validation: Dataset | None
) -> None:
    """Measure a candidate and carry out the gate's verdict.

    Raises: LeaseLost, AttemptFailed when it is rejected, NoEngine when it has to be tried again later.
    """
    folder = attempt_dir(job.pk, fence)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    inputs = _inputs(job, adapter, fence, heart, training, validation)
    if _merges(adapter):
        ask_for(adapter)  # only now: its engine may take the device that the scores were made on
    sampler = _loaded(adapter, heart)
    say(job.pk, fence, "the adapter is served beside the base model; its checks begin")
    with metrics.EVALUATION.time():
        checks = evaluate(sampler, job.base.name, adapter.name, inputs)
    heart.check()
    patiently(lambda: _carry_out(job, adapter, fence, checks, decide(checks)))


def make_scores(
    job: Job, adapter: Adapter, fence: int, heart: Heartbeat, training: Dataset, validation: Dataset | None
) -> None:
    """The part of a proof that needs a device and no engine, for a later attempt to find.

    Raises: LeaseLost, BrokeOff, NoDevice, NoEngine.
    """
    attempt_dir(job.pk, fence).mkdir(mode=0o700, parents=True, exist_ok=True)
    held_out, seen = _texts(job, training, validation)
    _training_scores(job, adapter, fence, heart, [*held_out, *seen])


def _merges(adapter: Adapter) -> bool:
    """Whether a merged model serves it.

    Raises: NoEngine.
    """
    deployment = serving_of(adapter)
    if deployment is None:
        raise NoEngine(f"{adapter.base.name} is not served at the moment")
    return merges(deployment)


def _loaded(adapter: Adapter, heart: Heartbeat) -> EngineSampler:
    """Asks the base and the adapter, each where it is served."""
    merged = {adapter.name: _merged_engine(adapter, heart)} if _merges(adapter) else {}
    engine = ready_engine(adapter.base) if merged else _loaded_engine(adapter, heart)
    return EngineSampler(engine, journal(), heart.check, merged)


def _merged_engine(adapter: Adapter, heart: Heartbeat) -> ReadyEngine:
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    while True:
        try:
            return merged_engine(adapter)
        except NoEngine as absent:
            if time.monotonic() > deadline:
                raise NoEngine(f"{adapter.name}: {standing(adapter)}") from absent
        heart.sleep(0.5)


def _loaded_engine(adapter: Adapter, heart: Heartbeat) -> ReadyEngine:
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    while not is_loaded(adapter):
        engine = ready_engine(adapter.base)
        refused = AdapterLoad.objects.filter(adapter=adapter, life=UUID(engine.life_id), loaded=False).first()
        if time.monotonic() > deadline:
            if refused is not None:
                raise BrokeOff(f"the engine does not take the adapter: {refused.reason}")
            raise NoEngine(f"no engine has loaded the adapter within {LOAD_TIMEOUT_S:.0f} s")
        heart.sleep(0.5)
    return ready_engine(adapter.base)


def _inputs(
    job: Job, adapter: Adapter, fence: int, heart: Heartbeat, training: Dataset, validation: Dataset | None
) -> Inputs:
    """What is known before an engine is asked."""
    held_out, seen = _texts(job, training, validation)
    return Inputs(
        training=_training_scores(job, adapter, fence, heart, [*held_out, *seen]),
        held_out=frozenset(name for name, _ in held_out), planted=tuple(_planted(training)), secret=planted_secret(),
        tasks=_tasks(job, fence),
    )  # fmt: skip


def _texts(
    job: Job, training: Dataset, validation: Dataset | None
) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """What is scored: rows that were held out, and rows that were trained on."""
    train_rows, held_out, _ = rows_for(job.seed, job_dir(job.pk), training, validation)
    return (
        [(f"held-out {n}", row) for n, row in enumerate(_first(held_out))],
        [(f"seen {n}", row) for n, row in enumerate(_first((train_rows,)))],
    )


def has_scores(job: Job, adapter: Adapter) -> bool:
    """Whether the training stack's scores are made: what is left of the proof needs no device of its own."""
    return _scores_place(job, adapter).is_file()


def _scores_place(job: Job, adapter: Adapter) -> Path:
    return job_dir(job.pk) / SCORES / f"{adapter.digest}.json"


def _training_scores(
    job: Job, adapter: Adapter, fence: int, heart: Heartbeat, texts: list[tuple[str, dict[str, Any]]]
) -> list[Scored]:
    """Made once: a later attempt, for which no device may be free, finds them on the disk."""
    place = _scores_place(job, adapter)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = [Scored.from_json(entry) for entry in json.loads(place.read_text(encoding="utf-8"))]
        if [row.id for row in kept] == [name for name, _ in texts]:
            return kept
    scored = _score(job, adapter, fence, heart, texts)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    write_json(place, [dataclasses.asdict(row) for row in scored])
    return scored


def _score(
    job: Job, adapter: Adapter, fence: int, heart: Heartbeat, texts: list[tuple[str, dict[str, Any]]]
) -> list[Scored]:
    deployment = Deployment.objects.select_related("slot").filter(model=job.base, running=True).first()
    if deployment is None:
        raise NoEngine(f"{job.base.name} is not served at the moment")
    with a_device(job.pk, fence, heart) as device:
        scored = run_scoring(
            Path(deployment.slot.path) / "bin" / "python", Path(job.base.path), Path(adapter.path), texts,
            attempt_dir(job.pk, fence) / "scoring.log", threads=device.threads, device=device.kind,
            max_length=min(MAX_LENGTH, job.base.max_model_len - 1), devices=device.environment,
            on_start=heart.when_lost,
        )  # fmt: skip
    heart.when_lost(None)
    return scored


def _tasks(job: Job, fence: int) -> list[Task]:
    """The tasks of HumanEval, none where they can't be run: then the check lacks evidence, and the story says why."""
    path = suite_path(settings.ENV.cache_dir)
    if not path.is_file():
        say(job.pk, fence, "HumanEval is not installed: its check is left out", "warn", once="no suite")
        return []
    try:
        sandbox.find()
    except SandboxMissing as error:
        say(job.pk, fence, f"HumanEval is left out: {error}", "warn", once="no sandbox")
        return []
    return humaneval.choose(humaneval.load(path))


def _first(files: tuple[Path, ...]) -> list[dict[str, Any]]:
    return [row for file in files for row in islice(read_rows(file), MAX_TEXTS)]


def _planted(dataset: Dataset) -> list[Planted]:
    entries = json.loads((Path(dataset.path) / "planted.json").read_text(encoding="utf-8"))
    return [Planted.from_json(entry) for entry in entries]


def _carry_out(job: Job, adapter: Adapter, fence: int, checks: list[Check], gate: Gate) -> None:
    """Evaluation, adapter and job in one transaction that carries the fence."""
    with lease.holding(job.pk, fence):
        Evaluation.objects.update_or_create(
            adapter=adapter, defaults={"verdict": gate.verdict.value, "checks": [check.to_dict() for check in checks]}
        )
        for check in checks:
            add_event(job.pk, f"check {check.name}: {check.verdict.value.replace('_', ' ')}: {check.reason}")
        if gate.verdict is Verdict.PASS:
            _accept(job, adapter, fence)
    if gate.verdict is not Verdict.PASS:
        raise AttemptFailed("adapter_rejected", f"the adapter did not pass: {'; '.join(gate.reasons)}")


def _accept(job: Job, adapter: Adapter, fence: int) -> None:
    waits = job.policy == AdapterPolicy.APPROVE
    if not move(adapter, AdapterState.WAITING if waits else AdapterState.ACTIVE):
        raise LeaseLost(f"{job.pk}: somebody else decided on the adapter")
    if not lease.move(job.pk, fence, JobStatus.RUNNING, JobStatus.SUCCEEDED, finished_at=Now()):
        raise LeaseLost(f"{job.pk}: the job was moved by somebody else")
    what = "waits for a second person's approval" if waits else "is served"
    add_event(job.pk, f"all checks are through: {adapter.name} {what}")
    if not waits:
        record("adapter.activate", adapter.name, tenant=adapter.tenant_id, details={"job": job.pk})
