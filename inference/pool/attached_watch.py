"""Watches attached servers: one thread each, which asks, counts, and says whether the gateway may send requests.

A server that hangs or answers garbage keeps its own thread busy and nobody else. A server is ready after a completed
canary, and unreachable after two failed looks in a row; nothing here starts or ends a server.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inference.attached import address
from inference.attached.errors import AttachedError
from inference.attached.secrets import Secrets
from inference.engines import EngineKind
from inference.engines.errors import EngineError
from inference.engines.spec import Counters
from inference.pool import metrics
from inference.pool.attached_client import AttachedClient
from inference.pool.attached_probe import find_model
from inference.pool.attached_store import AttachedRow, AttachedState, AttachedStore, Totals
from inference.pool.canary import Canary, Journal
from inference.pool.errors import EngineUnreachable
from inference.pool.pulse import Pulse
from inference.pool.settings import PoolSettings

log = logging.getLogger(__name__)

_S = AttachedState
CALL_S = 4.0
FAILURES = 2  # in a row, before the gateway is told to leave a server alone; its circuit breaker is quicker
RETRY_S = 0.5
DRAIN_LEAST_S = 1.0  # a gateway worker may still be told
DRAIN_MOST_S = 600.0
UNCOUNTED_PATIENCE = 4  # times the canary's time, where no counter tells a busy server from a hung one


class AttachedKeeper(threading.Thread):
    """One server's. What it asks of the store is tried again when the database was away."""

    def __init__(
        self, row: AttachedRow, client: AttachedClient, kind: EngineKind, store: AttachedStore, journal: Journal,
        settings: PoolSettings,
    ) -> None:  # fmt: skip
        super().__init__(name=f"attached-{row.id[:8]}", daemon=True)
        self.server_id = row.id
        self._row = row
        self._client = client
        self._kind = kind
        self._store = store
        self._journal = journal
        self._settings = settings
        self._leaving = threading.Event()
        self._draining_since: float | None = None
        self._failures = 0
        self._told = ""  # the reason on record
        self._canary: Canary | None = None
        self._next_canary = 0.0
        self._patience = 1
        self._pulse = Pulse(self._patience_s)

    @property
    def _patience_s(self) -> float:
        return self._settings.canary_timeout_s * self._patience

    def leave(self) -> None:
        """End soon; the server's row stays as it is."""
        self._leaving.set()

    def drain(self) -> None:
        """It is to be attached no longer. Said twice, the second time changes nothing."""
        if self._draining_since is None:
            self._draining_since = time.monotonic()

    def run(self) -> None:
        """Look until told to leave, or until the server is forgotten."""
        try:
            self._look_on()
        finally:
            self._store.done()

    def _look_on(self) -> None:
        pause_s = 0.0
        while not self._leaving.wait(pause_s):
            try:
                if self._draining_since is not None and self._drained():
                    return
                pause_s = self._look()
            except Exception:
                # The top of this server's loop: the database away, or a fault of ours. It is looked at again.
                log.exception("server %s: could not be looked after, and is tried again", self._row.url)
                metrics.FAULTS.labels("attached").inc()
                pause_s = self._settings.scrape_s

    def _drained(self) -> bool:
        life, since = self._row.life_id, self._draining_since or 0.0
        waited_s = time.monotonic() - since
        busy = waited_s < DRAIN_LEAST_S or (life is not None and self._store.has_open_requests(life))
        if busy and waited_s < DRAIN_MOST_S:
            return False
        if self._canary is not None:
            self._canary.join(self._settings.canary_timeout_s)
        self._read_counters()
        self._store.forget_attached(self.server_id)
        log.info("server %s is attached no longer", self._row.url)
        return True

    def _look(self) -> float:
        """Ask what is due; the seconds until the next look."""
        reason = self._ask()
        if reason is None:
            self._read_counters()
            if self._row.life_id is None:
                self._begin_life(None)
            reason = self._hear_canary()
        if self._draining_since is not None:
            return RETRY_S
        self._failures = 0 if reason is None else self._failures + 1
        if reason is not None and self._failures >= FAILURES:
            self._move(_S.UNREACHABLE, reason)
        settled = self._row.state is _S.READY and reason is None
        return self._settings.scrape_s if settled else min(RETRY_S, self._settings.scrape_s)

    def _ask(self) -> str | None:
        """None for a server that is up and has its model, else what is wrong."""
        try:
            health = self._client.get(self._kind.HEALTH_PATH, CALL_S)
            if health.status >= 500:
                return f"GET {self._kind.HEALTH_PATH} was answered with {health.status}"
            find_model(self._client, self._row.served_model)
        except (EngineUnreachable, AttachedError) as error:
            return str(error)
        return None

    def _hear_canary(self) -> str | None:
        """Send one when it is due; a success makes the server ready, a failure or a long silence is told."""
        now = time.monotonic()
        canary = self._canary
        if canary is None and now >= self._next_canary:
            self._canary = canary = Canary(self._kind, self._client, self._row.name, self._patience_s)
            self._pulse.canary_sent(canary.sent_at)
            canary.send(self._journal, self.server_id, str(self._row.life_id))
            canary.join(RETRY_S)  # mostly it is back at once
        if canary is None:
            return None
        if not canary.is_done:
            return "a request of one token hangs" if self._pulse.is_hung(time.monotonic()) else None
        self._canary = None
        if canary.failure is not None:
            self._next_canary = now + RETRY_S
            return f"a request of one token failed: {canary.failure[:200]!a}"
        self._next_canary = now + self._settings.attached_canary_period_s
        self._pulse.canary_succeeded()
        self._move(_S.READY, "")
        return None

    def _move(self, state: AttachedState, reason: str) -> None:
        before = self._row.state
        if (before is state and reason == self._told) or self._draining_since is not None:
            return
        self._told = reason
        if self._store.move_attached(self.server_id, before, state, reason):
            (log.info if state is _S.READY else log.warning)("server %s is %s %s", self._row.url, state, reason)
            self._row = replace(self._row, state=state)

    # --- its counters

    def _read_counters(self) -> None:
        """Keep what they have risen by; a server without them, or with others, is one whose counters are unknown."""
        try:
            answer = self._client.get(self._kind.METRICS_PATH, CALL_S)
            if answer.status != 200:
                raise EngineUnreachable(f"GET {self._kind.METRICS_PATH}: {answer.status}")
            now = self._kind.parse_counters(answer.body.decode(errors="replace"), time.time())
        except (EngineUnreachable, EngineError):
            self._be_patient(UNCOUNTED_PATIENCE)
            return
        self._be_patient(1)
        total = Totals(now.prompt_tokens, now.generation_tokens)
        base, saved = self._row.base, self._row.saved or Totals(0, 0)
        if (
            base is None
            or total.prompt < base.prompt + saved.prompt
            or total.generation < base.generation + saved.generation
        ):
            # Seen for the first time, or the server was started anew: from here on it is another life.
            self._begin_life(total if base is None else Totals(0, 0))
            base = self._row.base or total
        risen = Totals(total.prompt - base.prompt, total.generation - base.generation)
        self._pulse.counters_read(now, time.monotonic())
        if self._row.life_id is not None:
            self._store.save_counters(self._row.life_id, _since(now, risen))
        self._row = replace(self._row, saved=risen)

    def _be_patient(self, times: int) -> None:
        if self._patience != times:
            self._patience = times
            self._pulse = Pulse(self._patience_s)

    def _begin_life(self, base: Totals | None) -> None:
        life_id = str(uuid.uuid4())
        self._store.begin_attached_life(self.server_id, life_id, base)
        self._row = replace(self._row, life_id=life_id, base=base, saved=None)


