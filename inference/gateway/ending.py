"""How one request at an engine ends, exactly once whatever happens to client, engine or gateway: the engine's work is
aborted until it has ended, its usage read or counted, the bill written, the reservation settled.

What the client is told meanwhile is `relay`'s.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from inference.gateway import bill
from inference.gateway.abort import abort
from inference.gateway.admit import Admitted
from inference.gateway.attached import believable
from inference.gateway.conversation import Tap
from inference.gateway.engine import EngineConnection, Target
from inference.gateway.held import Held
from inference.gateway.place import Place
from inference.gateway.settle import Attempt, settle
from inference.gateway.sse import EventStream
from inference.gateway.usage import Usage

if TYPE_CHECKING:
    from inference.gateway.app import Gateway

ABORT_AGAIN_S = 0.2  # an id is unknown to the engine until it has read the prompt, so that abort is repeated


def new_events(admitted: Admitted) -> EventStream:
    """What reads a request's stream from its beginning."""
    return EventStream(wants_usage=admitted.wants_usage, num_sequences=admitted.num_sequences)


class Ending:
    """What is known of a request at an engine, until its end; `bare_id` is its id as the engine has it."""

    def __init__(self, gateway: Gateway, bare_id: str, admitted: Admitted, held: Held) -> None:
        self._gateway = gateway
        self._bare_id = bare_id
        self._admitted = admitted
        self._held = held
        self._ended = asyncio.Event()
        self._billed = False
        self.events = new_events(admitted)
        self.connection: EngineConnection | None = None
        self.attempt: Attempt | None = None
        self.place: Place | None = None
        self.tap: Tap | None = None
        self.outcome = "completed"
        self.http_status = 200
        self.answered = False  # a whole answer came whose usage nobody can read

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def leave_place(self, used: Usage | None = None) -> None:
        """The replica has nothing more to do for it."""
        if self.place is not None:
            self.place.leave(used)
            self.place = None

    def release(self) -> None:
        """It ends here; what was reserved goes back, unless it was billed."""
        self._ended.set()
        self.leave_place()
        if not self._billed:
            self._held.release()
            if self.tap is not None:
                self.tap.drop()

    def hang_up(self) -> None:
        """Give the engine's connection up."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def expect_end(self) -> None:
        """The answer's last event came. A server that is not the pool's may keep its connection open all the same."""
        if self.connection is not None and self.attempt is not None and self.attempt.replica.attached is not None:
            self._gateway.loop.call_later(self._gateway.settings.abort_wait_s, self.hang_up)

    def fail(self, http_status: int) -> None:
        """Settle what came until a failure; what fails behind the answer's end changes nothing."""
        if self.over:
            return
        if self.outcome == "completed":
            self.outcome, self.http_status = "failed", http_status
        self.settle(self.counted())

    def abort(self, outcome: str, http_status: int) -> None:
        """End the engine's work and settle what it was."""
        if self.over:
            return
        self.outcome, self.http_status = outcome, http_status
        if self.attempt is not None and not self.attempt.replica.aborts:
            self.hang_up()  # the only abort that such a server knows
        if self.connection is not None and self.attempt is not None:
            self.connection.resume()
            self._gateway.spawn(self._abort_until_ended(self.attempt.replica.target))
        elif self.attempt is not None:
            self.settle(self.counted())

    async def _abort_until_ended(self, target: Target) -> None:
        deadline = time.monotonic() + self._gateway.settings.abort_wait_s
        while not self.over and time.monotonic() < deadline:
            try:
                async with asyncio.timeout_at(self._gateway.loop.time() + deadline - time.monotonic()):
                    await abort(self._gateway.pool, target, self._engine_ids())
                    await asyncio.wait_for(self._ended.wait(), ABORT_AGAIN_S)
            except TimeoutError:
                continue
            except OSError:
                break
        if not self.over:
            self.hang_up()
        self.settle(self.counted())

    def _engine_ids(self) -> list[str]:
        if self._admitted.endpoint == "chat":
            return [f"chatcmpl-{self._bare_id}"]
        return [f"cmpl-{self._bare_id}-{index}" for index in range(self._admitted.num_prompts)]

    def counted(self) -> Usage:
        """The engine's figures, or a lower bound of what was seen."""
        used = bill.of_stream(self._admitted, self.events, cut=self.outcome != "completed")
        # Whatever it was, the prompt was read and a token made.
        return Usage(completion_tokens=1) if self.answered and not (used.exact or used.completion_tokens) else used

    def settle(self, used: Usage) -> None:
        """Bill it, the first time this is said."""
        if self.over or self.attempt is None:
            return
        self._ended.set()
        self._billed = True
        if self.attempt.replica.attached is not None:
            used = believable(used, self._admitted)
        self._gateway.end(self)
        self.leave_place(used)
        if used.exact or not used.completion_tokens:
            self._bill(self.attempt, used)
        else:
            self._gateway.spawn(self._settle_counted(self.attempt, used))

    async def _settle_counted(self, attempt: Attempt, used: Usage) -> None:
        try:
            used = await bill.with_prompt(self._admitted, used, self._gateway.counter)
        finally:
            # A prompt that can't be counted costs its tokens, never the bill and the reservation's end.
            self._bill(attempt, used)

    def _bill(self, attempt: Attempt, used: Usage) -> None:
        booked = settle(self._gateway.journal, attempt, used, self.outcome, self.http_status)
        self._held.settle(used, booked=booked)
        if self.tap is not None:
            self.tap.end(attempt, used, self.outcome, self.http_status)
