"""OpenAI's own client against the control plane on a socket: a script written for it works unchanged."""

from __future__ import annotations

import io
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from openai.types.admin.organization.usage_completions_response import DataResultOrganizationUsageCompletionsResult
from openai.types.admin.organization.usage_costs_response import DataResultOrganizationCostsResult

from appliance.batches.models import Batch
from appliance.registry.models import AdapterState
from appliance.training.models import Checkpoint, Job, JobEvent
from finetune.job import JobStatus
from tests.appliance.api.callers import MODEL, ROWS, Caller
from tests.appliance.api.used import NOON, used


@pytest.fixture
def client(server: str, acme: Caller) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server}/v1", api_key=acme.secret, max_retries=0) as client:
        yield client


def test_files(client: OpenAI) -> None:
    file = client.files.create(file=("rows.jsonl", io.BytesIO(ROWS)), purpose="fine-tune")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(ROWS), "rows.jsonl", "fine-tune")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == ROWS
    others = [client.files.create(file=(f"{n}.jsonl", ROWS), purpose="fine-tune").id for n in range(2)]
    assert [row.id for row in client.files.list(limit=1)] == [*reversed(others), file.id]  # turns pages by itself
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as caught:
        client.files.retrieve(file.id)
    assert caught.value.code == "not_found"


def test_fine_tuning(client: OpenAI, acme: Caller) -> None:
    file = client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    job = jobs.create(
        model=MODEL, training_file=file.id, suffix="ours", seed=3, metadata={"team": "blue"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )  # fmt: skip
    assert (job.status, job.model, job.training_file, job.seed) == ("validating_files", MODEL, file.id, 3)
    assert job.hyperparameters.n_epochs == 2
    assert job.method
    assert job.method.supervised
    assert (job.error, job.finished_at, job.fine_tuned_model, job.trained_tokens, job.validation_file) == (None,) * 5
    assert jobs.retrieve(job.id) == job
    assert [row.id for row in jobs.list(metadata={"team": "blue"})] == [job.id]
    assert [row.id for row in jobs.list(metadata={"team": "red"})] == []
    assert jobs.pause(job.id).status == "paused"
    assert jobs.resume(job.id).status == "queued"
    for step in range(3):
        JobEvent.objects.create(job_id=job.id, message=f"step {step}", type="metrics", data={"step": step})
        Checkpoint.objects.create(id=f"ftckpt-{step}", job_id=job.id, step=step, fence=1, path="/c")
    told = list(jobs.list_events(job.id, limit=2))
    assert [event.message for event in told[:3]] == ["step 2", "step 1", "step 0"]
    assert told[0].type == "metrics"
    assert [row.step_number for row in jobs.checkpoints.list(job.id, limit=2)] == [2, 1, 0]
    assert jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        jobs.cancel(job.id)


def test_batches(client: OpenAI, acme: Caller) -> None:
    line = b'{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "x"}}'
    file = client.files.create(file=("requests.jsonl", line), purpose="batch")
    assert (file.purpose, file.status) == ("batch", "processed")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/completions", completion_window="24h", metadata={"team": "blue"}
    )
    assert (batch.object, batch.status, batch.endpoint, batch.input_file_id) == (
        "batch", "validating", "/v1/completions", file.id,
    )  # fmt: skip
    assert (batch.metadata, batch.errors, batch.output_file_id, batch.model) == ({"team": "blue"}, None, None, None)
    assert batch.expires_at == batch.created_at + 24 * 3600
    assert batch.request_counts
    assert batch.usage
    assert (batch.request_counts.total, batch.usage.total_tokens) == (0, 0)
    assert client.batches.retrieve(batch.id) == batch
    others = [acme.batch().pk for _ in range(2)]
    assert [row.id for row in client.batches.list(limit=1)] == [*reversed(others), batch.id]  # turns pages by itself
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    assert cancelled.cancelling_at
    fault = {"code": "invalid_method", "line": 1, "message": "no", "param": "method"}
    Batch.objects.filter(pk=batch.id).update(status="failed", errors=[fault])
    errors = client.batches.retrieve(batch.id).errors
    assert errors
    assert errors.data
    assert errors.data[0].to_dict() == fault
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(batch.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.batches.retrieve("batch_0")
    assert caught.value.code == "not_found"


def test_models(client: OpenAI, acme: Caller) -> None:
    job, adapter = acme.job(), acme.adapter(AdapterState.ACTIVE)
    Job.objects.filter(pk=job.pk).update(adapter=adapter, status=JobStatus.SUCCEEDED.value)
    named = client.fine_tuning.jobs.retrieve(job.pk).fine_tuned_model
    assert named == adapter.name
    assert client.models.delete(named).deleted
    with pytest.raises(openai.NotFoundError):
        client.models.delete(named)


def test_usage_and_costs(client: OpenAI, acme: Caller) -> None:
    for hour in range(3):
        used(acme, NOON + hour * 3600)
    asked = client.with_options(admin_api_key=acme.secret).admin.organization.usage
    end = NOON + 4 * 3600
    found = asked.completions(
        start_time=NOON, end_time=end, bucket_width="1h", limit=2, group_by=["model", "api_key_id"], models=[MODEL]
    )
    assert (found.object, found.has_more, len(found.data)) == ("page", True, 2)
    assert found.next_page
    rest = asked.completions(start_time=NOON, end_time=end, bucket_width="1h", limit=2, page=found.next_page)
    assert [len(bucket.results) for bucket in found.data + rest.data] == [1, 1, 1, 0]
    (result,) = found.data[0].results
    assert isinstance(result, DataResultOrganizationUsageCompletionsResult)
    assert (result.input_tokens, result.input_cached_tokens, result.output_tokens) == (100, 40, 7)
    assert (result.num_model_requests, result.model, result.api_key_id) == (1, MODEL, str(acme.key.pk))
    (day,) = asked.costs(start_time=NOON, end_time=end, group_by=["line_item"]).data
    assert [cost.line_item for cost in day.results if isinstance(cost, DataResultOrganizationCostsResult)] == [
        f"{MODEL}, input", f"{MODEL}, cached input", f"{MODEL}, output",
    ]  # fmt: skip
    with pytest.raises(openai.BadRequestError) as caught:
        asked.completions(start_time=NOON, limit=1441)
    assert caught.value.param == "limit"


def test_a_bad_key_is_an_authentication_error(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-cr-wrong").files.list()
    assert caught.value.code == "invalid_api_key"


def test_a_refusal_is_told_once_and_not_asked_again(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.with_options(max_retries=2).files.create(file=("rows.csv", b"x"), purpose="fine-tune")
    assert caught.value.param == "file"
