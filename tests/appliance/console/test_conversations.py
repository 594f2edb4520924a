"""The pages of kept conversations: who sees them, what they show, what they never run."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.conversations.models import Conversation, ConversationLog
from appliance.conversations.place import vault
from appliance.tenants.models import Membership
from inference.conversations.segments import Texts
from tests.appliance.console.cast import Cast
from tests.appliance.conversations.keeping import ANSWERED, ASKED, kept, turn_on

LIST = "/tenants/acme/conversations/"


def acts_in_audit() -> list[str]:
    found = AuditEntry.objects.filter(action__startswith="conversations.").order_by("seq")
    return [f"{entry.actor} {entry.action} {entry.subject}" for entry in found]


def test_it_is_off_until_an_owner_turns_it_on(cast: Cast) -> None:
    owner = cast.client("owner")
    page = owner.get(LIST).content.decode()
    assert "not kept" in page
    assert "Nothing is kept." in page
    answer = owner.post(LIST, {"days": 7, "max_mib": 128}, follow=True)
    assert "are kept for 7 days" in answer.content.decode()
    row = ConversationLog.objects.get()
    assert (row.is_on, row.days, row.max_mib, row.changed_by) == (True, 7, 128, "owner")
    assert acts_in_audit() == ["owner conversations.on acme"]
    assert "Nothing was asked since" in owner.get(LIST).content.decode()


@pytest.mark.parametrize(
    "fields", [{}, {"days": 0, "max_mib": 64}, {"days": 91, "max_mib": 64}, {"days": 1, "max_mib": 1}]
)
def test_it_refuses_a_time_or_size_out_of_bounds(cast: Cast, fields: dict[str, int]) -> None:
    assert cast.client("owner").post(LIST, fields).status_code == (200 if not fields else 400)
    assert not ConversationLog.objects.exists()


@pytest.mark.parametrize(
    ("person", "status"), [("operator", 403), ("developer", 403), ("rival", 404), ("stranger", 404)]
)
@pytest.mark.parametrize("path", ["", "off/", "erase/"])
def test_nobody_else_changes_it(cast: Cast, person: str, status: int, path: str) -> None:
    turn_on(cast.acme)
    kept(cast.acme)
    before = acts_in_audit()
    assert cast.client(person).post(LIST + path, {"days": 1, "max_mib": 64}).status_code == status
    assert ConversationLog.objects.get().is_on
    assert Conversation.objects.count() == 1
    assert acts_in_audit() == before


def test_it_shows_one_whole_and_runs_nothing_of_it(cast: Cast) -> None:
    turn_on(cast.acme)
    row = kept(cast.acme)
    owner = cast.client("owner")
    assert row.pk in owner.get(LIST).content.decode()
    page = owner.get(f"{LIST}{row.pk}/").content.decode()
    assert "&lt;script&gt;alert(&#x27;asked&#x27;)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(&#x27;answered&#x27;)&gt;" in page
    assert ASKED not in page
    assert ANSWERED not in page
    assert acts_in_audit()[-2:] == ["owner conversations.list acme", f"owner conversations.read {row.pk}"]


def test_an_export_is_a_download_of_all_with_its_entry_in_the_audit_log(cast: Cast) -> None:
    turn_on(cast.acme)
    first = kept(cast.acme, at=timezone.now() - timedelta(hours=1))
    second = kept(cast.acme, texts=Texts(b'{"prompt": "\\ud800"}', b"\xff"))
    answer = cast.client("owner").get("/tenants/acme/conversations.jsonl")
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]  # type: ignore[attr-defined]
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Type"].startswith("text/plain")
    assert [line["request_id"] for line in lines] == [first.pk, second.pk]
    assert lines[0]["answers"][0]["text"] == ANSWERED
    assert lines[0]["request"]["messages"][0]["content"] == ASKED
    assert acts_in_audit()[-1] == "owner conversations.export acme"


def test_an_erased_one_says_so(cast: Cast) -> None:
    turn_on(cast.acme)
    row = kept(cast.acme)
    (vault().day_dir("acme", row.segment.day) / "key").unlink()
    page = cast.client("owner").get(f"{LIST}{row.pk}/")
    assert page.status_code == 200
    assert "was erased" in page.content.decode()
    assert "alert(" not in page.content.decode()


def test_a_damaged_one_says_so(cast: Cast) -> None:
    turn_on(cast.acme)
    row = kept(cast.acme)
    path = vault().day_dir("acme", row.segment.day) / row.segment.name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "damaged" in cast.client("owner").get(f"{LIST}{row.pk}/").content.decode()


def test_an_owner_turns_it_off_and_erases(cast: Cast) -> None:
    turn_on(cast.acme)
    kept(cast.acme)
    owner = cast.client("owner")
    owner.post(f"{LIST}off/")
    assert not ConversationLog.objects.get().is_on
    assert "1 conversation and the keys" in owner.get(f"{LIST}erase/").content.decode()
    assert Conversation.objects.count() == 1
    assert "Erased: 1" in owner.post(f"{LIST}erase/", follow=True).content.decode()
    assert vault().tenants() == []


def test_one_of_another_tenant_is_as_unknown_as_none(cast: Cast) -> None:
    turn_on(cast.acme)
    turn_on(cast.rivals)
    row = kept(cast.rivals)
    Membership.objects.create(user=cast.owner, tenant=cast.rivals)
    owner = cast.client("owner")
    assert owner.get(f"{LIST}{row.pk}/").status_code == 404
    assert owner.get(f"{LIST}{row.pk}/").content == owner.get(f"{LIST}req-0/").content
    for bent in ("..%2f..%2frivals", "%2e%2e", "..", "req-0%00"):
        assert owner.get(f"{LIST}{bent}/").status_code == 404
    assert cast.client("rival").get(f"/tenants/rivals/conversations/{row.pk}/").status_code == 200


@pytest.mark.parametrize("address", ["/tenants/acme/", "/playground/?tenant=acme", "/guide/?tenant=acme"])
def test_everybody_of_the_tenant_is_told(cast: Cast, address: str) -> None:
    developer = cast.client("developer")
    assert 'id="logged"' not in developer.get(address).content.decode()
    turn_on(cast.acme)
    page = developer.get(address).content.decode()
    assert "in this window only" not in page
    assert "Prompts and answers of Acme are kept for 30 days; its owners can read them." in page


def test_a_long_list_is_paged(cast: Cast) -> None:
    turn_on(cast.acme)
    row = kept(cast.acme)
    fields = {name: getattr(row, name) for name in (
        "tenant_id", "segment_id", "offset", "size", "key_id", "model", "endpoint", "stream", "prompt_tokens",
        "completion_tokens", "outcome", "http_status", "cut",
    )}  # fmt: skip
    Conversation.objects.bulk_create(
        Conversation(request_id=f"req-{n:04}", at=row.at - timedelta(seconds=n + 1), **fields) for n in range(60)
    )
    page = cast.client("owner").get(LIST).content.decode()
    assert "req-0048" in page
    assert "req-0049" not in page
    older = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "req-0059" in cast.client("owner").get(LIST + older).content.decode()