def _since(now: Counters, risen: Totals) -> Counters:
    return replace(now, prompt_tokens=risen.prompt, generation_tokens=risen.generation)


class AttachedWatch(threading.Thread):
    """Keeps one keeper for each row."""

    def __init__(self, store: AttachedStore, journal: Journal, kind: EngineKind, settings: PoolSettings) -> None:
        super().__init__(name="attached", daemon=True)
        self._store = store
        self._journal = journal
        self._kind = kind
        self._settings = settings
        self._leaving = threading.Event()
        self._keepers: dict[str, AttachedKeeper] = {}

    def leave(self, timeout_s: float = 1.5) -> None:
        """End, and all keepers with it; servers and rows stay as they are."""
        self._leaving.set()
        self.join(timeout_s)
        deadline = time.monotonic() + timeout_s
        for keeper in self._keepers.values():
            keeper.leave()
        for keeper in self._keepers.values():
            keeper.join(max(0.0, deadline - time.monotonic()))

    def run(self) -> None:
        """Follow the rows until told to leave."""
        while not self._leaving.wait(self._settings.tick_s):
            try:
                self._match(self._store.attached())
            except Exception:
                # The top of the loop: with the database away the servers are looked after as they were.
                log.exception("attached servers can't be read, and are tried again")
                metrics.FAULTS.labels("attached").inc()
        self._store.done()

    def _match(self, rows: Sequence[AttachedRow]) -> None:
        known = {row.id for row in rows}
        for server_id, keeper in list(self._keepers.items()):
            if server_id not in known or not keeper.is_alive():
                keeper.leave()
                del self._keepers[server_id]
        for row in rows:
            if row.id not in self._keepers:
                self._begin(row)
            if row.id in self._keepers and row.state is _S.DRAINING:
                self._keepers[row.id].drain()
        metrics.NOW.attached = metrics.attached_picture(rows)

    def _begin(self, row: AttachedRow) -> None:
        try:
            client = client_of(self._settings.attached_dir, row.id, row.url, row.served_model)
        except (AttachedError, OSError) as error:
            reason = f"its key or CA file can't be read: {type(error).__name__}"
            if row.state is _S.DRAINING:
                self._store.forget_attached(row.id)
            elif row.state is not _S.UNREACHABLE:
                self._store.move_attached(row.id, row.state, _S.UNREACHABLE, reason)
            return
        keeper = AttachedKeeper(row, client, self._kind, self._store, self._journal, self._settings)
        self._keepers[row.id] = keeper
        keeper.start()


def client_of(secrets_dir: Path, server_id: str, url: str, model: str) -> AttachedClient:
    """The way to a server whose secrets are kept. Raises: BadAddress; OSError."""
    place, secrets = address.parse(url), Secrets(secrets_dir, server_id)
    return AttachedClient(place, secrets.key(), secrets.tls() if place.tls else None, model)
