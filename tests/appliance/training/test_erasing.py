"""Erasing removes what came of a file and nothing else, whoever is killed meanwhile, and says so in a signed certificate."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.utils import timezone

from appliance.audit.actor import acting
from appliance.audit.models import AuditEntry
from appliance.fleet.merging import Merging
from appliance.fleet.models import AdapterLoad, EngineLife, Replica
from appliance.registry.models import Adapter, AdapterState, Alias, MergedModel, ModelVersion
from appliance.training import erasing, files, jobs, leftovers
from appliance.training.erasure_certificate import certificate_file
from appliance.training.erasure_facts import merged_dir
from appliance.training.errors import ErasureRefused, JobRefused
from appliance.training.models import Checkpoint, Dataset, Erasure, ErasureState, Evaluation, Job, JobEvent, StoredFile
from appliance.training.training import job_dir
from finetune import manifest
from finetune.job import JobStatus
from inference import failpoints
from ops.acceptance.errors import CertificateRefused
from ops.acceptance.signing import load_public
from ops.acceptance.verify import verify
from tests.appliance.training.cast import ROWS, Cast, digest
from tests.appliance.training.racing import at_once

S = JobStatus
DONE, WAITING = ErasureState.DONE, ErasureState.WAITING


class Killed(BaseException):
    """What a test raises where a process would be killed."""


@pytest.fixture(autouse=True)
def _clean(files_dir: Path) -> Iterator[None]:
    yield
    for name in ("jobs", "merged", "erasures", "acceptance"):
        shutil.rmtree(files_dir.parent / name, ignore_errors=True)


def uploaded(cast: Cast, content: bytes = ROWS) -> StoredFile:
    """A file with its bytes, and what cleaning made of it."""
    file = cast.file(sha256=digest(content.decode()), status="processed")
    write(files.path(file), content)
    folder = files.dataset_dir(file)
    write(folder / "rows.jsonl", content)
    Dataset.objects.create(file=file, kind="chat", path=str(folder), digest="da" * 32, rows=3, report={"sample": "1+1"})
    return file


def write(path: Path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def trained(cast: Cast, file: StoredFile, state: AdapterState = AdapterState.ACTIVE, **fields: Any) -> Adapter:
    """The adapter of a fine-tune on a file, with everything that it left on the disk and in rows."""
    job = cast.job(S.SUCCEEDED, training_file=file, metadata={"who": "me"}, finished_at=timezone.now(), **fields)
    attempt = job_dir(job.pk) / "attempts" / "1"
    for name in ("adapter", "checkpoint-00000004"):
        write(attempt / name / "adapter_model.safetensors", job.pk.encode())
        manifest.write(attempt / name, name=name, origin="test", licence="none")
    write(attempt / "trainer.log")
    adapter = cast.adapter(state, path=str(attempt / "adapter"))
    Adapter.objects.filter(pk=adapter.pk).update(digest=manifest.read(attempt / "adapter").digest)
    Job.objects.filter(pk=job.pk).update(adapter=adapter, trained_tokens=7)
    Checkpoint.objects.create(id=f"ckpt-{job.pk}", job=job, step=4, fence=1, path=str(attempt / "checkpoint-00000004"))
    JobEvent.objects.create(job=job, message="What is 1+1?")
    Evaluation.objects.create(adapter=adapter, verdict="pass", checks=[{"name": "leaks", "reason": "1+1"}])
    adapter.refresh_from_db()
    return adapter


def erase(file: StoredFile) -> Erasure:
    with acting("owner"):
        return erasing.go_on(erasing.begin(file))


def facts_of(erasure: Erasure) -> dict[str, Any]:
    """The certificate's facts, once the command's own check found no fault."""
    public = load_public(Path(settings.ENV.data_dir) / "acceptance" / "keys" / "public.pem")
    return dict(verify(certificate_file(erasure, "certificate.json"), public).facts)


def loaded_in_an_engine(cast: Cast, adapter: Adapter) -> EngineLife:
    replica = Replica.objects.create(deployment=cast.deployment, index=0, state="ready")
    life = EngineLife.objects.create(
        replica=replica, model_name=cast.base.name, pid=1, pid_started=1, socket="/run/none", started_at=timezone.now()
    )
    AdapterLoad.objects.create(life=life, adapter=adapter, loaded=True)
    return life


def test_it_removes_what_came_of_a_file_and_certifies_it(cast: Cast) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)
    job = adapter.job
    erasure = erase(file)
    assert (erasure.state, erasure.waits_for) == (DONE, "")
    assert not any(path.exists() for path in (files.path(file), files.dataset_dir(file), job_dir(job.pk)))
    assert not Dataset.objects.exists()
    assert not Checkpoint.objects.exists()
    assert not Evaluation.objects.exists()
    assert not JobEvent.objects.filter(message__contains="1+1").exists()
    facts = facts_of(erasure)
    assert facts["file"]["sha256"] == file.sha256
    assert facts["counts"] == {"adapter": 1, "attempt": 1, "bytes": 1, "checkpoint": 1, "dataset": 1, "job": 1}
    removed = {row["kind"]: row for row in facts["removed"]}
    assert removed["adapter"]["digest"] == adapter.digest
    assert removed["bytes"]["digest"] == file.sha256
    assert facts["by"] == "owner"
    assert {"ledger", "backups"} <= {word for row in facts["kept"] for word in row["what"].replace("'", " ").split()}


def test_what_is_billed_stays_without_content(cast: Cast) -> None:
    file = uploaded(cast)
    job = trained(cast, file).job
    Job.objects.filter(pk=job.pk).update(error={"code": "x", "message": "row 3: What is 1+1?", "param": None})
    erase(file)
    job.refresh_from_db()
    assert (job.trained_tokens, job.metadata) == (7, {})
    assert "1+1" not in str(job.error)


def test_an_active_adapter_is_withdrawn_and_waited_for_until_its_engine_let_it_go(cast: Cast) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)
    Alias.objects.create(tenant=cast.acme, name="editors", target=adapter.name)
    life = loaded_in_an_engine(cast, adapter)
    erasure = erase(file)
    adapter.refresh_from_db()
    assert (adapter.state, erasure.state) == (AdapterState.WITHDRAWN, WAITING)
    assert adapter.name in erasure.waits_for
    assert files.path(file).exists()
    AdapterLoad.objects.filter(life=life).delete()  # as the pool does once the engine has unloaded it
    erasing.sweep_erasures()
    erasure.refresh_from_db()
    assert erasure.state == DONE
    assert any(row["kind"] == "alias" and row["name"] == "editors" for row in facts_of(erasure)["led_to"])


def test_an_engine_that_never_unloads_is_named_and_not_waited_for_any_longer(cast: Cast) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)
    life = loaded_in_an_engine(cast, adapter)
    erasure = erase(file)
    Erasure.objects.update(asked_at=timezone.now() - erasing.UNLOAD_WAIT - timedelta(seconds=1))
    erasure = erasing.go_on(erasure)
    assert erasure.state == DONE
    assert facts_of(erasure)["may_linger"][0] == f"engine {life.pk} has {adapter.name} loaded"


@pytest.mark.parametrize("status", [S.VALIDATING, S.QUEUED, S.RUNNING, S.PAUSED])
def test_a_fine_tune_is_cancelled_and_its_holder_waited_for(cast: Cast, status: JobStatus) -> None:
    file = uploaded(cast)
    job = cast.job(status, training_file=file, lease_expires_at=timezone.now() + timedelta(hours=1))
    write(job_dir(job.pk) / "split" / "train.jsonl", ROWS)
    erasure = erase(file)
    job.refresh_from_db()
    assert (job.status, erasure.state) == (S.CANCELLED.value, WAITING)
    assert job.pk in erasure.waits_for
    assert (job_dir(job.pk) / "split").exists()
    Job.objects.update(lease_expires_at=None)
    assert erasing.go_on(erasure).state == DONE
    assert not job_dir(job.pk).exists()
    (withdrawn,) = AuditEntry.objects.filter(action="job.cancel")
    assert withdrawn.actor == "owner"


def test_a_cleaning_under_way_is_waited_for(cast: Cast) -> None:
    file = uploaded(cast)
    lock = files.dataset_dir(file).with_name(f".{file.pk}.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        erasure = erase(file)
        assert erasure.state == WAITING
    assert erasing.go_on(erasure).state == DONE


def test_no_fine_tune_begins_on_a_file_that_is_erased(cast: Cast) -> None:
    file = uploaded(cast)
    erasing.begin(file)
    with pytest.raises(JobRefused) as refused:
        jobs.create(cast.key, model=cast.base.name, training_file=file.pk)
    assert refused.value.code == "file_not_found"


def test_what_only_validated_with_a_file_goes_with_it_and_the_file_trained_on_stays(cast: Cast) -> None:
    file, other = uploaded(cast), uploaded(cast, b"other")
    adapter = trained(cast, other, validation_file=file)
    assert erase(file).state == DONE
    adapter.refresh_from_db()
    assert adapter.state == AdapterState.WITHDRAWN
    assert not job_dir(adapter.job.pk).exists()
    assert files.path(other).exists()
    assert Dataset.objects.get().file_id == other.pk


def test_another_upload_of_the_same_content_keeps_everything(cast: Cast) -> None:
    file, twin = uploaded(cast), uploaded(cast)
    gone, kept = trained(cast, file), trained(cast, twin)
    erasure = erase(file)
    assert erasure.state == DONE
    assert files.path(twin).read_bytes() == ROWS
    assert files.dataset_dir(twin).exists()
    assert job_dir(kept.job.pk).exists()
    assert not job_dir(gone.job.pk).exists()
    kept.refresh_from_db()
    assert kept.state == AdapterState.ACTIVE
    facts = facts_of(erasure)
    assert "bytes" not in facts["counts"]
    assert any(twin.pk in row["why"] for row in facts["kept"])
    assert erase(twin).state == DONE
    assert not files.path(twin).exists()


def merge(adapter: Adapter) -> Path:
    """A merged copy's rows and folder, as the pool makes them."""
    write(merged_dir(adapter) / "model.safetensors")
    whole = manifest.write(merged_dir(adapter), name="m", origin="test", licence="none")
    version = ModelVersion.objects.create(
        name=adapter.name, path=str(merged_dir(adapter)), digest=whole.digest, max_model_len=9
    )
    MergedModel.objects.create(adapter=adapter, version=version)
    return merged_dir(adapter)


