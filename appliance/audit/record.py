"""Adds an entry to the audit log, in the transaction of the act itself: both are there or neither is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from django.db import connection, transaction
from django.utils import timezone

from appliance.audit import actor as actors
from appliance.audit import head
from appliance.audit.chain import GENESIS, Entry, digest
from appliance.audit.models import AuditEntry
from appliance.audit.stored import head_path

log = logging.getLogger("coderack.audit")

LOCK = 0x61756469  # "audi": the chain's advisory lock, no other one is taken in this database
Detail = str | int | bool | None | Sequence[str]


def record(
    action: str,
    subject: str,
    *,
    actor: str | None = None,
    tenant: str | None = None,
    details: Mapping[str, Detail] | None = None,
) -> AuditEntry:
    """Append an act, by default the current actor's. Never a secret: keys go by prefix and id.

    Call it last in the transaction: from here to its end everybody else's acts wait, and rows locked after this one's lock
    could wait in a circle.
    Raises: TransactionManagementError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            f"{action} must be recorded in the transaction that carries it out"
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    last = AuditEntry.objects.order_by("-seq").first()
    entry = Entry(
        seq=last.seq + 1 if last else 1, at=timezone.now(), actor=actor or actors.current(), tenant_id=tenant, action=action,
        subject=subject, details=dict(details or {}), previous_hash=last.hash if last else GENESIS,
    )  # fmt: skip
    row = AuditEntry(**vars(entry), hash=digest(entry))
    row.save(force_insert=True)
    transaction.on_commit(partial(_keep_head, row.seq, row.hash))
    return row


def _keep_head(seq: int, entry_hash: str) -> None:
    """The act is done and its entry committed: a disk that takes no line must not make it look failed."""
    try:
        head.append(head_path(), seq, entry_hash)
    except OSError as error:
        log.error("entry %d of the audit log has no line in %s: %s", seq, head_path(), error)
