"""One request at an engine: sends it and passes the answer on.

A state machine driven by callbacks: the engine's (on_*), the client's (client_lost, pause_output, resume_output) and
timers. Admission lies before it; how it ends, exactly once whatever happens, is `ending`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from inference.gateway import errors, metrics, usage
from inference.gateway.admit import Admitted
from inference.gateway.conversation import LOGGED, Tap
from inference.gateway.ending import Ending, new_events
from inference.gateway.engine_errors import reshape
from inference.gateway.errors import ApiError
from inference.gateway.held import Held
from inference.gateway.lanes import lane_of
from inference.gateway.passage import Passage
from inference.gateway.sending import Sending
from inference.gateway.sse import EventTooLong
from inference.gateway.usage import Usage
from inference.gateway.whole import WholeAnswer

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.engine import EngineConnection
    from inference.gateway.front import Front

log = logging.getLogger(__name__)

STREAM_HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
JSON_HEADERS = ((b"content-type", b"application/json"),)
COMMENT = b": keep-alive\n\n"
MAX_REFUSAL_BYTES = 1024 * 1024
CLIENT_CLOSED = 499  # nginx' status for a client that left; only in the journal


class Relay:
    """From an admitted request to its end."""

    def __init__(self, gateway: Gateway, front: Front, request_id: str, admitted: Admitted, held: Held) -> None:
        self._gateway = gateway
        self._front: Front | None = front
        self._bare_id = request_id.removeprefix("req-")
        self._admitted = admitted
        self._held = held
        self._ending = Ending(gateway, self._bare_id, admitted, held)
        self._answer = WholeAnswer()
        self._status = 0  # the engine's
        self._head_sent = False
        self._began = time.monotonic()
        self._last_byte = self._began
        self._passage: Passage | None = None
        self._num_seen = 0  # events, when the clock last looked: the short way tells nobody the time
        self._comment_timer: asyncio.TimerHandle | None = None
        self._lane = lane_of(admitted)
        self._sending = Sending(gateway, self._bare_id, self._ending, admitted, held, self._lane)

    def listen(self, tap: Tap) -> None:
        """Have the answer collected, too, and tell the client."""
        self._ending.tap = tap
        self._held.headers.append(LOGGED)

    # --- towards the engine

    async def start(self) -> None:
        """Send the request to a replica; a second one is tried where the first does not accept."""
        if self._admitted.stream:
            self._comment_timer = self._gateway.loop.call_later(self._gateway.settings.comment_after_s, self._comment)
        await self._try()

    async def _try(self) -> None:
        try:
            await self._sending.send(self)
        except ApiError as error:
            # No engine has it, so that nothing is settled.
            metrics.REFUSALS.labels(error.code or str(error.status)).inc()
            self._refuse(error)
        except Exception:
            # Whatever went wrong, the client must get an answer: nobody else would give it one.
            log.exception("sending a request to an engine failed")
            self._break_off(errors.internal())

    # --- from the engine

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The header is kept until the first event, so that a failure before it keeps its status."""
        self._status = status
        self._last_byte = time.monotonic()
        if self._ending.attempt is not None and self._ending.outcome == "completed":  # not by an abort of ours
            self._sending.turn.answered(self._ending.attempt.replica, status)

    def on_data(self, data: bytes) -> None:
        """Bytes of the answer: a stream's pass on, others are collected."""
        self._last_byte = time.monotonic()
        if self._status == 200 and self._admitted.stream:
            self._on_events(data)
            return
        limit = self._gateway.settings.max_answer_bytes if self._status == 200 else MAX_REFUSAL_BYTES
        if self._answer.add(data, limit):
            self._give_up_answer()

    def _give_up_answer(self) -> None:
        """Nobody gets an answer that is too long; what it was is billed all the same, its usage stands at its end."""
        if self._status != 200:
            self._break_off(errors.engine_failed())
            return
        self._answer.give_up()
        self._ending.answered = True
        if self._front is not None:  # else the engine is told already
            self.expire(errors.engine_failed())

    def _on_events(self, data: bytes) -> None:
        ending, events = self._ending, self._ending.events
        try:
            out = events.feed(data)
        except EventTooLong:
            ending.answered = True
            self._break_off(errors.engine_failed())
            return
        out = self._sending.renamed(out)
        if ending.tap is not None and self._front is not None:
            ending.tap.add(out)
        attempt = ending.attempt
        if attempt is not None and attempt.ttft_s is None:
            attempt.ttft_s, attempt.first_event_at = self._last_byte - self._began, time.time()
            self._held.slot.first(round(attempt.ttft_s * 1000))
            self._gateway.targets.first_event(self._lane, attempt.ttft_s)
        self._held.slot.count(events.num_events)
        if events.failed:
            ending.outcome = "failed"
        if events.failed or events.done:
            ending.settle(ending.counted())
        if (front := self._front) is None:
            return
        ended = events.done or events.failed
        if out:
            self._stop_comments()
            self._send_head(front)
            if not ended:
                front.write(out)
        if ended:
            self._stop_comments()
            ending.expect_end()
            self._let_go()
            front.finish(out)
        elif ending.connection is not None:
            untouched = events.plain and ending.tap is None and self._sending.names is None
            ending.connection.shorten(self._short_way(front, ending.connection) if untouched else None)

    def _short_way(self, front: Front, connection: EngineConnection) -> Passage | None:
        if self._passage is None and self._ending.events.num_events and (write := front.chunk_writer()) is not None:
            self._passage = Passage(connection, self._ending.events, self._held.slot, write)
        return self._passage

    def on_complete(self) -> None:
        """The answer is whole; one that ends without its last event is a failure."""
        self._ending.connection = None
        if self._status != 200:
            self._on_refusal()
        elif not self._admitted.stream:
            self._on_answer()
        elif not self._ending.over:
            self._fail(errors.engine_lost())

    def _on_refusal(self) -> None:
        ending = self._ending
        error = reshape(self._status, self._sending.without_key(self._answer.take()))
        ending.outcome = "failed" if ending.outcome == "completed" else ending.outcome
        ending.http_status = error.status if not self._head_sent else 200
        ending.settle(Usage(exact=error.status < 500))
        self._refuse(error)

    def _on_answer(self) -> None:
        if self._answer.given_up:
            self._bill_unseen(self._answer.reported())
            return
        reported, body = usage.split_answer(self._answer.take())
        if reported is None:
            self._fail(errors.engine_failed())
            return
        body = self._sending.renamed(body)
        if self._ending.tap is not None and self._front is not None:
            self._ending.tap.add(body)
        admitted = self._admitted
        started = admitted.num_sequences if self._ending.outcome == "completed" else usage.count_started(body)
        self._ending.settle(usage.read(reported, admitted.num_prompts, admitted.num_sequences, started))
        if (front := self._let_go()) is not None:
            front.respond(200, (*JSON_HEADERS, *self._held.headers), body)

    def _bill_unseen(self, reported: dict[str, Any] | None) -> None:
        admitted, ending = self._admitted, self._ending
        if reported is None:
            ending.settle(ending.counted())
        else:
            ending.settle(usage.read(reported, admitted.num_prompts, admitted.num_sequences, admitted.num_sequences))

    def on_lost(self) -> None:
        """The engine went away: once more elsewhere where nothing came yet, else the one error event."""
        self._ending.connection = None
        nothing_came = self._status == 0 or (self._admitted.stream and not self._ending.events.num_events)
        if self._status == 0 and self._ending.attempt is not None:
            self._sending.turn.failed(self._ending.attempt.replica)
        if self._front is not None and nothing_came and self._sending.may_retry:
            metrics.RETRIES.labels(self._admitted.model.base).inc()
            self._status = 0
            self._answer.take()  # a refusal that broke off
            self._ending.events = new_events(self._admitted)
            self._passage = None  # it counted the lost ones
            self._gateway.end(self._ending)
            self._held.slot.withdraw()
            self._ending.leave_place()
            self._gateway.spawn(self._try())
            return
        if nothing_came and not self._head_sent:
            self._fail(errors.overloaded("The replica of this model went away. Try again shortly."))
        else:
            self._fail(errors.engine_lost())

    # --- towards the client

    def _send_head(self, front: Front) -> None:
        if not self._head_sent:
            self._head_sent = True
            front.start(200, (*STREAM_HEADERS, *self._held.headers), None)

    def _comment(self) -> None:
        if self._front is None or self._ending.over:
            return
        self._send_head(self._front)
        self._front.write(COMMENT)
        self._comment_timer = self._gateway.loop.call_later(self._gateway.settings.comment_after_s, self._comment)

    def _stop_comments(self) -> None:
        if self._comment_timer is not None:
            self._comment_timer.cancel()
            self._comment_timer = None

    def _refuse(self, error: ApiError) -> None:
        """Tell the client, by status where that is still possible, else by the last event."""
        self._stop_comments()
        self._ending.release()
        if (front := self._let_go()) is not None:
            self._tell(front, error, head_sent=self._head_sent)

    def _tell(self, front: Front, error: ApiError, *, head_sent: bool) -> None:
        if head_sent:
            front.finish(error.event())
        else:
            front.refuse(error, self._held.headers)

    def _let_go(self) -> Front | None:
        """The client's side, which hears nothing from here on."""
        front, self._front = self._front, None
        if self._ending.connection is not None:
            self._ending.connection.shorten(None)
            self._ending.connection.resume()  # a slow client's end is no reason not to read the engine's
        return front

    # --- from the client

    def client_lost(self) -> None:
        """The client left: end the engine's work and read what it really was."""
        self._let_go()
        self._sending.give_up()
        self._stop_comments()
        self._ending.abort("aborted", CLIENT_CLOSED if not self._head_sent else 200)

    def pause_output(self) -> None:
        """The client reads slower than the engine writes."""
        if self._front is not None and self._ending.connection is not None:
            self._ending.connection.pause()

    def resume_output(self) -> None:
        """The client has caught up."""
        if self._ending.connection is not None:
            self._ending.connection.resume()

    @property
    def ended(self) -> bool:
        """Whether the client has had all of the answer, or left."""
        return self._front is None

    def expire(self, error: ApiError, outcome: str = "failed") -> None:
        """The gateway's own reasons to end this request: its stop, an engine that keeps silent, a newer request."""
        if self._ending.over:
            return
        front = self._let_go()
        self._sending.give_up()
        head_sent = self._head_sent
        self._stop_comments()
        self._ending.abort(outcome, 200 if head_sent else error.status)
        if front is not None:
            self._tell(front, error, head_sent=head_sent)

    def sweep(self, now: float) -> None:
        """Called every second: an engine that started a stream and says nothing for long has lost it."""
        if self._ending.events.num_events != self._num_seen:
            self._num_seen, self._last_byte = self._ending.events.num_events, now
        paused = self._front is not None and self._front.output_paused
        silent = now - self._last_byte > self._gateway.settings.engine_silence_s
        if self._ending.events.num_events and silent and not paused:
            self.expire(errors.engine_lost())

    def _break_off(self, error: ApiError) -> None:
        """Give up on an engine that misbehaves."""
        self._ending.hang_up()
        self._fail(error)

    def _fail(self, error: ApiError) -> None:
        self._ending.fail(200 if self._head_sent else error.status)
        self._refuse(error)
