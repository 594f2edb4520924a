"""Replay of a fine-tune: recalled once, trained on beside its own rows, told in counts, never held out, gone with the job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.api.v1.fine_tuning_shapes import job_shape
from appliance.audit.actor import acting
from appliance.training import erasing, files, lease, training
from appliance.training.devices import Leased
from appliance.training.errors import AttemptFailed, JobRefused, LeaseLost
from appliance.training.folders import job_dir
from appliance.training.heartbeat import Heartbeat
from appliance.training.jobs import create
from appliance.training.models import Dataset, Job, JobEvent
from appliance.training.plan import in_words, look_ahead
from appliance.training.replay import REPLAY, corpora_dir, ensure_replay, mixed_in
from appliance.training.rows import read_rows, rows_for
from finetune.data.recall.adding import add
from finetune.data.recall.corpora import Corpus, remove, rows_of
from finetune.job import JobStatus
from finetune.train.rows import examples_of
from finetune.train.spec import TrainSpec
from tests.appliance.training.cast import Cast
from tests.finetune.data.archives import tar_gz
from tests.finetune.data.corpora import shop, sky

TARGETS = ("q_proj",)


class Letters:
    """A tokenizer as the trainer calls it: a token for each character."""

    eos_token_id = 0

    def __call__(self, text: str, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


@pytest.fixture(autouse=True)
def _clean(files_dir: Path) -> Iterator[None]:
    yield
    for name in ("jobs", "corpora", "erasures", "acceptance"):
        shutil.rmtree(files_dir.parent / name, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus]:
    """Public code, a part of it like the tenant's, cleaned once for all tests."""
    folder = tmp_path_factory.mktemp("made")
    archive = tar_gz(folder / "public.tar.gz", dict(shop(30, first=100) | sky(30)))
    return folder / "corpora", add(folder / "corpora", archive, "public", b"a key")


@pytest.fixture
def corpus(made: tuple[Path, Corpus]) -> Corpus:
    """It, registered."""
    shutil.copytree(made[0], corpora_dir())
    return made[1]


def dataset(cast: Cast, kind: str = "text", count: int = 60) -> Dataset:
    """What cleaning made of a tenant's upload, on the disk and as a row."""
    file = cast.file(status="processed")
    folder = files.dataset_dir(file)
    folder.mkdir(parents=True)
    rows = [{"text": text, "path": path} for path, text in shop(count).items()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "manifest.json").write_text("{}")
    return Dataset.objects.create(file=file, kind=kind, path=str(folder), digest="d" * 64, rows=count, report={})


def job_on(cast: Cast, data: Dataset, **asked: Any) -> Job:
    job = cast.job(JobStatus.QUEUED, training_file=data.file, hyperparameters=asked)
    assert lease.claim(job.pk) == 1
    return job


def ensure(job: Job, data: Dataset) -> None:
    ensure_replay(job, data, None, Heartbeat(job.pk, 1))


def story(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).values_list("message", flat=True))


def spec_of(job: Job, data: Dataset) -> TrainSpec:
    """What the trainer would be given."""
    folder = training.attempt_dir(job.pk, 1)
    folder.mkdir(parents=True, exist_ok=True)
    return training._spec(job, folder, Leased("cpu:0", "cpu", 1, {}), data, None)


def test_public_files_like_the_tenants_are_trained_on_and_never_held_out(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    job = job_on(cast, data, replay_share=0.2)
    ensure(job, data)
    spec = spec_of(job, data)
    own, recalled = (list(read_rows(path)) for path in spec.train)
    assert not [row for row in own if "replay" in row]
    assert recalled
    assert {row["replay"] for row in recalled} == {corpus.digest}
    assert {row["path"].partition("/")[0] for row in recalled} == {"shop"}
    assert len(examples_of(Letters(), spec.train, spec.kind, 1 << 20)) == len(own) + len(recalled)
    held_out = [row for path in spec.validation for row in read_rows(path)]
    assert len(own) + len(held_out) == data.rows
    assert not {row["text"] for row in recalled} & {row["text"] for row in [*own, *held_out]}
    assert (job_dir(job.pk) / REPLAY).stat().st_mode & 0o777 == 0o700


def test_a_job_says_what_was_mixed_in_but_not_what_it_is(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    job = job_on(cast, data)
    ensure(job, data)
    mixed = mixed_in(job.pk)
    assert mixed is not None
    assert mixed.facts["corpora"] == [corpus.digest]
    assert (mixed.facts["rows"], mixed.facts["share"]) == (mixed.count, 0.1)
    assert 0.5 < mixed.facts["classifier"]["held_out_accuracy"] <= 1
    assert story(job)[-1].startswith(f"{mixed.count} of {corpus.rows} public files (corpus {corpus.digest[:12]})")
    told = json.dumps([story(job), mixed.facts, job_shape(job)], default=str)
    recalled = [row["path"] for row in read_rows(mixed.rows)]
    assert recalled
    assert not [path for path in recalled if path in told]
    assert "public/" not in told
    assert str(corpora_dir()) not in told


def test_its_plan_counts_what_is_mixed_in(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    job = job_on(cast, data)
    before = look_ahead(job, data, TARGETS)
    ensure(job, data)
    mixed = mixed_in(job.pk)
    assert mixed is not None
    assert look_ahead(job, data, TARGETS).data_bytes == before.data_bytes + mixed.rows.stat().st_size
    plan = {
        "device": {"id": "cpu:0"}, "memory": None, "disk": {"total": 1, "free": 2, "reserve": 1}, "time": None,
        "replay": mixed.facts,
    }  # fmt: skip
    assert f"; {mixed.count} rows of replay;" in in_words(plan)


@pytest.mark.parametrize("registered", [True, False])
def test_without_a_corpus_or_with_a_share_of_nothing_all_is_as_it_was(
    cast: Cast, tmp_path: Path, registered: bool
) -> None:
    data = dataset(cast)
    if registered:
        add(corpora_dir(), tar_gz(tmp_path / "a.tar.gz", dict(sky(12))), "public", b"a key")
    job = job_on(cast, data, **({"replay_share": 0} if registered else {}))
    ensure(job, data)
    assert not job_dir(job.pk).exists()
    assert (mixed_in(job.pk), story(job)) == (None, [])
    rows, held_out, _ = rows_for(job.seed, job_dir(job.pk), data, None)
    spec = spec_of(job, data)
    assert (spec.train, spec.validation) == ((rows,), held_out)


@pytest.mark.parametrize(("kind", "why"), [("chat", "no source code"), ("text", "no corpus")])
def test_replay_that_was_asked_for_in_vain_is_told(cast: Cast, kind: str, why: str) -> None:
    data = dataset(cast, kind, count=12)
    job = job_on(cast, data, replay_share=0.3)
    for _ in range(2):
        ensure(job, data)
    assert len(story(job)) == 1
    assert why in story(job)[0]


def test_every_attempt_has_the_same_rows(cast: Cast, corpus: Corpus, tmp_path: Path) -> None:
    data = dataset(cast)
    job = job_on(cast, data)
    ensure(job, data)
    first = spec_of(job, data)
    kept = first.train[1].read_bytes()
    remove(corpora_dir(), corpus.name)
    ensure(job, data)
    assert spec_of(job, data).train == first.train
    assert first.train[1].read_bytes() == kept
    begun = job_on(cast, data)
    spec_of(begun, data)
    add(corpora_dir(), tar_gz(tmp_path / "late.tar.gz", dict(shop(20, first=300))), "late", b"a key")
    ensure(begun, data)
    assert mixed_in(begun.pk) is None, "its first attempt began without"


def test_a_damaged_corpus_fails_the_job_with_a_way_out(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    with rows_of(corpora_dir(), corpus).open("a") as file:
        file.write('{"text": "more"}\n')
    job = job_on(cast, data)
    with pytest.raises(AttemptFailed, match="replay_share of 0"):
        ensure(job, data)
    assert [path.name for path in job_dir(job.pk).iterdir()] == ["split"]


def test_an_attempt_that_lost_its_job_recalls_nothing(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    job = job_on(cast, data)
    heart = Heartbeat(job.pk, 1)
    heart._lost.set()
    with pytest.raises(LeaseLost):
        ensure_replay(job, data, None, heart)
    assert mixed_in(job.pk) is None


def test_erasing_a_file_removes_what_was_mixed_into_its_fine_tunes(cast: Cast, corpus: Corpus) -> None:
    data = dataset(cast)
    job = job_on(cast, data)
    ensure(job, data)
    path = files.path(data.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    lease.release(job.pk, 1)
    with acting("owner"):
        erasure = erasing.go_on(erasing.begin(data.file))
    assert erasure.state == "done"
    assert not job_dir(job.pk).exists()
    assert rows_of(corpora_dir(), corpus).is_file(), "the corpus is nobody's file"


def test_the_share_is_checked_when_a_job_is_asked_for(cast: Cast) -> None:
    file = cast.file()
    with pytest.raises(JobRefused, match="from 0 to 0") as refused:
        create(cast.key, model=cast.base.name, training_file=file.pk, hyperparameters={"replay_share": 0.6})
    assert refused.value.param == "hyperparameters.replay_share"
