"""One attempt at a fine-tune: clean the files, get a device, train, prove, hand over. Any of it may be done before.

Each stage begins from the row, so that an attempt goes on where the last one was killed. A stage's result is taken in
with one write that carries the fence.
"""

from __future__ import annotations

import contextlib
import logging

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from appliance.audit.record import record
from appliance.fleet import boxes, leases, loans
from appliance.registry.models import Adapter, AdapterState
from appliance.training import lease, metrics, placing, plan, signing
from appliance.training.adapters import move
from appliance.training.datasets import BeingMade, ensure_dataset
from appliance.training.devices import NoDevice, a_device
from appliance.training.errors import AttemptFailed, LeaseLost, NotSigned
from appliance.training.events import add_event, say_once
from appliance.training.heartbeat import Heartbeat
from appliance.training.jobs import lora_targets
from appliance.training.leftovers import clear_if_over
from appliance.training.models import Dataset, Job
from appliance.training.patience import patiently
from appliance.training.proof import has_scores, make_scores, prove
from appliance.training.replay import NoRoomForReplay, ensure_replay
from appliance.training.serving import NoEngine
from appliance.training.training import train
from appliance.training.wake import wake_job
from finetune.job import JobStatus

log = logging.getLogger("coderack.training")

MAX_FAILURES = 6  # times that an attempt may break off; waiting for a device or an engine is none
WAITS_FOR: dict[type[Exception], str] = {
    NoDevice: "a free device",
    NoEngine: "an engine of the base model",
    BeingMade: "its file to be cleaned",
    plan.NoDisk: "room on the disk",
    NoRoomForReplay: "room on the disk",
    plan.NoMemory: "memory on its device",
}


def work_on(job_id: str) -> None:
    """Claim a job and take it as far as it goes; nothing happens when somebody else holds it."""
    if (boxes.here() and not placing.may_go_on_here(job_id)) or _is_unsigned(job_id):
        return  # the next sweep finds a place for it, or sees that it was signed
    if not boxes.here() and _waits_in_vain(job_id):
        say_once(job_id, "waiting for a free device")
        return
    fence = lease.claim(job_id)
    if fence is None:
        return
    if boxes.here():
        loans.forget(job_id)
    log.info("%s: attempt %d", job_id, fence)
    metrics.STARTED.inc()
    outcome = "done"
    with Heartbeat(job_id, fence) as heart:
        try:
            _go_on(job_id, fence, heart)
        except LeaseLost as lost:
            outcome = "lost"
            log.info("%s", lost)
        except AttemptFailed as failure:
            outcome = "failed"
            patiently(lambda failure=failure: _fail(job_id, fence, failure))  # type: ignore[misc]
        except (NoDevice, NoEngine, BeingMade) as absent:
            outcome = "waiting"
            log.info("%s waits: %s", job_id, absent)
            _wait(job_id, fence, f"waiting for {WAITS_FOR[type(absent)]}")
        except placing.Elsewhere:
            outcome = "handed_on"
        except NotSigned as unsigned:
            outcome = "waiting"
            _wait(job_id, fence, f"waiting for {unsigned}")
        except (plan.NoDisk, plan.NoMemory, NoRoomForReplay) as short:
            outcome = "waiting"
            log.info("%s waits: %s", job_id, short)
            what = f"waiting for {WAITS_FOR[type(short)]}"
            _wait(job_id, fence, f"{what}: {short}", same=what)
        except Exception:
            # The top of an attempt: a fault of ours must not lose the job. The sweep has it tried again, a bounded
            # number of times.
            outcome = "broke_off"
            log.exception("%s: attempt %d broke off", job_id, fence)
            patiently(lambda: _count_failure(job_id, fence))
    metrics.ENDED.labels(outcome).inc()
    lease.release(job_id, fence)
    clear_if_over(job_id)
    if outcome == "handed_on" or (boxes.here() and outcome == "done"):
        wake_job(job_id)  # all others wait for a sweep: what they lack will not be there at once


def _wait(job_id: str, fence: int, message: str, same: str | None = None) -> None:
    """Say what the job waits for, unless somebody else goes on with it already."""
    with contextlib.suppress(LeaseLost), lease.holding(job_id, fence):
        say_once(job_id, message, same)


def _is_unsigned(job_id: str) -> bool:
    """Whether the job waits for a person to sign off its data; it is not claimed for that, and asks for no device."""
    rows = Job.objects.select_related("tenant", "training_file", "validation_file")
    job = rows.filter(pk=job_id, status=JobStatus.QUEUED.value, adapter=None).first()
    missing = signing.unsigned(job) if job is not None else []
    if missing:
        say_once(job_id, f"waiting for {signing.words(missing)}")
    return bool(missing)


