"""A share of a name's requests for the version beside the one that serves: set, compared, taken back, told to the gateway."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.fleet import canaries, deployments
from appliance.fleet.canaries import Doing, is_worse
from appliance.fleet.errors import NoCanary
from appliance.fleet.models import Deployment, EngineLife, Replica
from appliance.ledger.models import LedgerEntry
from appliance.registry.models import EngineSlot, ModelVersion
from ops.cli.main import app

pytestmark = pytest.mark.usefixtures("db")


def view(name: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name}")
        return list(cursor.fetchall())


def deploy(digest: str, *, serves: bool) -> Replica:
    slot, _ = EngineSlot.objects.get_or_create(name="cpu-1", flavour="cpu", engine_version="1", path="/s", digest="d")
    model = ModelVersion.objects.create(name="m", path=f"/models/{digest}", digest=digest, max_model_len=512)
    row = Deployment.objects.create(
        model=model, slot=slot, max_model_len=512, serves=serves, flags=["--max-num-seqs=8"]
    )
    life = EngineLife.objects.create(
        model_name="m", pid=1, pid_started=1, socket=f"/{digest}", started_at=timezone.now()
    )
    replica = Replica.objects.create(deployment=row, index=0, state="ready", life=life)
    life.replica = replica
    life.save()
    return replica


@pytest.fixture
def both() -> tuple[Replica, Replica]:
    return deploy("old" * 5, serves=True), deploy("new" * 5, serves=False)


def book(replica: Replica, outcome: str, ttft_ms: int, *, endpoint: str = "chat", hours_ago: int = 0) -> None:
    at = timezone.now() - timedelta(hours=hours_ago)
    LedgerEntry.objects.create(
        request_id=str(uuid.uuid4()), tenant_id="acme", model="m", endpoint=endpoint, life_id=replica.life_id, started_at=at,
        finished_at=at, prompt_tokens=1, cached_tokens=0, completion_tokens=1, engine_prompt_tokens=1, outcome=outcome,
        http_status=200, ttft_ms=ttft_ms,
    )  # fmt: skip


def test_the_gateway_is_told_of_it_for_as_long_as_it_stands(both: tuple[Replica, Replica]) -> None:
    assert (view("gateway_canaries"), view("gateway_canary_replicas")) == ([], [])
    canaries.set_share("m", 5)
    new = "new" * 5
    assert view("gateway_canaries") == [("m", new, 5, 512, f"/models/{new}", False)]
    replica = both[1]
    assert view("gateway_canary_replicas") == [(str(replica.pk), str(replica.life_id), "m", new, f"/{new}", 8)]
    assert len(view("gateway_models")) == len(view("gateway_replicas")) == 1
    canaries.set_share("m", 0)
    assert (view("gateway_canaries"), view("gateway_canary_replicas")) == ([], [])
    assert list(AuditEntry.objects.filter(action="model.canary").values_list("subject", flat=True)) == ["m", "m"]


def test_there_is_none_without_a_second_version(both: tuple[Replica, Replica]) -> None:
    with pytest.raises(NoCanary):
        canaries.set_share("m", 51)
    Deployment.objects.filter(serves=False).update(running=False)
    with pytest.raises(NoCanary):
        canaries.set_share("m", 5)


def test_whoever_serves_the_name_is_no_canary_any_more(both: tuple[Replica, Replica]) -> None:
    canaries.set_share("m", 5)
    deployments.serve(both[0].deployment.model, both[0].deployment.slot, (), 1, 1)
    assert not Deployment.objects.filter(canary_share__gt=0).exists()


def test_a_person_sees_how_both_do_and_takes_it_back_with_one_command(both: tuple[Replica, Replica]) -> None:
    old, new = both
    invoke = CliRunner().invoke
    assert invoke(app, ["model", "canary", "m", "--share", "20", "--off"]).exit_code == 2
    done = invoke(app, ["model", "canary", "m", "--share", "20", "--json"])
    assert done.exit_code == 0, done.output
    for number in range(4):
        book(old, "completed", 100 + number)
        book(new, "failed" if number == 0 else "completed", 200)
    book(new, "failed", 9_000, hours_ago=2)
    book(new, "failed", 9_000, endpoint="canary")
    serving, canary = json.loads(invoke(app, ["model", "canary", "m", "--json"]).stdout)
    assert (serving["share"], serving["requests"], serving["failed"], serving["ttft_p50_ms"]) == (80, 4, 0.0, 101.5)
    assert (canary["share"], canary["requests"], canary["failed"], canary["ttft_p99_ms"]) == (20, 4, 0.25, 200.0)
    assert invoke(app, ["model", "canary", "m", "--off"]).exit_code == 0
    assert Deployment.objects.get(serves=False).canary_share == 0
    assert invoke(app, ["model", "canary", "nobody"]).exit_code == 5


@pytest.mark.parametrize(
    ("requests", "failed", "before", "worse"),
    [
        (100, 0.06, 0.0, True),
        (100, 0.04, 0.0, False),
        (100, 0.2, 0.1, False),
        (100, 0.3, 0.1, True),
        (19, 1.0, 0.0, False),
    ],
)
def test_only_what_nobody_has_to_look_at_twice_is_worse(
    requests: int, failed: float, before: float, worse: bool
) -> None:
    serving = Doing("a", 95, 1000, before, None, None)
    assert is_worse(serving, Doing("b", 5, requests, failed, None, None)) is worse
