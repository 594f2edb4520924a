"""The pool's view of attached servers: inference.pool.attached_store's protocol over Django's models."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from appliance.fleet.models import AttachedServer, EngineLife
from appliance.fleet.store import DatabaseStore, fresh_connection, stamp
from inference.attached.secrets import ATTACHED, Secrets
from inference.engines.spec import Counters
from inference.gateway.open_table import State, beside, read_table, tables
from inference.pool.attached_store import AttachedRow, AttachedState, Totals
from inference.pool.reading import ANEW_S


class AttachedRows:
    """Given to the pool beside `DatabaseStore`."""

    def __init__(self, store: DatabaseStore) -> None:
        self._store = store
        env = settings.ENV
        self._secrets: Path = env.data_dir / ATTACHED
        self._open: Path = beside(env.journal_dir)
        self._rows: list[AttachedRow] = []
        self._stamp: object = None
        self._until = 0.0

    @fresh_connection
    def attached(self) -> list[AttachedRow]:
        """Every attached server with its present life; asked by one thread, which reads them again when one changed."""
        now, stamp_now = time.monotonic(), stamp()
        if stamp_now != self._stamp or now >= self._until:
            self._rows = [_row(row) for row in AttachedServer.objects.select_related("life")]
            self._stamp, self._until = stamp_now, now + ANEW_S
        return self._rows

    @fresh_connection
    def move_attached(self, server_id: str, from_state: AttachedState, to_state: AttachedState, reason: str) -> bool:
        """Change a state if it still is what the caller saw; False when somebody was first."""
        changed = AttachedServer.objects.filter(id=server_id, state=from_state.value).update(
            state=to_state.value, reason=reason, state_since=timezone.now()
        )
        return changed == 1

    @fresh_connection
    def begin_attached_life(self, server_id: str, life_id: str, base: Totals | None) -> None:
        """Another life for a server; nothing where it is attached no longer."""
        with transaction.atomic():
            row = AttachedServer.objects.select_for_update(of=("self",)).filter(id=server_id).first()
            if row is None:
                return
            if row.life_id is not None:
                _end(row.life_id, "its counters began anew")
            row.life = EngineLife.objects.create(
                id=life_id, model_name=row.name, pid=0, pid_started=0, socket="", log="", started_at=timezone.now(),
                attached_url=row.url, counts_aborted=row.aborts,
            )  # fmt: skip
            row.base_prompt_tokens = None if base is None else base.prompt
            row.base_generation_tokens = None if base is None else base.generation
            row.save(update_fields=("life", "base_prompt_tokens", "base_generation_tokens"))

    def save_counters(self, life_id: str, counters: Counters) -> None:
        """What its counters have risen by since the life began."""
        self._store.save_counters(life_id, counters)

    def has_open_requests(self, life_id: str) -> bool:
        """Whether a gateway worker has a request there, as the workers' tables show it."""
        for path in tables(self._open):
            with contextlib.suppress(FileNotFoundError):
                slots = read_table(path).slots
                if any(slot.state is State.OPEN and slot.request and slot.request.life_id == life_id for slot in slots):
                    return True
        return False

    @fresh_connection
    def forget_attached(self, server_id: str) -> None:
        """The row and the key go; the life stays for reconciliation."""
        with transaction.atomic():
            row = AttachedServer.objects.filter(id=server_id).first()
            if row is None:
                return
            life_id = row.life_id
            row.delete()
            if life_id is not None:
                _end(life_id, "detached")
        Secrets(self._secrets, server_id).remove()

    def done(self) -> None:
        """Close the thread's own connection."""
        connection.close()


def _end(life_id: UUID, reason: str) -> None:
    """Within a transaction: nothing that looks for a fresh connection may be called there."""
    EngineLife.objects.filter(id=life_id).update(
        ended_at=timezone.now(), end_reason=reason, requests_running=0, requests_waiting=0
    )


def _row(row: AttachedServer) -> AttachedRow:
    counted = row.base_prompt_tokens is not None and row.base_generation_tokens is not None
    life = row.life
    return AttachedRow(
        id=str(row.pk),
        name=row.name,
        url=row.url,
        served_model=row.served_model,
        state=AttachedState(row.state),
        life_id=None if life is None else str(life.pk),
        base=Totals(row.base_prompt_tokens or 0, row.base_generation_tokens or 0) if counted else None,
        saved=Totals(life.prompt_tokens, life.generation_tokens) if counted and life is not None else None,
    )
