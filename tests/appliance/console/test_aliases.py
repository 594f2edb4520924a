"""Aliases on a tenant's page: its owners set and remove them, developers see them, nobody else does."""

from __future__ import annotations

import pytest

from appliance.audit.models import AuditEntry
from appliance.fleet.models import Deployment
from appliance.registry.aliases import set_alias
from appliance.registry.models import Adapter, AdapterState, Alias
from tests.appliance.console.cast import Cast, book

OWN = "ft:tiny-coder:acme:own:1"
SET, REMOVE = "/tenants/acme/aliases/set/", "/tenants/acme/aliases/remove/"
WANTED = {"name": "editors", "to": "tiny-coder", "canary": OWN, "share": "20"}


@pytest.fixture
def adapter(cast: Cast, deployment: Deployment) -> Adapter:
    return Adapter.objects.create(
        name=OWN, tenant=cast.acme, base=deployment.model, path="/a", digest="e", rank=8, state=AdapterState.ACTIVE
    )


@pytest.mark.parametrize("person", ["owner", "operator"])
def test_it_is_set_changed_and_removed(cast: Cast, adapter: Adapter, person: str) -> None:
    client = cast.client(person)
    answer = client.post(SET, WANTED, follow=True)
    assert "editors now stands for tiny-coder." in answer.content.decode()
    assert list(Alias.objects.values_list("target", "canary", "share")) == [("tiny-coder", OWN, 20)]
    client.post(SET, {"name": "editors", "to": OWN, "canary": "", "share": ""})
    assert list(Alias.objects.values_list("target", "canary", "share")) == [(OWN, "", 0)]
    assert client.post(REMOVE, {"name": "editors"})["Location"] == "/tenants/acme/#aliases"
    assert not Alias.objects.exists()
    acts = AuditEntry.objects.filter(subject="editors").order_by("pk")
    assert [(entry.action, entry.actor) for entry in acts] == [
        ("alias.set", person), ("alias.set", person), ("alias.remove", person),
    ]  # fmt: skip


@pytest.mark.parametrize(("person", "status"), [("developer", 403), ("rival", 404), ("stranger", 404)])
def test_nobody_else_may(cast: Cast, adapter: Adapter, person: str, status: int) -> None:
    set_alias(cast.acme, "kept", to=OWN)
    client = cast.client(person)
    assert client.post(SET, WANTED).status_code == status
    assert client.post(REMOVE, {"name": "kept"}).status_code == status
    assert [alias.name for alias in Alias.objects.all()] == ["kept"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"share": ""}, "A canary needs a share."), ({"share": "51"}, "A canary&#x27;s share is 1 to 50 percent"),
        ({"share": "9999"}, "A canary needs a share."), ({"name": "ft:x"}, "An alias has letters"),
        ({"name": "a" * 201}, "An alias has letters"), ({"name": "tiny-coder"}, "tiny-coder is a model&#x27;s name."),
        ({"to": "<b>"}, "There is no served model &lt;b&gt;"), ({"to": ""}, "say what it stands for"),
    ],
)  # fmt: skip
def test_it_says_why_not(cast: Cast, adapter: Adapter, change: dict[str, str], told: str) -> None:
    page = cast.client("owner").post(SET, WANTED | change, follow=True).content.decode()
    assert told in page
    assert not Alias.objects.exists()


def test_a_member_sees_both_models_figures(cast: Cast, adapter: Adapter) -> None:
    set_alias(cast.acme, "editors", to="tiny-coder", canary=OWN, share=20)
    book("acme", ttft_ms=111)
    book("acme", model=OWN, ttft_ms=222, outcome="failed")
    book("rivals", ttft_ms=333)
    page = cast.client("developer").get("/tenants/acme/").content.decode()
    section = page[page.index('id="aliases"') :].split("</section>")[0]
    for part in ("editors", "80 %", "20 %", "111 ms", "222 ms", "100 %"):
        assert part in section
    assert SET not in section
    assert ">editors<" in page
    assert ">editors<" not in cast.client("rival").get("/tenants/rivals/").content.decode()


def test_the_guide_and_the_playground_offer_it(cast: Cast, adapter: Adapter) -> None:
    set_alias(cast.acme, "editors", to=OWN)
    client = cast.client("developer")
    for address in ("/guide/?tenant=acme", "/playground/?tenant=acme"):
        assert "editors" in client.get(address).content.decode()


def test_withdrawing_its_adapter_tells_before_and_after(cast: Cast, adapter: Adapter) -> None:
    set_alias(cast.acme, "editors", to=OWN)
    client, address = cast.client("owner"), f"/models/adapters/{adapter.pk}/withdraw/"
    assert "Aliases have it: editors." in client.get(address).content.decode()
    assert "Aliases that had it: editors." in client.post(address, follow=True).content.decode()
    page = client.get("/tenants/acme/").content.decode()
    assert "its model is not served: requests get 404" in page
