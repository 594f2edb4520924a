"""Requests for engines while they arrive: key check at the head, body collected up to the cap, then admission and the
relay.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from inference.gateway import errors, metrics, sessions
from inference.gateway.admit import Admitted, admit
from inference.gateway.auth import authenticate
from inference.gateway.errors import ApiError
from inference.gateway.held import hold
from inference.gateway.lanes import Lane, lane_of
from inference.gateway.relay import Relay
from inference.gateway.request import Request
from inference.gateway.uploads import SMALL_BYTES

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.front import Front

log = logging.getLogger(__name__)


class Inbound:
    """One hot request, from its head to its relay's hands."""

    def __init__(self, gateway: Gateway, front: Front, request: Request) -> None:
        self._gateway = gateway
        self._front: Front | None = front
        self._request = request
        self._key = authenticate(request.header(b"authorization"), gateway.directory.find_key)
        self._body: bytes | bytearray = b""
        self._room = 0  # taken of the worker's for large bodies
        self._relay: Relay | None = None
        self._began = time.monotonic()
        self._arrived = self._began
        self._model = ""
        self._limit = gateway.settings.max_body_bytes
        self._take_room(request.content_length or 0)

    def body(self, chunk: bytes) -> None:
        """Collect, up to the cap."""
        if self._front is None:
            return
        num_bytes = len(self._body) + len(chunk)
        if num_bytes > self._limit:
            self._refuse(errors.too_large(self._limit))
            return
        if num_bytes > SMALL_BYTES and num_bytes > self._room:  # it did not say how large it would be
            try:
                self._take_room(min(2 * num_bytes, self._limit))
            except ApiError as error:
                self._refuse(error)
                return
        if not self._body:
            self._body = chunk
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += chunk

    def _take_room(self, num_bytes: int) -> None:
        if num_bytes > SMALL_BYTES:
            self._gateway.uploads.take(self._key, num_bytes - self._room)
            self._room = num_bytes

    def _leave_room(self) -> None:
        self._body = b""
        if self._room:
            self._gateway.uploads.give(self._key, self._room)
            self._room = 0

    def body_end(self) -> None:
        """Admit and relay."""
        self._arrived = sessions.now()
        if self._front is not None:
            self._gateway.step(self._go())

    async def _go(self) -> None:
        try:
            self._relay = await self._admit()
        except ApiError as error:
            self._refuse(error)
        except Exception:
            # Whatever went wrong, the client must get an answer: nobody else would give it one.
            log.exception("admitting a request failed")
            self._refuse(errors.internal())
        finally:
            self._leave_room()
        if self._relay is not None:
            await self._relay.start()

    async def _admit(self) -> Relay | None:
        """The relay of an admitted request; None where the client left meanwhile."""
        raw, self._body = bytes(self._body), b""
        if not self._gateway.journal.healthy or not self._gateway.open_requests.has_room():
            raise errors.overloaded("Usage can't be recorded at the moment. Try again shortly.")
        directory, counter = self._gateway.directory, self._gateway.counter
        admitted = await admit(raw, self._request.target.kind.value, self._key, directory, counter)
        if self._front is None:
            return None
        self._claim_session(admitted)
        limiter, open_requests = self._gateway.limiter, self._gateway.open_requests
        num_bytes = admitted.dropped.bytes_left or len(raw)
        held = await hold(limiter, open_requests, self._request.request_id, admitted, num_bytes)
        if self._front is None:
            held.release()
            return None
        try:
            relay = Relay(self._gateway, self._front, self._request.request_id, admitted, held)
        except BaseException:
            held.release()  # nobody else would, and its lease is renewed for as long as this worker lives
            raise
        if self._key.logged and (tap := self._gateway.conversations.tap(self._key.tenant_id, raw)) is not None:
            relay.listen(tap)
        return relay

    def _claim_session(self, admitted: Admitted) -> None:
        """Where an editor says whose request it is, a newer one ends this, and this the older ones.

        Raises: ApiError 400 superseded.
        """
        name = sessions.name_of(self._request.header(b"x-session-id"), admitted.session)
        if name is not None and lane_of(admitted) is Lane.FIM:
            self._model = admitted.model.base
            scope = (admitted.key.key_id, admitted.asked)
            self._gateway.sessions.claim(scope, name, self._arrived, self)

    @property
    def ended(self) -> bool:
        """Whether its client has had all of its answer, or left."""
        return self._front is None or (self._relay is not None and self._relay.ended)

    def supersede(self) -> None:
        """A newer request of the same session came."""
        metrics.SUPERSEDED.labels(self._model).inc()
        if self._relay is not None:
            self._relay.expire(errors.superseded(), "aborted")
        else:
            self._refuse(errors.superseded())

    def _refuse(self, error: ApiError) -> None:
        self._leave_room()
        front, self._front = self._front, None
        if front is not None:
            metrics.REFUSALS.labels(error.code or str(error.status)).inc()
            quota = error.code == "insufficient_quota" and self._request.target.deepseek
            front.refuse(errors.unpaid(error) if quota else error)

    def client_lost(self) -> None:
        """The client left."""
        self._front = None
        self._leave_room()
        if self._relay is not None:
            self._relay.client_lost()

    def pause_output(self) -> None:
        """Passed on."""
        if self._relay is not None:
            self._relay.pause_output()

    def resume_output(self) -> None:
        """Passed on."""
        if self._relay is not None:
            self._relay.resume_output()

    def expire(self, error: ApiError) -> None:
        """Passed on, or refused where no engine has it yet."""
        if self._relay is not None:
            self._relay.expire(error)
        else:
            self._refuse(error)

    def sweep(self, now: float) -> None:
        """A body that trickles in without end is refused."""
        if self._relay is not None:
            self._relay.sweep(now)
        elif not self._request.complete and now - self._began > self._gateway.settings.body_timeout_s:
            self._refuse(errors.timed_out())
