"""One-token completions that show whether an engine still works, billed to the system tenant.

A `Canary` is one such request in a thread of its own; every one of them is journaled, so that the ledger agrees with
the engine's counters. What a canary's fate says about the engine is `Pulse`'s to decide.
"""

import logging
import threading
import time
import uuid
from typing import Protocol

from inference.engines import EngineKind
from inference.metering.journal import UsageRecord
from inference.pool.engine_client import Answer, EngineClient
from inference.pool.errors import EngineUnreachable

log = logging.getLogger(__name__)

SYSTEM_TENANT = "system"
_ABORT_TIMEOUT_S = 1.0
# after an abort the engine's answer, with the true usage, is awaited this long
_AFTER_ABORT_S = 2.0


class Journal(Protocol):
    def append(self, record: UsageRecord) -> object: ...


class Canary:
    """One completion on its way. `failure` is None while it runs and after a success."""

    def __init__(self, kind: EngineKind, client: EngineClient, model: str, timeout_s: float) -> None:
        self.request_id = f"canary-{uuid.uuid4().hex}"
        self.sent_at = time.monotonic()
        self.failure: str | None = None
        self._kind = kind
        self._client = client
        self._model = model
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None
        self._aborted = False

    def send(self, journal: Journal, replica_id: str, life_id: str) -> None:
        """Start it; its record is in the journal before it counts as done."""
        arguments = (journal, replica_id, life_id)
        self._thread = threading.Thread(target=self._run, args=arguments, name=self.request_id, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)

    def abort(self) -> None:
        """Ask the engine to end it; the answer then tells the tokens that were spent."""
        if self._aborted:
            return
        self._aborted = True
        path, body = self._kind.abort_request(self.request_id)
        try:
            self._client.post(path, body, _ABORT_TIMEOUT_S)
        except EngineUnreachable as error:
            log.warning("canary %s can't be aborted: %s", self.request_id, error)

    def _run(self, journal: Journal, replica_id: str, life_id: str) -> None:
        started_at = time.time()
        path, body = self._kind.canary_request(self._model)
        answer: Answer | None = None
        try:
            answer = self._client.post(path, body, self._timeout_s + _AFTER_ABORT_S, self.request_id)
        except EngineUnreachable as error:
            self.failure = str(error)
        else:
            if answer.status != 200:
                self.failure = f"HTTP {answer.status}: {answer.body[:300].decode(errors='replace')}"
        record = self._record(answer, started_at, replica_id, life_id)
        if record.outcome == "aborted":
            self.failure = "aborted after its time was over"
        journal.append(record)

    def _record(self, answer: Answer | None, started_at: float, replica_id: str, life_id: str) -> UsageRecord:
        """What the journal gets. A prompt counts once its first token came, as in the engine's own counters."""
        body = answer.json() if answer is not None and answer.status == 200 else {}
        usage = body.get("usage") or {}
        completion = int(usage.get("completion_tokens") or 0)
        prompt = int(usage.get("prompt_tokens") or 0) if completion else 0
        details = usage.get("prompt_tokens_details") or {}
        reasons = {choice.get("finish_reason") for choice in body.get("choices") or [{}]}
        outcome = "failed" if not usage else "aborted" if "abort" in reasons else "completed"
        return UsageRecord(
            request_id=self.request_id,
            tenant_id=SYSTEM_TENANT,
            key_id=None,
            model=self._model,
            endpoint="canary",
            stream=False,
            life_id=life_id,
            replica_id=replica_id,
            started_at=started_at,
            finished_at=time.time(),
            prompt_tokens=prompt,
            cached_tokens=int(details.get("cached_tokens") or 0) if completion else 0,
            completion_tokens=completion,
            engine_prompt_tokens=prompt,
            outcome=outcome,
            http_status=answer.status if answer is not None else 503,
            ttft_ms=None,
            # an answer without usage (an HTTP error) spent nothing; no answer at all may have spent something
            exact=answer is not None,
        )
