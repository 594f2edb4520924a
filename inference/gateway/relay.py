"""One request at an engine: sends it, passes the answer on, ends exactly once whatever happens to client, engine or
gateway.

A state machine driven by callbacks: the engine's (on_*), the client's (client_lost, pause_output, resume_output) and
timers. Admission lies before it, the journal line behind it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from inference.gateway import bill, engine, errors, metrics, usage
from inference.gateway.admit import Admitted
from inference.gateway.engine import EngineConnection
from inference.gateway.engine_errors import reshape
from inference.gateway.errors import ApiError
from inference.gateway.held import Held
from inference.gateway.paths import ENGINE_PATHS, Kind
from inference.gateway.render import engine_body
from inference.gateway.settle import Attempt, settle
from inference.gateway.sse import EventStream, EventTooLong
from inference.gateway.usage import Usage

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.front import Front

log = logging.getLogger(__name__)

STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
JSON_HEADERS = ((b"content-type", b"application/json"),)
COMMENT = b": keep-alive\n\n"
MAX_REFUSAL_BYTES = 1024 * 1024
ABORT_AGAIN_S = 0.2  # an id is unknown to the engine until it has read the prompt, so that abort is repeated
CLIENT_CLOSED = 499  # nginx' status for a client that left; only in the journal
_KINDS = {"chat": Kind.CHAT, "completions": Kind.COMPLETIONS}


class Relay:
    """From an admitted request to its end."""

    def __init__(self, gateway: Gateway, front: Front, request_id: str, admitted: Admitted, held: Held) -> None:
        self._gateway = gateway
        self._front: Front | None = front
        self._request_id = request_id
        self._bare_id = request_id.removeprefix("req-")
        self._admitted = admitted
        self._held = held
        self._billed = False
        self._events = self._new_events()
        self._answer: list[bytes] = []
        self._answer_bytes = 0
        self._connection: EngineConnection | None = None
        self._attempt: Attempt | None = None
        self._reused = False
        self._tried: set[str] = set()
        self._num_attempts = 0
        self._status = 0  # the engine's
        self._head_sent = False
        self._outcome = "completed"
        self._http_status = 200
        self._ended = asyncio.Event()
        self._began = time.monotonic()
        self._last_byte = self._began
        self._comment_timer: asyncio.TimerHandle | None = None
        self._data = engine.post(
            ENGINE_PATHS[_KINDS[admitted.endpoint]],
            engine_body(admitted, gateway.settings.salt_secret),
            self._bare_id.encode(),
        )

    def _new_events(self) -> EventStream:
        return EventStream(wants_usage=self._admitted.wants_usage, num_sequences=self._admitted.num_sequences)

    # --- towards the engine

    async def start(self) -> None:
        """Send the request to a replica; a second one is tried where the first does not accept."""
        if self._admitted.stream:
            self._comment_timer = self._gateway.loop.call_later(self._gateway.settings.comment_after_s, self._comment)
        await self._try()

    async def _try(self) -> None:
        try:
            await self._try_replicas()
        except Exception:
            # Whatever went wrong, the client must get an answer: nobody else would give it one.
            log.exception("sending a request to an engine failed")
            self._break_off(errors.internal())

    async def _try_replicas(self) -> None:
        while self._num_attempts < 2:
            self._num_attempts += 1
            try:
                replica = self._gateway.router.choose(self._admitted.model.name, self._tried)
            except ApiError as error:
                self._turn_away(error)
                return
            self._tried.add(replica.life_id)
            fresh = self._num_attempts > 1 or len(self._tried) > 1
            try:
                connection = await self._gateway.pool.acquire(replica.socket, fresh=fresh)
            except OSError:
                self._num_attempts -= 1  # the engine saw nothing
                if self._has_tried_all():
                    break
                metrics.RETRIES.labels(self._admitted.model.base).inc()
                continue
            if self._front is None:  # the client left meanwhile; the engine has seen nothing
                connection.close()
                self._ended.set()
                self._held.release()
                return
            self._attempt = Attempt(self._request_id, self._admitted, replica)
            self._held.slot.open(self._attempt.open(self._held.prices))
            self._gateway.begin(self, replica, self._admitted.model.base)
            self._connection = connection
            connection.send(self._data, self)
            return
        self._turn_away(errors.overloaded("No replica of this model accepts requests. Try again shortly."))

    def _has_tried_all(self) -> bool:
        replicas = self._gateway.directory.replicas(self._admitted.model.name)
        return all(replica.life_id in self._tried for replica in replicas)

    # --- from the engine

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The header is kept until the first event, so that a failure before it keeps its status."""
        self._status = status
        self._last_byte = time.monotonic()

    def on_data(self, data: bytes) -> None:
        """Bytes of the answer: a stream's pass on, others are collected."""
        self._last_byte = time.monotonic()
        if self._status == 200 and self._admitted.stream:
            self._on_events(data)
            return
        self._answer.append(data)
        self._answer_bytes += len(data)
        limit = self._gateway.settings.max_answer_bytes if self._status == 200 else MAX_REFUSAL_BYTES
        if self._answer_bytes > limit:
            self._break_off(errors.engine_failed())

    def _on_events(self, data: bytes) -> None:
        try:
            out = self._events.feed(data)
        except EventTooLong:
            self._break_off(errors.engine_failed())
            return
        if self._attempt is not None and self._attempt.ttft_s is None:
            self._attempt.ttft_s, self._attempt.first_event_at = self._last_byte - self._began, time.time()
            self._held.slot.first(round(self._attempt.ttft_s * 1000))
        self._held.slot.count(self._events.num_events)
        if self._events.failed:
            self._outcome = "failed"
        if self._events.failed or self._events.done:
            self._settle(self._counted())
        front = self._front
        if front is None:
            return
        if out:
            self._send_head(front)
            front.write(out)
        if self._events.done or self._events.failed:
            self._finish()

    def on_complete(self) -> None:
        """The answer is whole; one that ends without its last event is a failure."""
        self._connection = None
        if self._status != 200:
            self._on_refusal()
        elif not self._admitted.stream:
            self._on_answer()
        elif not self._ended.is_set():
            self._fail(errors.engine_lost())

    def _on_refusal(self) -> None:
        error = reshape(self._status, b"".join(self._answer))
        self._outcome = "failed" if self._outcome == "completed" else self._outcome
        self._http_status = error.status if not self._head_sent else 200
        self._settle(Usage(exact=error.status < 500))
        self._refuse(error)

    def _on_answer(self) -> None:
        reported, body = usage.split_answer(b"".join(self._answer))
        if reported is None:
            self._fail(errors.engine_failed())
            return
        admitted = self._admitted
        started = admitted.num_sequences if self._outcome == "completed" else usage.count_started(body)
        self._settle(usage.read(reported, admitted.num_prompts, admitted.num_sequences, started))
        if self._front is not None:
            front, self._front = self._front, None
            front.respond(200, (*JSON_HEADERS, *self._held.headers), body)

    def on_lost(self) -> None:
        """The engine went away: once more elsewhere where nothing came yet, else the one error event."""
        self._connection = None
        nothing_came = self._status == 0 or (self._admitted.stream and not self._events.num_events)
        if self._front is not None and nothing_came and self._num_attempts < 2:
            metrics.RETRIES.labels(self._admitted.model.base).inc()
            self._status = 0
            self._events = self._new_events()
            self._gateway.end(self)
            self._held.slot.withdraw()
            self._gateway.spawn(self._try())
            return
        if nothing_came and not self._head_sent:
            self._fail(errors.overloaded("The replica of this model went away. Try again shortly."))
        else:
            self._fail(errors.engine_lost())

    # --- towards the client

    def _send_head(self, front: Front) -> None:
        self._stop_comments()
        if not self._head_sent:
            self._head_sent = True
            front.start(200, (*STREAM_HEADERS, *self._held.headers), None)

    def _comment(self) -> None:
        if self._front is None or self._ended.is_set():
            return
        if not self._head_sent:
            self._head_sent = True
            self._front.start(200, (*STREAM_HEADERS, *self._held.headers), None)
        self._front.write(COMMENT)
        self._comment_timer = self._gateway.loop.call_later(self._gateway.settings.comment_after_s, self._comment)

    def _stop_comments(self) -> None:
        if self._comment_timer is not None:
            self._comment_timer.cancel()
            self._comment_timer = None

    def _turn_away(self, error: ApiError) -> None:
        """No engine has it, so that nothing is settled: it is counted as a refusal."""
        metrics.REFUSALS.labels(error.code or str(error.status)).inc()
        self._refuse(error)

    def _refuse(self, error: ApiError) -> None:
        """Tell the client, by status where that is still possible, else by the last event."""
        self._stop_comments()
        self._ended.set()
        if not self._billed:
            self._held.release()
        front, self._front = self._front, None
        if front is None:
            return
        if self._head_sent:
            front.write(error.event())
            front.finish()
        else:
            front.refuse(error, self._held.headers)

    def _finish(self) -> None:
        self._stop_comments()
        front, self._front = self._front, None
        if front is not None:
            front.finish()

    # --- from the client

    def client_lost(self) -> None:
        """The client left: end the engine's work and read what it really was."""
        self._front = None
        self._stop_comments()
        self._abort("aborted", CLIENT_CLOSED if not self._head_sent else 200)

    def pause_output(self) -> None:
        """The client reads slower than the engine writes."""
        if self._connection is not None:
            self._connection.pause()

    def resume_output(self) -> None:
        """The client has caught up."""
        if self._connection is not None:
            self._connection.resume()

    def expire(self, error: ApiError) -> None:
        """The gateway's own reasons to end this request: its stop, or an engine that keeps silent."""
        if self._ended.is_set():
            return
        front, self._front = self._front, None
        head_sent = self._head_sent
        self._stop_comments()
        self._abort("failed", 200 if head_sent else error.status)
        if front is not None and head_sent:
            front.write(error.event())
            front.finish()
        elif front is not None:
            front.refuse(error, self._held.headers)

    def sweep(self, now: float) -> None:
        """Called every second: an engine that started a stream and says nothing for long has lost it."""
        paused = self._front is not None and self._front.output_paused
        if self._events.num_events and not paused and now - self._last_byte > self._gateway.settings.engine_silence_s:
            self.expire(errors.engine_lost())

    # --- the end

    def _abort(self, outcome: str, http_status: int) -> None:
        if self._ended.is_set():
            return
        self._outcome, self._http_status = outcome, http_status
        if self._connection is not None and self._attempt is not None:
            self._connection.resume()
            self._gateway.spawn(self._abort_until_ended(self._attempt.replica.socket))
        elif self._attempt is not None:
            self._settle(self._counted())

    async def _abort_until_ended(self, socket: str) -> None:
        deadline = time.monotonic() + self._gateway.settings.abort_wait_s
        while not self._ended.is_set() and time.monotonic() < deadline:
            try:
                async with asyncio.timeout_at(self._gateway.loop.time() + deadline - time.monotonic()):
                    await engine.abort(self._gateway.pool, socket, self._engine_ids())
                    await asyncio.wait_for(self._ended.wait(), ABORT_AGAIN_S)
            except TimeoutError:
                continue
            except OSError:
                break
        if self._connection is not None and not self._ended.is_set():
            self._connection.close()
            self._connection = None
        self._settle(self._counted())

    def _engine_ids(self) -> list[str]:
        if self._admitted.endpoint == "chat":
            return [f"chatcmpl-{self._bare_id}"]
        return [f"cmpl-{self._bare_id}-{index}" for index in range(self._admitted.num_prompts)]

    def _break_off(self, error: ApiError) -> None:
        """Give up on an engine that misbehaves."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._fail(error)

    def _fail(self, error: ApiError) -> None:
        if self._outcome == "completed":
            self._outcome = "failed"
            self._http_status = 200 if self._head_sent else error.status
        self._settle(self._counted())
        self._refuse(error)

    def _counted(self) -> Usage:
        return bill.of_stream(self._admitted, self._events, cut=self._outcome != "completed")

    def _settle(self, used: Usage) -> None:
        if self._ended.is_set() or self._attempt is None:
            return
        self._ended.set()
        self._billed = True
        self._gateway.end(self)
        if used.exact or not used.completion_tokens:
            self._bill(self._attempt, used)
        else:
            self._gateway.spawn(self._settle_counted(self._attempt, used))

    async def _settle_counted(self, attempt: Attempt, used: Usage) -> None:
        self._bill(attempt, await bill.with_prompt(self._admitted, used, self._gateway.counter))

    def _bill(self, attempt: Attempt, used: Usage) -> None:
        booked = settle(self._gateway.journal, attempt, used, self._outcome, self._http_status)
        self._held.settle(used, booked=booked)
