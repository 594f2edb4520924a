"""Fill in the middle in training: for source code and models that are served with it, with the gateway's own tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from appliance.registry.models import ModelVersion
from appliance.training import holes, jobs, lease, plan, training
from appliance.training.devices import Leased
from appliance.training.errors import AttemptFailed, JobRefused
from appliance.training.models import Dataset, StoredFile
from finetune.job import JobStatus
from finetune.train.hyperparameters import NAMES
from finetune.train.spec import TrainSpec
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from tests.appliance.training.cast import BASE, Cast
from tests.finetune.train.shapes import SMALL, write_model

DEVICE = Leased("cpu:0", "cpu", 2, {})
CODE = "".join(json.dumps({"text": "x = 1\n" * 50, "path": f"{number}.py"}) + "\n" for number in range(40))


@pytest.fixture
def filler(cast: Cast, tmp_path: Path) -> Cast:
    """The base fills in the middle; only its configuration and tokenizer lie there."""
    folder = write_model(tmp_path / "filler", SMALL)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ("a", FIM_HOLE, FIM_BEGIN, FIM_END)])
    tokenizer.save(str(folder / "tokenizer.json"))
    ModelVersion.objects.filter(pk=cast.base.pk).update(path=str(folder), fim=True)
    cast.base.refresh_from_db()
    return cast


def specified(cast: Cast, tmp_path: Path, kind: str = "text", **asked: object) -> TrainSpec:
    """What the trainer would be given."""
    file = cast.file(status=StoredFile.Status.PROCESSED)
    (folder := tmp_path / file.pk).mkdir()
    (folder / "rows.jsonl").write_text(CODE)
    dataset = Dataset.objects.create(file=file, kind=kind, path=str(folder), digest="ab" * 32, rows=40, report={})
    hyperparameters = dict.fromkeys(NAMES, "auto") | asked
    job = cast.job(JobStatus.RUNNING, training_file=file, hyperparameters=hyperparameters)
    run = plan.look_ahead(job, dataset, jobs.lora_targets(cast.base))
    assert lease.claim(job.pk) == 1
    (out := tmp_path / file.pk / "1").mkdir()
    spec = training._spec(job, out, DEVICE, dataset, None)
    # a batch of text counts packs of the context's length, and its longest document is shorter
    assert (spec.batch_size, spec.epochs) == (1 if kind == "text" else 4, run.epochs)
    assert run.batch.row_tokens < run.batch.tokens == (spec.max_length if kind == "text" else 4 * run.batch.row_tokens)
    return spec


def test_half_of_the_documents_have_holes_unless_the_tenant_asks_otherwise(filler: Cast, tmp_path: Path) -> None:
    spec = specified(filler, tmp_path)
    assert (spec.kind, spec.fim_rate, spec.fim_tokens) == ("text", 0.5, (2, 1, 3))
    assert specified(filler, tmp_path, fim_rate=0.0).fim_rate == 0.0
    assert specified(filler, tmp_path, fim_rate=1.0).fim_rate == 1.0


def test_conversations_have_none_and_neither_have_other_models(filler: Cast, tmp_path: Path) -> None:
    chat = specified(filler, tmp_path, kind="chat", fim_rate=0.5)
    assert (chat.fim_rate, chat.fim_tokens) == (0.0, None)
    ModelVersion.objects.filter(pk=filler.base.pk).update(fim=False)
    filler.base.refresh_from_db()
    other = specified(filler, tmp_path)
    assert (other.fim_rate, other.fim_tokens) == (0.0, None)


def test_a_rate_is_refused_for_a_model_that_does_not_fill_in_the_middle(cast: Cast) -> None:
    with pytest.raises(JobRefused, match="does not fill in the middle") as caught:
        jobs.create(cast.key, model=BASE, training_file=cast.file().pk, hyperparameters={"fim_rate": 0.2})
    assert caught.value.param == "hyperparameters.fim_rate"
    job = jobs.create(cast.key, model=BASE, training_file=cast.file().pk, hyperparameters={"fim_rate": 0})
    assert job.hyperparameters["fim_rate"] == 0.0


def test_a_tokenizer_that_is_gone_fails_the_job_and_tells_the_tenant_no_path(filler: Cast) -> None:
    (Path(filler.base.path) / "tokenizer.json").unlink()
    with pytest.raises(AttemptFailed, match="can't be read; tell the operator") as caught:
        holes.tokens_of(filler.base)
    assert filler.base.path not in str(caught.value)