def test_a_merged_copy_goes_with_the_adapter(cast: Cast) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)
    place = merge(adapter)
    erasure = erase(file)
    assert erasure.state == WAITING
    assert "merged copy" in erasure.waits_for
    Merging(place.parent.parent).look()  # the pool's: takes the rows away, then the copy
    assert erasing.go_on(erasure).state == DONE
    assert not place.exists()
    assert any(row["kind"] == "merged" and row["digest"] for row in facts_of(erasure)["led_to"])


def test_a_copy_that_another_adapter_has_too_stays(cast: Cast) -> None:
    file, twin = uploaded(cast), uploaded(cast, b"other")
    gone, kept = trained(cast, file), trained(cast, twin)
    Adapter.objects.filter(pk=kept.pk).update(digest=gone.digest)
    kept.refresh_from_db()
    place = merge(kept)
    assert erase(file).state == DONE
    assert place.exists()


@pytest.mark.parametrize("point", ["erasure.written_down", "erasure.removing", "erasure.certified"])
def test_a_kill_anywhere_is_made_up_for_by_the_next_sweep(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)

    def reach(name: str) -> None:
        if name == point:
            raise Killed(name)

    with monkeypatch.context() as armed:
        armed.setattr(failpoints, "reach", reach)
        with pytest.raises(Killed):
            erase(file)
    leftovers.sweep_leftovers()  # comes by in between, and must not take away what has yet to be written down
    erasing.sweep_erasures()
    erasing.sweep_erasures()
    erasure = Erasure.objects.get()
    facts = facts_of(erasure)
    assert erasure.state == DONE
    assert erasure.finished_at is not None
    assert facts["finished_at"] == erasure.finished_at.isoformat(timespec="seconds")
    assert facts["counts"] == {"adapter": 1, "attempt": 1, "bytes": 1, "checkpoint": 1, "dataset": 1, "job": 1}
    assert not any(path.exists() for path in (files.path(file), files.dataset_dir(file), job_dir(adapter.job.pk)))
    assert AuditEntry.objects.filter(action="file.erased").count() == 1


def test_what_can_not_be_removed_keeps_it_from_being_certified(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    file = uploaded(cast)
    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
        erasure = erase(file)
    assert erasure.state == ErasureState.REMOVING
    assert file.pk in erasure.waits_for
    assert erasing.go_on(erasure).state == DONE


def test_a_certificate_that_can_not_be_signed_is_tried_again(cast: Cast) -> None:
    key = Path(settings.ENV.data_dir) / "acceptance" / "keys" / "signing.pem"
    erase(uploaded(cast, b"first"))
    key.chmod(0o644)
    erasure = erase(uploaded(cast))
    assert erasure.state == ErasureState.REMOVING
    assert "chmod 600" in erasure.waits_for
    key.chmod(0o600)
    erasing.sweep_erasures()
    erasure.refresh_from_db()
    assert erasure.state == DONE
    facts_of(erasure)


def test_what_a_frozen_worker_writes_after_the_certificate_is_swept_away(cast: Cast) -> None:
    file = uploaded(cast)
    job = trained(cast, file).job
    assert erase(file).state == DONE
    write(job_dir(job.pk) / "attempts" / "1" / "checkpoint-00000009" / "weights")
    again = uploaded(cast)  # the same content anew, by somebody who may
    erasing.sweep_erasures()
    assert not job_dir(job.pk).exists()
    assert files.path(again).exists()
    assert files.dataset_dir(again).exists()


def test_two_who_erase_at_once_make_one_erasure(cast: Cast) -> None:
    file = uploaded(cast)
    trained(cast, file)
    first, second = at_once(lambda: erase(file), lambda: erase(file))
    assert first.pk == second.pk
    erasing.sweep_erasures()
    assert Erasure.objects.get().state == DONE
    for action in ("file.erase", "file.erased", "adapter.withdraw"):
        assert AuditEntry.objects.filter(action=action).count() == 1
    facts_of(first)


def test_what_came_of_a_deleted_file_can_still_be_erased(cast: Cast) -> None:
    file = uploaded(cast)
    adapter = trained(cast, file)
    files.delete(file)
    assert erase(file).state == DONE
    assert not job_dir(adapter.job.pk).exists()


def test_a_batchs_file_is_refused(cast: Cast) -> None:
    with pytest.raises(ErasureRefused):
        erasing.begin(cast.file(purpose="batch"))


def test_other_tenants_files_of_the_same_content_are_not_looked_at(cast: Cast) -> None:
    file = uploaded(cast)
    theirs = cast.file(cast.rivals, sha256=file.sha256)
    write(files.path(theirs), ROWS)
    assert erase(file).state == DONE
    assert files.path(theirs).exists()
    assert theirs.pk not in certificate_file(Erasure.objects.get(), "certificate.html").read_text()


@pytest.mark.parametrize("name", ["certificate.json", "certificate.html"])
def test_a_changed_certificate_is_refused_by_the_files_name(cast: Cast, name: str) -> None:
    erasure = erase(uploaded(cast))
    path = certificate_file(erasure, name)
    path.write_bytes(path.read_bytes().replace(b"owner", b"rival"))
    with pytest.raises(CertificateRefused, match=name):
        facts_of(erasure)


def test_the_certificate_is_hostile_proof_and_shows_names_as_text(cast: Cast) -> None:
    file = uploaded(cast)
    StoredFile.objects.filter(pk=file.pk).update(filename="<script>alert(1)</script>.jsonl")
    file.refresh_from_db()
    erasure = erase(file)
    assert "<script>" not in certificate_file(erasure, "certificate.html").read_text()
    assert json.loads(certificate_file(erasure, "certificate.json").read_bytes())["file"]["filename"] == file.filename
    facts_of(erasure)


def test_an_unknown_file_of_a_certificate_is_not_there(cast: Cast) -> None:
    erasure = erase(uploaded(cast))
    for name in ("../../secret_key", "requests.jsonl"):
        with pytest.raises(FileNotFoundError):
            certificate_file(erasure, name)
    with pytest.raises(FileNotFoundError):
        certificate_file(Erasure(pk=uuid4()), "certificate.json")
