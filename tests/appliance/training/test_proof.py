"""An adapter with a merged model is proved on the engine that serves it; what was scored for it is scored once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from appliance.fleet.merged import ask_for
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.registry.models import Adapter, AdapterState, ModelVersion
from appliance.training import attempt, jobs, proof
from appliance.training.serving import NoEngine, merged_engine
from finetune.evaluate.scored import Scored
from finetune.job import JobStatus
from tests.appliance.training.cast import BASE, Cast, make_scores

TEXTS: list[tuple[str, dict[str, Any]]] = [("seen 0", {"text": "x"})]


class Heart:
    """A lease that is never lost."""

    def check(self) -> None: ...

    def sleep(self, seconds: float) -> None: ...


@pytest.fixture
def adapter(cast: Cast, tmp_path: Path) -> Adapter:
    """Under test, on a base with experts that the CPU serves without adapters."""
    (tmp_path / "config.json").write_text(json.dumps({"n_routed_experts": 8, "num_hidden_layers": 2}))
    ModelVersion.objects.update(path=str(tmp_path))
    Deployment.objects.update(flags=[])
    cast.base.refresh_from_db()
    return cast.adapter(AdapterState.CANDIDATE)


def start_engine(deployment: Deployment) -> EngineLife:
    replica = Replica.objects.create(deployment=deployment, index=0, state="ready")
    life = EngineLife.objects.create(
        replica=replica, model_name=deployment.name, pid=1, pid_started=1, socket=f"/run/{deployment.name}.sock",
        log="/e.log", started_at=replica.state_since,
    )  # fmt: skip
    Replica.objects.filter(pk=replica.pk).update(life=life)
    return life


def serve_merged(adapter: Adapter, base: Deployment) -> EngineLife:
    """As the pool does."""
    row = ask_for(adapter)
    row.version = ModelVersion.objects.create(name=adapter.name, path="/merged/1", digest="c", max_model_len=512)
    row.save()
    own = Deployment.objects.create(model=row.version, slot=base.slot, max_model_len=512, serves=False)
    return start_engine(own)


def test_a_model_with_experts_on_a_cpu_can_be_fine_tuned(cast: Cast, adapter: Adapter) -> None:
    assert jobs.create(cast.key, model=BASE, training_file=cast.file().pk).base == cast.base


def test_each_name_is_asked_where_it_is_served(cast: Cast, adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    base, own = start_engine(cast.deployment), serve_merged(adapter, cast.deployment)
    assert merged_engine(adapter).life_id == str(own.pk)
    sampler = proof._loaded(adapter, Heart())  # type: ignore[arg-type]
    assert sampler._engine.life_id == str(base.pk)
    assert {name: engine.life_id for name, engine in sampler._others.items()} == {adapter.name: str(own.pk)}


def test_it_says_what_the_merged_model_waits_for(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "LOAD_TIMEOUT_S", 0.0)
    ask_for(adapter)
    with pytest.raises(NoEngine, match="not served: its merged model is being built"):
        proof._loaded(adapter, Heart())  # type: ignore[arg-type]


def test_the_training_stacks_scores_are_made_once(
    cast: Cast, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cast.job(JobStatus.RUNNING, adapter=adapter)
    (Path(settings.ENV.data_dir) / "jobs" / job.pk).mkdir(parents=True)
    made: list[str] = []

    def score(*_: object) -> list[Scored]:
        made.append("scored")
        return [Scored("seen 0", (1, 2), (None, -0.5), 1)]

    monkeypatch.setattr(proof, "_score", score)
    first, again = (proof._training_scores(job, adapter, 1, Heart(), TEXTS) for _ in range(2))  # type: ignore[arg-type]
    assert first == again == [Scored("seen 0", (1, 2), (None, -0.5), 1)]
    assert made == ["scored"]


def test_a_job_whose_adapters_engine_has_the_last_device_is_worked_on(cast: Cast, adapter: Adapter) -> None:
    assert attempt._waits_in_vain(cast.job(JobStatus.RUNNING).pk), "there is no device at all"
    job = cast.job(JobStatus.RUNNING, adapter=adapter)
    assert attempt._waits_in_vain(job.pk), "there is no device at all"
    make_scores(job, adapter)
    assert not attempt._waits_in_vain(job.pk)
