"""Conversations of tenants that asked to have them kept: collected while they pass, encrypted and written by a thread.

Nobody waits for it: a request whose record finds no room in memory or on the disk goes on without, and is counted. Of
tenants that did not ask nothing comes here. What lies on the disk, and under which keys, is `inference.conversations`'.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from inference.conversations.segments import About, Segment, Texts
from inference.conversations.vault import Vault
from inference.gateway import metrics
from inference.gateway.directory import Directory
from inference.gateway.settle import Attempt
from inference.gateway.usage import Usage

log = logging.getLogger(__name__)

LOGGED = (b"x-coderack-logged", b"true")
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of one answer, as it was sent
MAX_HELD_BYTES = 64 * 1024 * 1024  # of all texts that this worker holds
CLOSE_S = 2.0
_count = functools.cache(metrics.CONVERSATIONS.labels)


@dataclass(frozen=True)
class Record:
    """What is to be written. `held` is what it takes of the worker's room."""

    tenant_id: str
    about: About
    texts: Texts
    held: int


class Tap:
    """One request's texts, until its end. It ends once: kept, or dropped where nobody had the request."""

    __slots__ = ("_answer", "_answer_bytes", "_cut", "_held", "_log", "_over", "_request", "_tenant_id")

    def __init__(self, conversations: Conversations, tenant_id: str, request: bytes) -> None:
        self._log = conversations
        self._tenant_id = tenant_id
        self._request = request
        self._answer: list[bytes] = []
        self._answer_bytes = 0
        self._held = len(request)
        self._cut = self._over = False

    def add(self, data: bytes) -> None:
        """A piece of the answer; from the first one that finds no room on, the answer is cut."""
        if self._cut or self._over:
            return
        if self._answer_bytes + len(data) > MAX_ANSWER_BYTES or not self._log.take(len(data)):
            self._cut = True
            return
        self._answer.append(data)
        self._answer_bytes += len(data)
        self._held += len(data)

    def drop(self) -> None:
        """Forget it."""
        if not self._over:
            self._over = True
            self._request, self._answer = b"", []
            self._log.give(self._held)

    def end(self, attempt: Attempt, used: Usage, outcome: str, http_status: int) -> None:
        """The request is over: have it written."""
        if self._over:
            return
        self._over = True
        admitted = attempt.admitted
        about = About(
            request_id=attempt.request_id,
            at=attempt.started_at,
            key_id=admitted.key.key_id,
            model=admitted.model.name,
            endpoint=admitted.endpoint,
            stream=admitted.stream,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            outcome=outcome,
            http_status=http_status,
            cut=self._cut,
        )
        texts = Texts(self._request, b"".join(self._answer))
        self._request, self._answer = b"", []
        self._log.keep(Record(self._tenant_id, about, texts, self._held))


class Conversations:
    """One worker's records on their way to the disk. Its thread starts with the first one."""

    def __init__(self, vault: Vault, directory: Directory, min_free_bytes: int) -> None:
        self._vault = vault
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._held = 0
        self._lock = threading.Lock()  # of what is held: the thread gives back
        self._waiting: deque[Record] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._open: dict[str, Segment] = {}

    def tap(self, tenant_id: str, request: bytes) -> Tap | None:
        """What collects a request's texts; None where there is no room for them."""
        if not self.take(len(request)):
            _count("no_memory").inc()
            return None
        return Tap(self, tenant_id, request)

    def take(self, num_bytes: int) -> bool:
        """Room for texts, where there is any."""
        with self._lock:
            if self._held + num_bytes > MAX_HELD_BYTES:
                return False
            self._held += num_bytes
            return True

    def give(self, num_bytes: int) -> None:
        """Texts are no longer held."""
        with self._lock:
            self._held -= num_bytes

    def keep(self, record: Record) -> None:
        """Have a record written; not where the log was turned off meanwhile."""
        if record.tenant_id not in self._directory.snapshot.logged:
            _count("turned_off").inc()
            self.give(record.held)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_forever, name="conversations", daemon=True)
            self._thread.start()
        self._waiting.append(record)
        self._wake.set()

    def close(self) -> None:
        """Write what waits; what the disk does not take in time is lost."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _write_forever(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                record = self._waiting.popleft()
                try:
                    _count(self._write(record)).inc()
                except Exception:
                    # Top of the thread: one record that can't be written must not end all others.
                    log.exception("a conversation could not be kept")
                    _count("failed").inc()
                finally:
                    self.give(record.held)
                    del record  # its texts are not to stay in memory until the next one comes
            if self._closing:
                for segment in self._open.values():
                    segment.close()
                return

    def _write(self, record: Record) -> str:
        """Write one; what became of it."""
        try:
            self._vault.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _free_bytes(self._vault.directory) < self._min_free_bytes:
                return "no_disk"
            today = datetime.fromtimestamp(time.time(), UTC).date()
            self._segment(record.tenant_id, today).append(record.about, record.texts)
        except OSError as error:
            log.warning("a conversation could not be kept: %s", error)
            return "no_disk"
        return "cut" if record.about.cut else "kept"

    def _segment(self, tenant_id: str, today: date) -> Segment:
        """The file to write to: another one after midnight, after a size, and after an erasure."""
        segment = self._open.get(tenant_id)
        if segment is not None:
            if segment.key.day == today and segment.usable and self._vault.is_current(segment.key):
                return segment
            del self._open[tenant_id]
            segment.close()
        key = self._vault.ensure_key(tenant_id, today)
        segment = self._open[tenant_id] = Segment(self._vault.day_dir(tenant_id, today), key)
        return segment


def _free_bytes(directory: Path) -> int:
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize
