"""A data report is signed off by a person who may; where the tenant wants it, fine-tunes wait for that, and go on by it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from appliance.audit.models import AuditEntry
from appliance.tenants.acts import set_signoff
from appliance.tenants.models import User
from appliance.training import lease, signing
from appliance.training.attempt import work_on
from appliance.training.errors import NotSigned, SignoffRefused
from appliance.training.models import Dataset, Job, JobEvent, Signoff, StoredFile
from finetune.job import JobStatus
from tests.appliance.training.cast import ROWS, Cast
from tests.appliance.training.racing import at_once

S = JobStatus


@pytest.fixture
def file(cast: Cast, tmp_path: Path) -> StoredFile:
    """A file of Acme's, cleaned."""
    return cleaned(cast, tmp_path / "dataset")


def cleaned(cast: Cast, folder: Path) -> StoredFile:
    found = cast.file(status=StoredFile.Status.PROCESSED)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (folder / "rows.jsonl").write_bytes(ROWS)
    report = {"replacements": {"email": {"replacements": 2, "distinct": 1}}, "near": 0.85}
    Dataset.objects.create(file=found, kind="chat", path=str(folder), digest="ab" * 32, rows=3, report=report)
    return found


def digest(file: StoredFile) -> str:
    return signing.report_digest(Dataset.objects.get(file=file))


def sign(file: StoredFile, user: User, comment: str = "") -> Signoff:
    return signing.sign(file, user, digest(file), comment)


def queued(cast: Cast, file: StoredFile, **more: object) -> Job:
    return Job.objects.get(pk=cast.job(S.QUEUED, training_file=file, **more).pk)


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).values_list("message", flat=True))


def acts() -> list[str]:
    return list(AuditEntry.objects.filter(action__contains="signoff").order_by("seq").values_list("action", flat=True))


def state(job: Job) -> tuple[str, int]:
    job.refresh_from_db()
    return job.status, job.fence


@pytest.mark.parametrize("name", ["developer", "rival", "stranger"])
def test_who_is_neither_owner_nor_operator_signs_nothing(cast: Cast, file: StoredFile, name: str) -> None:
    with pytest.raises(SignoffRefused, match="Only operators"):
        sign(file, getattr(cast, name))
    assert not Signoff.objects.exists()
    assert acts() == []


@pytest.mark.parametrize("name", ["owner", "operator"])
def test_an_owner_or_an_operator_signs_with_a_comment_that_is_kept(cast: Cast, file: StoredFile, name: str) -> None:
    user = getattr(cast, name)
    sign(file, user, "read all ten samples")
    row = Signoff.objects.get()
    assert (row.user, row.comment, row.report_digest) == (user, "read all ten samples", digest(file))
    entry = AuditEntry.objects.get(action="data.signoff")
    assert (entry.subject, entry.tenant_id) == (file.pk, "acme")
    assert entry.details["report"] == digest(file)
    assert entry.details["person"] == user.username


def test_without_the_rule_nothing_waits(cast: Cast, file: StoredFile) -> None:
    job = cast.job(S.QUEUED, training_file=file)
    assert signing.unsigned(job) == []
    work_on(job.pk)
    assert story(job) == ["waiting for a free device"]


def test_with_the_rule_a_fine_tune_waits_with_the_reason_and_is_not_claimed(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    job = cast.job(S.VALIDATING, training_file=file)
    for _ in range(3):
        work_on(job.pk)
    assert state(job) == ("queued", 1)  # claimed once, to validate its files
    reason = f"waiting for a person to read and sign off the data report of rows.jsonl ({file.pk})"
    assert story(job)[1:] == [reason]


def test_signed_it_goes_on_by_the_sign_off(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    job = cast.job(S.QUEUED, training_file=file)
    work_on(job.pk)
    sign(file, cast.owner)
    work_on(job.pk)
    assert story(job)[1:] == [
        f"the data report of rows.jsonl was signed off by {cast.owner.username}",
        "waiting for a free device",
    ]


def test_switched_off_the_rule_lets_what_waits_go_on(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    job = cast.job(S.QUEUED, training_file=file)
    work_on(job.pk)
    set_signoff("acme", False)
    work_on(job.pk)
    assert story(job)[-1] == "waiting for a free device"
    assert acts() == ["tenant.set_signoff", "tenant.set_signoff"]


def test_the_validation_file_needs_one_too(cast: Cast, file: StoredFile, tmp_path: Path) -> None:
    set_signoff("acme", True)
    other = cleaned(cast, tmp_path / "validation")
    job = queued(cast, file, validation_file=other)
    sign(file, cast.owner)
    assert signing.unsigned(job) == [other]
    sign(other, cast.owner)
    assert signing.unsigned(job) == []


def test_a_report_that_changed_needs_a_new_one(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    before = digest(file)
    sign(file, cast.owner)
    Dataset.objects.filter(file=file).update(digest="cd" * 32)
    assert signing.unsigned(queued(cast, file)) == [file]
    with pytest.raises(SignoffRefused, match="another one by now"):
        signing.sign(file, cast.owner, before)
    sign(file, cast.owner)
    assert Signoff.objects.count() == 2


def test_the_digest_is_the_same_for_the_same_report_only(file: StoredFile) -> None:
    dataset = Dataset.objects.get(file=file)
    before = signing.report_digest(dataset)
    dataset.refresh_from_db()
    assert signing.report_digest(dataset) == before
    dataset.report["near"] = 0.86
    assert signing.report_digest(dataset) != before


def test_it_is_taken_back_until_a_fine_tune_has_gone_on_by_it(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    sign(file, cast.owner)
    with pytest.raises(SignoffRefused, match="Only operators"):
        signing.revoke(file, cast.developer)
    signing.revoke(file, cast.operator)
    job = queued(cast, file)
    fence = lease.claim(job.pk)
    assert fence is not None
    datasets = [Dataset.objects.get(file=file)]
    with pytest.raises(NotSigned, match=file.pk):
        signing.use(job, fence, datasets)
    sign(file, cast.owner, "read")
    signing.use(job, fence, datasets)
    assert [(entry["by"], entry["comment"]) for entry in signing.of_job(job)] == [(cast.owner.username, "read")]
    assert [sorted(entry) for entry in signing.lineage(job)] == [["at", "by", "file", "report_digest"]]
    with pytest.raises(SignoffRefused, match="can't be taken back"):
        signing.revoke(file, cast.owner)
    assert acts()[1:] == ["data.signoff", "data.revoke_signoff", "data.signoff"]


def test_nothing_is_taken_back_that_nobody_signed(cast: Cast, file: StoredFile) -> None:
    with pytest.raises(SignoffRefused, match="is not signed off"):
        signing.revoke(file, cast.owner)


def test_a_fine_tune_that_runs_already_goes_on_under_a_new_rule(cast: Cast, file: StoredFile) -> None:
    set_signoff("acme", True)
    job = queued(cast, file)
    assert signing.unsigned(job) == [file]
    Job.objects.filter(pk=job.pk).update(status=S.RUNNING.value)
    assert signing.unsigned(Job.objects.get(pk=job.pk)) == []


def test_a_rule_that_came_while_the_files_were_cleaned_is_heeded(cast: Cast, file: StoredFile) -> None:
    job = queued(cast, file)
    assert not job.tenant.needs_signoff
    fence = lease.claim(job.pk)
    assert fence is not None
    set_signoff("acme", True)
    with pytest.raises(NotSigned, match=file.pk):
        signing.use(job, fence, [Dataset.objects.get(file=file)])


def test_a_fine_tune_that_went_on_by_a_sign_off_waits_where_its_data_is_other_data_by_now(
    cast: Cast, file: StoredFile
) -> None:
    set_signoff("acme", True)
    sign(file, cast.owner)
    job = queued(cast, file)
    fence = lease.claim(job.pk)
    assert fence is not None
    signing.use(job, fence, [Dataset.objects.get(file=file)])
    Job.objects.filter(pk=job.pk).update(status=S.RUNNING.value)
    Dataset.objects.filter(file=file).update(digest="cd" * 32)
    job = Job.objects.get(pk=job.pk)
    assert signing.unsigned(job) == [file]
    assert signing.lineage(job) == []
    with pytest.raises(NotSigned, match=file.pk):
        signing.use(job, fence, [Dataset.objects.get(file=file)])
    sign(file, cast.owner)
    signing.use(job, fence, [Dataset.objects.get(file=file)])
    assert [entry["report_digest"] for entry in signing.lineage(job)] == [digest(file)]


def test_a_comment_is_taken_as_a_browser_sends_it(cast: Cast, file: StoredFile) -> None:
    assert sign(file, cast.owner, "a\x00\r\n" + "b" * (signing.MAX_COMMENT - 2)).comment[:3] == "a\nb"


def test_a_deleted_file_is_not_signed(cast: Cast, file: StoredFile) -> None:
    StoredFile.objects.filter(pk=file.pk).update(deleted_at=file.created_at)
    with pytest.raises(SignoffRefused, match="no data report"):
        sign(file, cast.owner)


def test_two_people_at_once_make_one_sign_off(cast: Cast, file: StoredFile) -> None:
    outcomes = at_once(partial(sign, file, cast.owner), partial(sign, file, cast.operator))
    assert sorted(isinstance(outcome, SignoffRefused) for outcome in outcomes) == [False, True]
    assert Signoff.objects.count() == 1
