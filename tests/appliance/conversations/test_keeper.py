"""Listing what workers wrote, and ending it: by its time, its size, its tenant, its owner's word."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from appliance.audit.models import AuditEntry
from appliance.conversations import acts, reading
from appliance.conversations.errors import NoLog, NotForSystem
from appliance.conversations.keeper import Keeper
from appliance.conversations.models import Conversation, ConversationLog, Segment
from appliance.conversations.place import vault
from appliance.first_rows import ensure_base
from appliance.tenants.models import Tenant
from inference.conversations import segments
from inference.conversations.errors import Damaged, Erased
from inference.conversations.segments import Texts
from tests.appliance.conversations.keeping import ANSWERED, ASKED, kept, write


def keeper() -> Keeper:
    return Keeper(vault())


def segment_path(row: Conversation) -> Path:
    return vault().day_dir(row.tenant_id, row.segment.day) / row.segment.name


def test_it_lists_a_record_once_and_reads_it_back(acme: Tenant) -> None:
    row = kept(acme)
    assert keeper().list_new() == 0
    found = reading.read(row)
    assert [(said.role, said.text) for said in found.asked] == [("user", ASKED)]
    assert [(choice.text, choice.finish_reason) for choice in found.answers] == [(ANSWERED, "stop")]
    assert (row.prompt_tokens, row.completion_tokens, row.outcome) == (12, 9, "completed")


def test_a_pass_cut_short_between_file_and_row_loses_and_doubles_nothing(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(acme)
    from appliance.conversations import keeper as module

    def fail(*_: object) -> Conversation:
        raise OSError("cut short")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_row", fail)
        keeper().work(0.0)
    assert (Conversation.objects.count(), Segment.objects.get().offset) == (0, 0)
    assert keeper().list_new() == 1
    assert keeper().list_new() == 0


def test_a_half_written_record_is_passed_over_and_the_rest_is_read(acme: Tenant) -> None:
    row = kept(acme)
    path = segment_path(row)
    whole = row.offset + row.size
    later = write(acme)
    with path.open("ab") as file:
        file.write(b"CRC1\0\0\1\0\0\0\1\0half")
    Segment.objects.update(closed=False)
    assert keeper().list_new() == 1
    assert Conversation.objects.filter(pk=later).exists()
    assert Segment.objects.get(pk=row.segment_id).offset == whole
    reading.read(row)


def test_a_changed_record_does_not_open_and_one_moved_elsewhere_neither(acme: Tenant, rivals: Tenant) -> None:
    row = kept(acme)
    path = segment_path(row)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged):
        reading.read(row)
    content[-1] ^= 1
    acts.turn_on(rivals, 30, 1024)
    key = vault().ensure_key("rivals", row.segment.day)
    stolen = vault().day_dir("rivals", row.segment.day) / row.segment.name
    stolen.write_bytes(content)
    [found] = segments.read(stolen, key)
    assert found.about is None
    keeper().list_new()
    assert not Conversation.objects.filter(tenant=rivals).exists()


def test_its_time_over_a_day_is_erased_and_nobody_reads_it(acme: Tenant) -> None:
    now = timezone.now()
    old = now - timedelta(days=31)
    write(acme, day=old.astimezone(UTC).date(), at=old)
    recent = now - timedelta(days=29)
    stays = write(acme, day=recent.astimezone(UTC).date(), at=recent)
    keeper().list_new()
    keeper().tidy(now)
    assert vault().days("acme") == [recent.astimezone(UTC).date()]
    assert [row.pk for row in reading.readable(acme)] == [stays]
    keeper().tidy(now + timedelta(days=3))
    assert vault().days("acme") == []
    assert not Conversation.objects.exists()


def test_a_shorter_time_holds_for_reading_at_once(acme: Tenant) -> None:
    before = timezone.now() - timedelta(days=2)
    kept(acme, at=before)
    assert reading.readable(acme).count() == 1
    acts.turn_on(acme, 1, 1024)
    assert reading.readable(acme).count() == 0


def test_over_its_size_the_oldest_files_go_though_their_writer_lives(acme: Tenant) -> None:
    noise = [Texts(os.urandom(24 * 2**20), b"") for _ in range(3)]
    first, second, third = (write(acme, texts=texts) for texts in noise)
    keeper().list_new()
    acts.turn_on(acme, 30, 64)
    keeper().tidy(timezone.now())
    assert set(Conversation.objects.values_list("pk", flat=True)) == {second, third}
    assert first not in {second, third}


def test_the_file_that_a_living_worker_writes_to_stays(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    row = kept(acme, texts=Texts(os.urandom(65 * 2**20), b""))
    acts.turn_on(acme, 30, 64)
    keeper().tidy(timezone.now())
    assert segment_path(row).exists()
    monkeypatch.setattr(segments, "writer_lives", lambda name: False)
    keeper().tidy(timezone.now())
    assert not segment_path(row).exists()
    assert not Conversation.objects.exists()


def test_what_can_not_be_listed_keeps_nothing_from_its_end(acme: Tenant, rivals: Tenant) -> None:
    acts.turn_on(rivals, 30, 1024)
    row = kept(acme)
    old = timezone.now() - timedelta(days=40)
    write(rivals, day=old.astimezone(UTC).date(), at=old)
    (vault().tenant_dir("acme") / "2026-13-45").mkdir()
    keeper().work(0.0)
    assert vault().days("rivals") == []
    reading.read(row)


def test_an_erased_key_makes_what_it_opened_unreadable(acme: Tenant) -> None:
    row = kept(acme)
    (vault().day_dir("acme", row.segment.day) / "key").unlink()
    with pytest.raises(Erased):
        reading.read(row)
    assert reading.whole(row)["error"] == "conversation_erased"


def test_without_the_master_key_nothing_opens(acme: Tenant) -> None:
    row = kept(acme)
    path = vault()._master_path
    content = path.read_text()
    path.unlink()
    with pytest.raises(Erased):
        reading.read(row)
    assert path.read_text() != content, "another one was made"
    assert path.stat().st_mode & 0o077 == 0


def test_erasing_removes_files_rows_and_keys_and_says_who(acme: Tenant) -> None:
    kept(acme)
    assert acts.erase(acme, "the owner asked") == 1
    assert vault().tenants() == []
    assert not Conversation.objects.exists()
    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.details) == ("conversations.erase", {"conversations": 1, "reason": "the owner asked"})
    again = kept(acme)
    keeper().tidy(timezone.now())
    reading.read(again)


def test_what_comes_late_after_off_and_erase_is_erased_too(acme: Tenant) -> None:
    acts.turn_off(acme)
    acts.erase(acme)
    write(acme)
    assert keeper().list_new() == 0
    keeper().tidy(timezone.now())
    assert vault().days("acme") == []


def test_an_erasure_cut_short_is_finished_by_the_meter(acme: Tenant) -> None:
    kept(acme)
    acts.turn_off(acme)
    ConversationLog.objects.update(erased_at=timezone.now() + timedelta(seconds=1))
    keeper().tidy(timezone.now())
    assert vault().days("acme") == []
    assert not Conversation.objects.exists()


def test_what_an_earlier_tenant_of_the_name_left_is_nobodys(acme: Tenant) -> None:
    kept(acme)
    plan = acme.plan
    acme.delete()
    again = Tenant.objects.create(id="acme", name="Acme again", plan=plan)
    acts.turn_on(again, 30, 1024)
    assert keeper().list_new() == 0
    keeper().tidy(timezone.now())
    assert vault().days("acme") == []


def test_of_a_tenant_that_is_gone_everything_goes(acme: Tenant) -> None:
    kept(acme)
    acme.delete()
    keeper().tidy(timezone.now())
    assert vault().tenants() == []


def test_the_audit_log_has_who_agreed_and_the_gateway_hears_of_it(acme: Tenant, rivals: Tenant) -> None:
    def told() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT tenant_id FROM gateway_logged")
            return [row[0] for row in cursor.fetchall()]

    entry = AuditEntry.objects.latest("seq")
    assert (entry.action, entry.tenant_id) == ("conversations.on", "acme")
    assert entry.details == {"days": 30, "max_mib": 1024, "reason": "asked for"}
    assert told() == ["acme"]
    acts.turn_on(acme, 30, 1024)
    assert AuditEntry.objects.latest("seq").seq == entry.seq
    assert acts.turn_off(acme)
    assert not acts.turn_off(acme)
    assert told() == []
    with pytest.raises(NoLog):
        acts.erase(rivals)
    ensure_base()
    with pytest.raises(NotForSystem):
        acts.turn_on(Tenant.objects.get(pk="system"), 1, 64)


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "../acme", "A", "acme\n", "/etc"])
def test_a_name_that_is_no_tenants_id_leads_nowhere(acme: Tenant, tenant: str) -> None:
    with pytest.raises(ValueError, match="not a tenant's id"):
        vault().day_dir(tenant, datetime.now(UTC).date())
