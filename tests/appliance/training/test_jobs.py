"""What a tenant may ask for: every refusal names its parameter, the plan's limit holds under races, nothing is lost."""

from __future__ import annotations

import base64
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.fleet.models import Deployment
from appliance.registry.models import Alias, ModelVersion
from appliance.tenants.models import AdapterPolicy, Plan
from appliance.training import files, jobs, lease
from appliance.training.errors import FileInUse, JobRefused
from appliance.training.models import Job, JobEvent, StoredFile
from finetune.job import TERMINAL, JobStatus
from finetune.train.hyperparameters import NAMES
from tests.appliance.training import processes
from tests.appliance.training.cast import BASE, Cast
from tests.appliance.training.racing import at_once
from tests.finetune.train.shapes import LITE, write_model


def create(cast: Cast, **fields: Any) -> Job:
    if "training_file" not in fields:
        fields["training_file"] = cast.file().pk
    return jobs.create(cast.key, **{"model": BASE, **fields})


def refused(cast: Cast, **fields: Any) -> tuple[str | None, str | None]:
    """The parameter and code of the refusal; nothing is left of what was asked for."""
    with pytest.raises(JobRefused) as caught:
        create(cast, **fields)
    assert not Job.objects.exists()
    assert processes.messages() == []
    return caught.value.param, caught.value.code


def test_a_job_begins_with_everything_that_was_asked_for(cast: Cast) -> None:
    training, validation = cast.file(), cast.file()
    job = create(
        cast, training_file=training.pk, validation_file=validation.pk, suffix="review", seed=7,
        hyperparameters={"n_epochs": 2}, metadata={"team": "compilers"},
    )  # fmt: skip
    row = Job.objects.get()
    assert row == job
    assert (row.tenant, row.key, row.requested_by, row.base) == (cast.acme, cast.key, cast.developer, cast.base)
    assert (row.training_file, row.validation_file) == (training, validation)
    assert (row.suffix, row.seed, row.metadata) == ("review", 7, {"team": "compilers"})
    assert row.hyperparameters == dict.fromkeys(NAMES, "auto") | {"n_epochs": 2}
    assert (row.status, row.fence, row.lease_expires_at) == ("validating_files", 0, None)
    assert JobEvent.objects.get().message == f"fine-tune of {BASE} created"


def test_a_job_without_a_seed_gets_one_of_its_own(cast: Cast) -> None:
    first, second = create(cast), create(cast)
    assert first.seed != second.seed
    assert 0 <= first.seed < jobs.SEEDS


@pytest.mark.parametrize("policy", AdapterPolicy.values)
def test_the_tenants_policy_at_the_time_is_the_jobs(cast: Cast, policy: str) -> None:
    cast.acme.adapter_policy = policy
    cast.acme.save()
    job = create(cast)
    type(cast.acme).objects.update(adapter_policy=AdapterPolicy.AUTO)
    assert Job.objects.get(pk=job.pk).policy == policy


def test_a_job_wakes_a_worker_with_its_id(cast: Cast) -> None:
    job = create(cast)
    (message,) = processes.messages()
    assert b"appliance.training.tasks.train_job" in message
    assert job.pk.encode() in base64.b64decode(json.loads(message)["body"])


def test_a_model_that_nobody_knows_is_refused(cast: Cast) -> None:
    assert refused(cast, model="gpt-4o") == ("model", "model_not_found")


def test_a_model_that_is_not_served_is_refused_like_one_that_nobody_knows(cast: Cast) -> None:
    Deployment.objects.update(running=False)
    assert refused(cast) == ("model", "model_not_found")


def test_an_alias_is_no_base(cast: Cast) -> None:
    Alias.objects.create(tenant=cast.acme, name="editors", target=BASE)
    with pytest.raises(JobRefused, match="is an alias: name the base model itself"):
        create(cast, model="editors")
    assert refused(cast, model="editors") == ("model", None)


def test_a_model_outside_the_plan_is_refused(cast: Cast) -> None:
    cast.acme.plan.allowed_models = ["another"]
    cast.acme.plan.save()
    assert refused(cast) == ("model", "model_not_allowed")


def test_a_model_in_the_plan_is_taken(cast: Cast) -> None:
    cast.acme.plan.allowed_models = [BASE]
    cast.acme.plan.save()
    assert create(cast).base == cast.base