def _waits_in_vain(job_id: str) -> bool:
    """Whether nobody holds the job, its next step needs a device, and none is free but for those whose turn is before.

    Then it asks for one that a model lends. An adapter's scores need a device as its training did; the checks after need none.
    """
    waits = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
    job = Job.objects.filter(pk=job_id, status__in=waits).select_related("adapter").first()
    if job is None or (job.adapter is not None and has_scores(job, job.adapter)):
        return False
    if job_id not in lease.unheld() or loans.is_reserved(job_id):
        return False
    ahead = placing.num_ahead_at_home(job_id)
    if ahead < leases.num_free():
        return False
    loans.ask(job_id, ahead)
    return True


def _wait_for_its_turn(job_id: str) -> None:
    """Raises: NoDevice where a file was cleaned faster than those before it got a device."""
    if not boxes.here() and not loans.is_reserved(job_id) and placing.num_ahead_at_home(job_id) >= leases.num_free():
        raise NoDevice("every free device is for others first")


def _go_on(job_id: str, fence: int, heart: Heartbeat) -> None:
    job = Job.objects.select_related("tenant", "base", "training_file", "validation_file", "adapter").get(pk=job_id)
    training = ensure_dataset(job.training_file, heart=heart)
    validation = None if job.validation_file is None else ensure_dataset(job.validation_file, heart=heart)
    heart.check()
    if training.rows == 0:
        raise AttemptFailed(
            "invalid_training_file", "nothing is left of the training file after cleaning", "training_file"
        )
    if job.status == JobStatus.VALIDATING.value:
        with lease.holding(job_id, fence):
            if lease.move(job_id, fence, JobStatus.VALIDATING, JobStatus.QUEUED):
                add_event(job_id, f"files validated: {training.rows} rows to train on (dataset {training.digest[:12]})")
    if job.adapter is None:
        placing.leave_to_others(job_id)
        signing.use(job, fence, filter(None, (training, validation)))
        _wait_for_its_turn(job_id)
        job.adapter = _train_on_a_device(job, fence, heart, training, validation)
    if job.adapter.state == AdapterState.CANDIDATE and boxes.here():
        make_scores(job, job.adapter, fence, heart, training, validation)  # the rest of its proof asks engines
        with lease.holding(job_id, fence):
            say_once(job_id, f"trained on {boxes.here()}: its checks are made on {boxes.name_of('')}")
    elif job.adapter.state == AdapterState.CANDIDATE:
        lease.move(job_id, fence, JobStatus.QUEUED, JobStatus.RUNNING)  # it was paused after its training
        prove(job, job.adapter, fence, heart, training, validation)


def _train_on_a_device(
    job: Job, fence: int, heart: Heartbeat, training: Dataset, validation: Dataset | None
) -> Adapter:
    ensure_replay(job, training, validation, heart)
    run = plan.look_ahead(job, training, lora_targets(job.base))
    with a_device(job.pk, fence, heart) as device:
        plan.settle(job, fence, run, device)
        with lease.holding(job.pk, fence):
            begins = lease.move(job.pk, fence, JobStatus.QUEUED, JobStatus.RUNNING, started_at=Now())
            how = f"begins on {device.id}" if begins else f"goes on on {device.id} (attempt {fence})"
            add_event(job.pk, f"training {how}")
        return train(job, fence, heart, device, training, validation)


def _fail(job_id: str, fence: int, failure: AttemptFailed) -> None:
    """Job, adapter and story in one transaction that carries the fence."""
    error = {"code": failure.code, "message": failure.message, "param": failure.param}
    with transaction.atomic():
        failed = lease.held(job_id, fence).update(status=JobStatus.FAILED.value, error=error, finished_at=Now())
        if failed:
            add_event(job_id, f"failed: {failure.message}", "error")
            _reject(job_id)


def _reject(job_id: str) -> None:
    adapter = Adapter.objects.filter(job=job_id, state=AdapterState.CANDIDATE).first()
    if adapter is not None and move(adapter, AdapterState.REJECTED):
        record("adapter.reject", adapter.name, tenant=adapter.tenant_id, details={"job": job_id})


def _count_failure(job_id: str, fence: int) -> None:
    if not lease.held(job_id, fence).update(failures=F("failures") + 1):
        return
    failures = Job.objects.values_list("failures", flat=True).get(pk=job_id)
    if failures >= MAX_FAILURES:
        _fail(job_id, fence, AttemptFailed("server_error", f"it broke off {failures} times; ask the operator"))
