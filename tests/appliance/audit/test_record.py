"""The log in a real database: one unbroken chain whatever happens at once, entries only with their act, never changed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from appliance.audit.actor import acting
from appliance.audit.chain import GENESIS
from appliance.audit.models import AuditEntry
from appliance.audit.record import record
from appliance.audit.stored import faults, head_path
from appliance.audit.verify import Kind
from tests.appliance.training.racing import at_once

pytestmark = pytest.mark.usefixtures("db")
Forge = Callable[[str], None]


def act(number: int = 0, actor: str | None = None) -> AuditEntry:
    with transaction.atomic():
        return record(
            "key.create", f"key-{number}", actor=actor, tenant="acme", details={"n": number, "name": "für CI"}
        )


def several(count: int = 5) -> None:
    for number in range(count):
        act(number)


def kinds() -> list[tuple[Kind, int | None]]:
    return [(fault.kind, fault.seq) for fault in faults()]


def test_the_chain_grows_and_its_heads_with_it() -> None:
    first, second = act(1), act(2)
    assert (first.seq, first.previous_hash) == (1, GENESIS)
    assert (second.seq, second.previous_hash) == (2, first.hash)
    lines = [json.loads(line) for line in head_path().read_text().splitlines()]
    assert lines == [{"seq": row.seq, "hash": row.hash} for row in (first, second)]
    assert kinds() == []


def test_an_entry_comes_back_from_the_database_as_it_was_hashed() -> None:
    with transaction.atomic():
        record("a.b", "c", details={"z": None, "ä": ["x", "\u2028", '"'], "b": True, "n": -(10**17)})
        record("a.b", "", tenant=None)
    assert kinds() == []


def test_the_actor_is_the_present_one_unless_another_is_named() -> None:
    with acting("kim"):
        assert act().actor == "kim"
        assert act(actor="lee").actor == "lee"
    assert act().actor == "system"


def test_writers_at_once_make_one_unbroken_chain() -> None:
    def write(writer: int) -> None:
        for number in range(5):
            act(writer * 100 + number)

    outcomes = at_once(*(lambda n=n: write(n) for n in range(6)))  # type: ignore[misc]
    assert outcomes == [None] * 6
    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 31))
    assert kinds() == []
    assert len(head_path().read_text().splitlines()) == 30


def test_an_act_that_is_rolled_back_leaves_nothing_and_no_gap() -> None:
    act(1)
    with transaction.atomic():
        act(2)
        transaction.set_rollback(True)
    act(3)
    assert list(AuditEntry.objects.order_by("seq").values_list("seq", "subject")) == [(1, "key-1"), (2, "key-3")]
    assert kinds() == []


def test_outside_the_acts_transaction_nothing_is_recorded() -> None:
    with pytest.raises(transaction.TransactionManagementError, match=r"key\.create"):
        record("key.create", "x")
    assert not AuditEntry.objects.exists()


def test_a_disk_that_takes_no_line_does_not_undo_the_act(caplog: pytest.LogCaptureFixture) -> None:
    act(1)
    head_path().unlink()
    head_path().mkdir()
    assert act(2).seq == 2
    assert "entry 2" in caplog.text
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditentry SET actor = 'lee'",
        "UPDATE audit_auditentry SET actor = 'lee' WHERE seq = 99",
        "DELETE FROM audit_auditentry WHERE seq = 2",
        "TRUNCATE audit_auditentry",
    ],
)
def test_the_table_itself_refuses_to_forget(statement: str) -> None:
    several(2)
    with pytest.raises(DatabaseError, match="never changed or removed"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.count() == 2
    assert kinds() == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_auditentry SET actor = 'lee' WHERE seq = 3", [(Kind.EDITED, 3)]),
        ("UPDATE audit_auditentry SET details = '{}' WHERE seq = 5", [(Kind.EDITED, 5)]),
        ("UPDATE audit_auditentry SET at = at + interval '1 microsecond' WHERE seq = 1", [(Kind.EDITED, 1)]),
        ("UPDATE audit_auditentry SET tenant_id = NULL WHERE seq = 2", [(Kind.EDITED, 2)]),
        ("DELETE FROM audit_auditentry WHERE seq = 3", [(Kind.MISSING, 3)]),
        ("DELETE FROM audit_auditentry WHERE seq = 1", [(Kind.MISSING, 1)]),
        ("DELETE FROM audit_auditentry WHERE seq > 3", [(Kind.AHEAD, 4), (Kind.AHEAD, 5)]),
        ("TRUNCATE audit_auditentry", [(Kind.AHEAD, n) for n in range(1, 6)]),
        (
            "UPDATE audit_auditentry SET previous_hash = repeat('f', 64) WHERE seq = 4",
            [(Kind.BROKEN, 4), (Kind.EDITED, 4)],
        ),
        (
            "UPDATE audit_auditentry SET hash = repeat('f', 64) WHERE seq = 5",
            [(Kind.EDITED, 5), (Kind.REWRITTEN, 5)],
        ),
        (
            "UPDATE audit_auditentry a SET subject = b.subject, details = b.details, hash = b.hash FROM audit_auditentry b"
            " WHERE (a.seq, b.seq) IN ((2, 3), (3, 2))",
            [(Kind.EDITED, 2), (Kind.BROKEN, 3), (Kind.EDITED, 3), (Kind.BROKEN, 4), (Kind.REWRITTEN, 2), (Kind.REWRITTEN, 3)],
        ),
    ],
)  # fmt: skip
def test_whoever_gets_round_the_trigger_is_found(forge: Forge, statement: str, found: list[tuple[Kind, int]]) -> None:
    several(5)
    forge(statement)
    assert kinds() == found


def test_a_log_written_anew_with_the_acts_own_code_is_found(forge: Forge) -> None:
    several(3)
    heads = head_path().read_bytes()
    forge("TRUNCATE audit_auditentry")
    several(3)
    head_path().write_bytes(heads)  # the forger has the database and not the file
    assert kinds() == [(Kind.REWRITTEN, n) for n in (1, 2, 3)]


def test_heads_that_a_crash_left_out_are_no_fault_and_none_at_all_is_one() -> None:
    several(3)
    lines = head_path().read_text().splitlines(keepends=True)
    head_path().write_text(lines[0])
    assert kinds() == []
    head_path().unlink()
    assert kinds() == [(Kind.NO_HEAD, None)]


def test_the_protection_can_be_taken_back_and_put_on_again() -> None:
    several(2)
    call_command("migrate", "audit", "0001", verbosity=0)
    try:
        AuditEntry.objects.filter(seq=2).delete()
    finally:
        call_command("migrate", "audit", verbosity=0)
    with pytest.raises(DatabaseError, match="never changed or removed"):
        AuditEntry.objects.filter(seq=1).delete()