def test_a_model_that_is_served_without_adapters_is_refused(cast: Cast) -> None:
    Deployment.objects.update(flags=["--max-num-seqs", "8"])
    assert refused(cast) == ("model", None)


@pytest.mark.parametrize("preset", ["", "no-such-preset"])
def test_a_model_that_the_catalog_does_not_know_is_refused(cast: Cast, preset: str) -> None:
    ModelVersion.objects.update(preset=preset)
    assert refused(cast) == ("model", None)


@pytest.mark.parametrize("dense_layers", [1, 27])
def test_a_model_without_experts_is_tuned_without_their_shared_parts(
    cast: Cast, tmp_path: Path, dense_layers: int
) -> None:
    path = write_model(tmp_path, LITE | {"first_k_dense_replace": dense_layers})
    ModelVersion.objects.update(preset="deepseek-coder-v2-lite-base", path=str(path))
    targets = jobs.lora_targets(ModelVersion.objects.get())
    assert {"q_proj", "kv_a_proj_with_mqa", "o_proj", "layers.0.mlp.up_proj"} <= set(targets)
    assert any("shared_experts" in name for name in targets) == (dense_layers == 1)


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
@pytest.mark.parametrize("whose", ["unknown", "another tenant's", "deleted"])
def test_a_file_that_is_not_the_tenants_is_refused_as_unknown(cast: Cast, param: str, whose: str) -> None:
    names = {"unknown": "file-1", "another tenant's": cast.file(cast.rivals).pk, "deleted": cast.file().pk}
    StoredFile.objects.filter(pk=names["deleted"]).update(deleted_at=cast.acme.created_at)
    assert refused(cast, **{param: names[whose]}) == (param, "file_not_found")


def test_the_refusal_of_anothers_file_reads_as_that_of_an_unknown_one(cast: Cast) -> None:
    foreign = cast.file(cast.rivals).pk
    said = []
    for name in (foreign, "file-unknown"):
        with pytest.raises(JobRefused) as caught:
            create(cast, training_file=name)
        said.append(caught.value.message.replace(name, "…"))
    assert said[0] == said[1]


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_a_file_that_was_refused_is_named_with_the_reason(cast: Cast, param: str) -> None:
    file = cast.file(status=StoredFile.Status.ERROR, status_details="line 3: no assistant")
    with pytest.raises(JobRefused, match="line 3: no assistant") as caught:
        create(cast, **{param: file.pk})
    assert (caught.value.param, caught.value.code) == (param, "invalid_training_file")


def test_a_file_for_another_purpose_is_refused(cast: Cast) -> None:
    assert refused(cast, training_file=cast.file(purpose="batch").pk) == ("training_file", None)


@pytest.mark.parametrize("suffix", ["", "s" * 65])
def test_a_suffix_of_no_or_too_many_characters_is_refused(cast: Cast, suffix: str) -> None:
    assert refused(cast, suffix=suffix) == ("suffix", None)
    assert create(cast, suffix="s" * 64).suffix == "s" * 64


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_out_of_range_is_refused(cast: Cast, seed: int) -> None:
    assert refused(cast, seed=seed) == ("seed", None)
    assert create(cast, seed=2**31 - 1).seed == 2**31 - 1


@pytest.mark.parametrize(
    "metadata",
    [{str(n): "" for n in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}, {"k": 1}, {"k": None}, {"k": ["v"]}],
    ids=["17 names", "a long name", "a long text", "a number", "null", "a list"],
)
def test_metadata_beyond_its_limits_is_refused(cast: Cast, metadata: dict[str, Any]) -> None:
    assert refused(cast, metadata=metadata) == ("metadata", None)


def test_metadata_at_its_limits_is_kept(cast: Cast) -> None:
    metadata = {f"{n:064}": "v" * 512 for n in range(16)}
    assert create(cast, metadata=metadata).metadata == metadata


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_epochs", 0), ("n_epochs", 51), ("n_epochs", 1.5), ("n_epochs", True), ("n_epochs", "three"),
        ("batch_size", 0), ("batch_size", 257), ("learning_rate_multiplier", 0), ("learning_rate_multiplier", -1.0),
        ("learning_rate_multiplier", 11), ("learning_rate_multiplier", float("nan")), ("lora_rank", 8),
        ("fim_rate", 1.1), ("fim_rate", "half"),
    ],
)  # fmt: skip
def test_a_hyperparameter_out_of_range_is_named(cast: Cast, name: str, value: object) -> None:
    assert refused(cast, hyperparameters={name: value}) == (f"hyperparameters.{name}", None)


