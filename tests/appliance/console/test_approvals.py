"""Approvals: what waits, who may decide, what the decision does; adapters and withdrawing them."""

from __future__ import annotations

import pytest
from django.utils import timezone

from appliance.console import attention
from appliance.fleet.models import AdapterLoad, Deployment, EngineLife, Replica
from appliance.registry.models import Adapter
from appliance.training.models import Approval, Job
from tests.appliance.console import tuning
from tests.appliance.console.cast import Cast, book


def _waiting(cast: Cast, by: str = "developer") -> Adapter:
    return tuning.finish(tuning.start(cast.acme, by=getattr(cast, by)))


def _page(cast: Cast, address: str, person: str = "owner") -> str:
    response = cast.client(person).get(address)
    assert response.status_code == 200
    return response.content.decode()


def _ready(deployment: Deployment, index: int) -> EngineLife:
    replica = Replica.objects.create(deployment=deployment, index=index, state="ready")
    life = EngineLife.objects.create(
        replica=replica, model_name="m", pid=1, pid_started=1, socket="/x", log="/x", started_at=timezone.now()
    )
    Replica.objects.filter(pk=replica.pk).update(life=life)
    return life


def test_it_says_when_nothing_waits(cast: Cast) -> None:
    assert "Nothing waits for a decision" in _page(cast, "/approvals/")
    assert 'class="tally"' not in _page(cast, "/approvals/")
    assert attention.notices() == []


def test_it_shows_what_waits_with_its_checks_and_counts_it(cast: Cast) -> None:
    adapter = _waiting(cast)
    for person in ("owner", "operator", "developer"):
        page = _page(cast, "/approvals/", person)
        assert adapter.name in page
        assert "the adapter gave away 2 values" in page
        assert '<span class="tally">1<' in page
    for person in ("rival", "stranger"):
        page = _page(cast, "/approvals/", person)
        assert adapter.name not in page
        assert 'class="tally"' not in page
    assert "1 adapter waits for a decision" in _page(cast, "/", "operator")


@pytest.mark.parametrize(
    ("by", "person", "words"),
    [("owner", "owner", "You asked for this fine-tune"), ("developer", "developer", "Only operators"),
     ("operator", "operator", "You asked for this fine-tune")],
)  # fmt: skip
def test_it_gives_the_reason_instead_of_buttons(cast: Cast, by: str, person: str, words: str) -> None:
    adapter = _waiting(cast, by)
    page = _page(cast, "/approvals/", person)
    assert words in page
    assert f"/approvals/{adapter.pk}/approve/" not in page
    cast.client(person).post(f"/approvals/{adapter.pk}/approve/")
    assert Adapter.objects.get(pk=adapter.pk).state == "waiting"


def test_it_says_what_approving_does_and_then_does_it(cast: Cast, deployment: Deployment) -> None:
    adapter = _waiting(cast)
    Deployment.objects.update(model=adapter.base)
    _ready(deployment, 0)
    assert "the 1 engine that serves tiny-base" in _page(cast, f"/approvals/{adapter.pk}/approve/")
    page = cast.client("owner").post(f"/approvals/{adapter.pk}/approve/", follow=True).content.decode()
    assert "was approved" in page
    assert Adapter.objects.get(pk=adapter.pk).state == "active"
    assert Approval.objects.get(adapter=adapter).user == cast.owner


def test_it_rejects_with_a_reason_only(cast: Cast) -> None:
    adapter, client = _waiting(cast), cast.client("owner")
    address = f"/approvals/{adapter.pk}/reject/"
    for reason in ("", "   ", "x" * 2001):
        assert client.post(address, {"reason": reason}).status_code == 400
    assert Adapter.objects.get(pk=adapter.pk).state == "waiting"
    assert "was rejected" in client.post(address, {"reason": "too chatty"}, follow=True).content.decode()
    assert Adapter.objects.get(pk=adapter.pk).state == "rejected"
    job = Job.objects.get(adapter=adapter)
    assert job.error is not None
    assert job.error["message"] == "too chatty"
    assert "too chatty" in _page(cast, f"/models/adapters/{adapter.pk}/")


def test_it_says_so_when_somebody_else_was_first(cast: Cast) -> None:
    adapter = _waiting(cast)
    cast.client("operator").post(f"/approvals/{adapter.pk}/approve/")
    page = cast.client("owner").post(f"/approvals/{adapter.pk}/reject/", {"reason": "no"}, follow=True).content.decode()
    assert "nobody waits for a decision" in page
    assert (
        "nobody waits for a decision"
        in cast.client("owner").get(f"/approvals/{adapter.pk}/approve/", follow=True).content.decode()
    )
    assert Adapter.objects.get(pk=adapter.pk).state == "active"
    assert Approval.objects.get().approved


@pytest.mark.parametrize("act", ["approve", "reject"])
@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_decide(cast: Cast, act: str, person: str, status: int) -> None:
    adapter = _waiting(cast, "owner")
    response = cast.client(person).post(f"/approvals/{adapter.pk}/{act}/", {"reason": "because"})
    assert response.status_code == status
    assert Adapter.objects.get(pk=adapter.pk).state == "waiting"


def test_it_shows_adapters_under_their_base_with_where_they_are_loaded(cast: Cast, deployment: Deployment) -> None:
    adapter = tuning.finish(tuning.start(cast.acme), state="active")
    Deployment.objects.update(model=adapter.base, replicas=2)
    AdapterLoad.objects.create(life=_ready(deployment, 0), adapter=adapter, loaded=True)
    AdapterLoad.objects.create(
        life=_ready(deployment, 1), adapter=adapter, loaded=False, reason="its rank is too large"
    )
    for address in ("/models/", f"/models/adapters/{adapter.pk}/"):
        page = _page(cast, address, "operator")
        assert adapter.name in page
        assert "1 of 2" in page
        assert "its rank is too large" in page
    assert "No adapter" in _page(cast, "/models/?q=nonsense", "operator")
    assert adapter.name in _page(cast, "/tenants/acme/", "developer")


def test_it_says_who_used_an_adapter_and_then_withdraws_it(cast: Cast) -> None:
    adapter = tuning.finish(tuning.start(cast.acme), state="active")
    book("acme", model=adapter.name)
    address = f"/models/adapters/{adapter.pk}/withdraw/"
    assert "It was asked 1 time" in _page(cast, address)
    assert "was withdrawn" in cast.client("owner").post(address, follow=True).content.decode()
    assert Adapter.objects.get(pk=adapter.pk).state == "withdrawn"
    assert "there is nothing to withdraw" in cast.client("owner").post(address, follow=True).content.decode()


@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404), (None, 302)])
def test_it_lets_nobody_else_withdraw(cast: Cast, person: str, status: int) -> None:
    adapter = tuning.finish(tuning.start(cast.acme), state="active")
    assert cast.client(person).post(f"/models/adapters/{adapter.pk}/withdraw/").status_code == status
    assert Adapter.objects.get(pk=adapter.pk).state == "active"
