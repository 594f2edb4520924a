"""`/v1/fine_tuning/jobs`: begun, listed, moved, told about."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from appliance.registry.models import AdapterState
from appliance.tenants.models import AdapterPolicy, Tenant, User
from appliance.training import signing
from appliance.training.models import Checkpoint, Dataset, Evaluation, Job, JobEvent, StoredFile
from finetune.job import JobStatus
from tests.appliance.api.callers import MODEL, Caller, answered, refused
from tests.appliance.training.plans import PLAN

JOBS = "/v1/fine_tuning/jobs"


def test_it_begins_a_fine_tune(acme: Caller) -> None:
    training, validation = acme.file().pk, acme.file(name="held-out.jsonl").pk
    settings = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5, "fim_rate": 0.0}
    shown = acme.post(
        JOBS,
        {
            "model": MODEL, "training_file": training, "validation_file": validation, "suffix": "ours", "seed": 7,
            "metadata": {"team": "blue"}, "method": {"type": "supervised", "supervised": {"hyperparameters": settings}},
            "integrations": [],
        },
    )  # fmt: skip
    job = Job.objects.get()
    assert shown == {
        "id": job.pk, "object": "fine_tuning.job", "model": MODEL, "created_at": int(job.created_at.timestamp()),
        "finished_at": None, "fine_tuned_model": None, "organization_id": "acme", "result_files": [],
        "status": "validating_files", "trained_tokens": None, "training_file": training, "validation_file": validation,
        "hyperparameters": settings, "method": {"type": "supervised", "supervised": {"hyperparameters": settings}},
        "seed": 7, "estimated_finish": None, "integrations": [], "metadata": {"team": "blue"}, "error": None,
        "coderack": {
            "policy": "auto", "adapter_state": None, "evaluation": None, "plan": None, "signoffs": [], "waits_for_signoff": [],
        },
    }  # fmt: skip
    assert (job.tenant, job.key, job.suffix) == (acme.tenant, acme.key, "ours")


def test_it_takes_the_older_hyperparameters(acme: Caller) -> None:
    shown = acme.post(
        JOBS, {"model": MODEL, "training_file": acme.file().pk, "hyperparameters": {"n_epochs": 4}, "suffix": None}
    )
    auto = {"batch_size": "auto", "learning_rate_multiplier": "auto", "fim_rate": "auto"}
    assert shown["hyperparameters"] == {"n_epochs": 4, **auto}
    assert shown["method"]["supervised"]["hyperparameters"]["n_epochs"] == 4


METHOD = "method.supervised.hyperparameters"


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"model": None}, 400, "model", None),
        ({"model": "no-such"}, 404, "model", "model_not_found"),
        ({"model": "x" * 201}, 400, "model", None),
        ({"training_file": 7}, 400, "training_file", None),
        ({"training_file": "file-none"}, 400, "training_file", "file_not_found"),
        ({"validation_file": "file-none"}, 400, "validation_file", "file_not_found"),
        ({"suffix": "x" * 65}, 400, "suffix", None),
        ({"seed": -1}, 400, "seed", None),
        ({"seed": "x"}, 400, "seed", None),
        ({"metadata": {"team": 7}}, 400, "metadata.team", None),
        ({"metadata": {"team": "x" * 513}}, 400, "metadata", None),
        ({"method": {"type": "dpo", "dpo": {}}}, 400, "method.type", None),
        ({"method": {"type": "reinforcement"}}, 400, "method.type", None),
        ({"method": {}}, 400, "method.type", None),
        ({"hyperparameters": {"n_epochs": 0}}, 400, "hyperparameters.n_epochs", None),
        ({"hyperparameters": {"beta": 1}}, 400, "hyperparameters.beta", None),
        ({"hyperparameters": {"fim_rate": 0.5}}, 400, "hyperparameters.fim_rate", None),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": "x"}}}},
            400, f"{METHOD}.batch_size", None,
        ),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, 400, "integrations", None),
    ],
)  # fmt: skip
def test_it_names_the_field_it_refuses(
    acme: Caller, change: dict[str, Any], status: int, param: str, code: str | None
) -> None:
    asked = {"model": MODEL, "training_file": acme.file().pk, **change}
    error = refused(acme.call("POST", JOBS, asked), status)
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert not Job.objects.exists()


def test_it_refuses_a_model_that_the_plan_leaves_out(acme: Caller) -> None:
    acme.tenant.plan.allowed_models = ["another"]
    acme.tenant.plan.save()
    error = refused(acme.call("POST", JOBS, {"model": MODEL, "training_file": acme.file().pk}), 403)
    assert (error["type"], error["code"]) == ("permission_error", "model_not_allowed")


def test_it_runs_no_more_at_once_than_the_plan_says(acme: Caller) -> None:
    acme.tenant.plan.max_active_jobs = 1
    acme.tenant.plan.save()
    acme.job()
    error = refused(acme.call("POST", JOBS, {"model": MODEL, "training_file": acme.file().pk}), 400)
    assert error["code"] == "too_many_jobs"


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "7", '{"model": NaN}', '{"model": "\\u0000"}', '{"model": "\\ud800"}', "[" * 100_000, b"\xff\xfe{"],
)  # fmt: skip
def test_it_refuses_bodies_it_cannot_read(acme: Caller, body: str | bytes) -> None:
    error = refused(acme.call("POST", JOBS, body), 400)
    assert error["type"] == "invalid_request_error"


def test_it_reads_no_body_over_the_limit(acme: Caller) -> None:
    assert refused(acme.call("POST", JOBS, {"model": "x" * (1 << 20)}), 413)["code"] == "request_too_large"


def test_it_wants_to_know_a_bodys_length(acme: Caller) -> None:
    response = acme.call(
        "POST", JOBS, headers={"Transfer-Encoding": "chunked", "Authorization": f"Bearer {acme.secret}"}
    )
    assert refused(response, 411)["code"] == "length_required"


def test_it_lists_in_pages_and_by_metadata(acme: Caller, rivals: Caller) -> None:
    ids = [acme.job(metadata={"n": str(n), "team": "blue"}).pk for n in range(2)] + [acme.job().pk]
    rivals.job()
    page = acme.get(f"{JOBS}?limit=2")
    assert [job["id"] for job in page["data"]] == [ids[2], ids[1]]
    assert (page["object"], page["has_more"], page["last_id"]) == ("list", True, ids[1])
    page = acme.get(f"{JOBS}?limit=2&after={ids[1]}")
    assert ([job["id"] for job in page["data"]], page["has_more"]) == ([ids[0]], False)
    assert [job["id"] for job in acme.get(f"{JOBS}?metadata[n]=0")["data"]] == [ids[0]]
    assert [job["id"] for job in acme.get(f"{JOBS}?metadata[team]=blue&metadata[n]=1")["data"]] == [ids[1]]
    assert [job["id"] for job in acme.get(f"{JOBS}?metadata=null")["data"]] == [ids[2]]
    assert acme.get(f"{JOBS}?metadata[n]=%00")["data"] == []


def test_it_shows_one(acme: Caller) -> None:
    job = acme.job()
    assert acme.get(f"{JOBS}/{job.pk}") == acme.get(JOBS)["data"][0]


@pytest.mark.parametrize(
    ("policy", "state"), [(AdapterPolicy.AUTO, AdapterState.ACTIVE), (AdapterPolicy.APPROVE, AdapterState.WAITING)]
)
def test_a_fine_tune_that_succeeded_names_its_model(acme: Caller, policy: AdapterPolicy, state: AdapterState) -> None:
    job, adapter = acme.job(), acme.adapter(state)
    Evaluation.objects.create(adapter=adapter, verdict="pass", checks=[{"name": "effect", "verdict": "pass"}])
    Job.objects.filter(pk=job.pk).update(
        adapter=adapter, status=JobStatus.SUCCEEDED.value, policy=policy, trained_tokens=99
    )
    shown = acme.get(f"{JOBS}/{job.pk}")
    assert (shown["status"], shown["fine_tuned_model"], shown["trained_tokens"]) == ("succeeded", adapter.name, 99)
    assert shown["coderack"] == {
        "policy": policy.value, "adapter_state": state.value,
        "evaluation": {"verdict": "pass", "checks": [{"name": "effect", "verdict": "pass"}]},
        "plan": None,
        "signoffs": [],
        "waits_for_signoff": [],
    }  # fmt: skip


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.FAILED])
def test_a_model_is_not_named_before(acme: Caller, status: JobStatus) -> None:
    job, adapter = acme.job(), acme.adapter(AdapterState.CANDIDATE)
    Job.objects.filter(pk=job.pk).update(adapter=adapter, status=status.value)
    assert acme.get(f"{JOBS}/{job.pk}")["fine_tuned_model"] is None


def test_a_rejected_fine_tune_says_so(acme: Caller) -> None:
    job = acme.job()
    error = {"code": "adapter_rejected", "message": "worse than the base"}
    Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED.value, error=error)
    shown = acme.get(f"{JOBS}/{job.pk}")
    assert (shown["status"], shown["error"]) == ("failed", {**error, "param": None})


def test_it_pauses_resumes_and_cancels(acme: Caller) -> None:
    job = acme.job()
    assert acme.post(f"{JOBS}/{job.pk}/pause")["status"] == "paused"
    assert acme.post(f"{JOBS}/{job.pk}/resume")["status"] == "queued"
    shown = acme.post(f"{JOBS}/{job.pk}/cancel")
    assert shown["status"] == "cancelled"
    assert shown["finished_at"] is not None


@pytest.mark.parametrize("word", ["pause", "resume", "cancel"])
def test_it_says_why_a_fine_tune_cannot_be_moved(acme: Caller, word: str) -> None:
    job = acme.job()
    Job.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED.value)
    error = refused(acme.call("POST", f"{JOBS}/{job.pk}/{word}"), 400)  # never 409: clients send that again
    assert error["param"] == "fine_tuning_job_id"
    assert job.pk in error["message"]


def test_it_tells_events_newest_first(acme: Caller) -> None:
    job = acme.job()
    JobEvent.objects.all().delete()
    for step in range(3):
        JobEvent.objects.create(job=job, message=f"step {step}", type="metrics", data={"step": step, "train_loss": 1.5})
    page = acme.get(f"{JOBS}/{job.pk}/events?limit=2")
    assert [row["message"] for row in page["data"]] == ["step 2", "step 1"]
    assert page["has_more"] is True
    newest = JobEvent.objects.get(message="step 2")
    assert page["data"][0] == {
        "id": newest.id, "object": "fine_tuning.job.event", "created_at": int(newest.created_at.timestamp()),
        "level": "info", "message": "step 2", "type": "metrics", "data": {"step": 2, "train_loss": 1.5},
    }  # fmt: skip
    page = acme.get(f"{JOBS}/{job.pk}/events?after={page['last_id']}")
    assert ([row["message"] for row in page["data"]], page["has_more"]) == (["step 0"], False)


def test_it_lists_checkpoints_and_keeps_their_paths(acme: Caller) -> None:
    job = acme.job()
    for step in (10, 20, 30):
        Checkpoint.objects.create(
            id=f"ftckpt-{step}", job=job, step=step, fence=1, path=f"/secret/{step}", metrics={"train_loss": 1.25}
        )
    page = acme.get(f"{JOBS}/{job.pk}/checkpoints?limit=2")
    assert [row["step_number"] for row in page["data"]] == [30, 20]
    assert page["has_more"] is True
    assert page["data"][0] == {
        "id": "ftckpt-30", "object": "fine_tuning.job.checkpoint", "fine_tuning_job_id": job.pk,
        "created_at": int(Checkpoint.objects.get(pk="ftckpt-30").created_at.timestamp()),
        "fine_tuned_model_checkpoint": "ftckpt-30", "step_number": 30, "metrics": {"step": 30, "train_loss": 1.25},
    }  # fmt: skip
    assert [row["id"] for row in acme.get(f"{JOBS}/{job.pk}/checkpoints?after=ftckpt-20")["data"]] == ["ftckpt-10"]


def test_ids_of_one_list_name_nothing_in_another(acme: Caller) -> None:
    first, second = acme.job(), acme.job()
    event = JobEvent.objects.filter(job=second).latest("seq")
    error = refused(acme.call("GET", f"{JOBS}/{first.pk}/events?after={event.id}"), 400)
    assert error["param"] == "after"


def test_a_refused_file_is_not_trained_on(acme: Caller) -> None:
    file = acme.file()
    StoredFile.objects.filter(pk=file.pk).update(status=StoredFile.Status.ERROR, status_details="line 1: no")
    error = refused(acme.call("POST", JOBS, {"model": MODEL, "training_file": file.pk}), 400)
    assert (error["param"], error["code"]) == ("training_file", "invalid_training_file")


def test_the_aliases_without_v1_are_the_same(acme: Caller) -> None:
    job = acme.job()
    for path in ("/fine_tuning/jobs", "/v1/fine_tuning/jobs/", f"/fine_tuning/jobs/{job.pk}", "/files", "/v1/files/"):
        canonical = path.rstrip("/") if path.startswith("/v1") else f"/v1{path}"
        assert acme.get(path) == acme.get(canonical)
    assert answered(acme.upload(path="/files"))["object"] == "file"


def test_a_job_carries_what_training_was_reckoned_to_take(acme: Caller) -> None:
    job = acme.job()
    Job.objects.filter(pk=job.pk).update(plan=PLAN)
    assert acme.get(f"{JOBS}/{job.pk}")["coderack"]["plan"] == PLAN


def test_it_says_whose_sign_off_a_fine_tune_waits_for_and_which_it_went_on_by(acme: Caller) -> None:
    Tenant.objects.filter(pk=acme.tenant.pk).update(needs_signoff=True)
    file = acme.file()
    dataset = Dataset.objects.create(file=file, kind="chat", path="/d", digest="ab" * 32, rows=3, report={"kept": 3})
    job = acme.post(JOBS, {"model": MODEL, "training_file": file.pk})
    assert acme.get(f"{JOBS}/{job['id']}")["coderack"]["waits_for_signoff"] == [file.pk]
    operator = User.objects.create(username="olga", is_staff=True)
    signed = signing.sign(file, operator, signing.report_digest(dataset), "fine")
    signed.jobs.add(job["id"])
    facts = {
        "file": file.pk, "report_digest": signed.report_digest, "by": "olga", "at": int(signed.at.timestamp()),
        "comment": "fine",
    }  # fmt: skip
    for shown in (acme.get(f"{JOBS}/{job['id']}"), acme.get(JOBS)["data"][0]):
        assert shown["coderack"]["signoffs"] == [facts]
        assert shown["coderack"]["waits_for_signoff"] == []
    assert acme.get(f"/v1/files/{file.pk}/report")["signoff"] == facts


def test_no_key_signs_a_report_off(acme: Caller) -> None:
    file = acme.file()
    for path in (f"/v1/files/{file.pk}/sign", f"/v1/files/{file.pk}/signoff", f"/v1/files/{file.pk}/report"):
        refused(acme.call("POST", path, {"digest": "0" * 64}), {"report": 405}.get(path.rpartition("/")[2], 404))
    console = Client(headers={"Authorization": f"Bearer {acme.secret}"}).post(f"/data/{file.pk}/sign/")
    assert console["Location"].startswith("/login/")