def test_the_plans_number_of_jobs_is_never_exceeded_by_requests_at_once(cast: Cast) -> None:
    for limit in (1, 3):
        Plan.objects.update(max_active_jobs=limit)
        cast.acme.plan.refresh_from_db()
        file = cast.file()
        done = at_once(*[partial(create, cast, training_file=file.pk)] * 8)
        begun = [job for job in done if isinstance(job, Job)]
        refusals = {(error.param, error.code) for error in done if isinstance(error, JobRefused)}
        assert len(begun) == limit
        assert refusals == {(None, "too_many_jobs")}
        assert Job.objects.exclude(status__in=TERMINAL).count() == limit
        Job.objects.all().delete()


def test_a_paused_job_takes_a_place_and_one_that_is_over_does_not(cast: Cast) -> None:
    Plan.objects.update(max_active_jobs=1)
    cast.acme.plan.refresh_from_db()
    job = jobs.pause(create(cast))
    with pytest.raises(JobRefused, match="1 fine-tunes at once"):
        create(cast)
    jobs.cancel(job)
    assert create(cast).status == "validating_files"


def test_another_tenants_jobs_take_no_place(cast: Cast) -> None:
    Plan.objects.update(max_active_jobs=1)
    cast.acme.plan.refresh_from_db()
    cast.job(tenant=cast.rivals)
    assert create(cast).tenant == cast.acme


def test_of_a_job_and_the_deletion_of_its_file_at_once_one_is_refused(cast: Cast) -> None:
    for _ in range(15):
        file = cast.file()
        job, deleted = at_once(partial(create, cast, training_file=file.pk), partial(files.delete, file))
        gone = StoredFile.objects.get(pk=file.pk).deleted_at is not None
        assert isinstance(job, JobRefused) is gone, (job, deleted)
        assert isinstance(deleted, FileInUse) is not gone
        Job.objects.all().delete()


CREATE = f"""
from appliance.tenants.models import ApiKey
from appliance.training import jobs
import appliance.training.tasks  # loading code is not waiting
import base64
import json
import time
began = time.monotonic()
job = jobs.create(ApiKey.objects.get(pk=sys.argv[1]), model="{BASE}", training_file=sys.argv[2])
print(job.pk, time.monotonic() - began)
"""


def test_a_job_is_kept_at_once_while_redis_is_away_and_the_sweep_finds_it(cast: Cast) -> None:
    file = cast.file()
    name, took_s = processes.run(CREATE, str(cast.key.pk), file.pk, redis_url="unix:///tmp/no-such.sock?db=0").split()
    assert lease.unheld() == [name]
    assert float(took_s) < 15, "a request does not wait for Redis"


def test_another_process_sends_its_wake_ups_to_the_appliances_redis(cast: Cast) -> None:
    processes.run(CREATE, str(cast.key.pk), cast.file().pk)
    assert len(processes.messages()) == 1


def test_a_job_that_could_not_be_written_down_wakes_nobody(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(jobs, "add_event", fail)
    with pytest.raises(OSError, match="full"):
        create(cast)
    assert processes.messages() == []
    assert not Job.objects.exists()


def test_resuming_wakes_a_worker_and_pausing_does_not(cast: Cast) -> None:
    job = jobs.pause(cast.job())
    assert processes.messages() == []
    jobs.resume(job)
    assert len(processes.messages()) == 1


def test_a_job_whose_holder_was_killed_is_found_by_the_sweep(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TTL_S", 0.2)
    job = cast.job(JobStatus.RUNNING)
    assert lease.claim(job.pk) == 1
    assert lease.unheld() == []
    time.sleep(0.3)
    assert lease.unheld() == [job.pk]


def test_a_model_that_the_keys_own_list_leaves_out_is_as_unknown_as_any(cast: Cast) -> None:
    cast.key.allowed_models = ["another"]
    assert refused(cast) == ("model", "model_not_found")
    cast.key.allowed_models = [BASE]
    assert create(cast).base == cast.base
