"""A request's way to an engine: waits for its place at a replica, writes it there, and tries another one where the first does
not accept.

What the engine answers, and what the client is told, are `relay`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.gateway import engine, errors, metrics
from inference.gateway.admit import Admitted
from inference.gateway.attached import Names, body_for, names_of
from inference.gateway.directory import Replica
from inference.gateway.ending import Ending
from inference.gateway.engine import EngineConnection, Receiver
from inference.gateway.held import Held
from inference.gateway.lanes import Lane
from inference.gateway.paths import ENGINE_PATHS, Kind
from inference.gateway.place import errand_of
from inference.gateway.render import engine_body
from inference.gateway.settle import Attempt
from inference.gateway.turn import Turn

if TYPE_CHECKING:
    from inference.gateway.app import Gateway

MAX_ATTEMPTS = 2
_PATHS = {"chat": ENGINE_PATHS[Kind.CHAT], "completions": ENGINE_PATHS[Kind.COMPLETIONS]}


class Sending:
    """Of one request, `bare_id` being its id as the engine has it. `names`: of a server that calls the model otherwise."""

    def __init__(
        self, gateway: Gateway, bare_id: str, ending: Ending, admitted: Admitted, held: Held, lane: Lane
    ) -> None:
        self._gateway = gateway
        self._bare_id = bare_id
        self._ending = ending
        self._admitted = admitted
        self._held = held
        self._num_attempts = 0
        self._given_up = False
        self.names: Names | None = None
        body = engine_body(admitted, gateway.settings.salt_secret, lane.priority)
        self.turn = Turn(gateway.dispatcher, errand_of(admitted, lane, len(body)))
        self._data = engine.post(_PATHS[admitted.endpoint], body, bare_id.encode())

    @property
    def may_retry(self) -> bool:
        """Whether another engine may get it where nothing came from this one."""
        return self._num_attempts < MAX_ATTEMPTS

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._given_up = True
        self.turn.give_up()

    def renamed(self, data: bytes) -> bytes:
        """What an engine wrote, with the model's name as the client knows it."""
        return data if self.names is None else self.names(data)

    def without_key(self, data: bytes) -> bytes:
        """What a server wrote, without the key that it was told; some repeat it."""
        server = self._ending.attempt.replica.attached if self._ending.attempt is not None else None
        return data if server is None else self._gateway.pool.outside.without_key(server, data)

    async def send(self, receiver: Receiver) -> None:
        """Write it to a replica, whose answer goes to the receiver; to none where nobody waits any more.

        Raises: ApiError where no engine takes it.
        """
        while self.may_retry:
            self._num_attempts += 1
            place = await self.turn.place()
            if place is None:  # the client left meanwhile
                self._ending.release()
                return
            self._ending.place, replica = place, place.replica
            fresh = self._num_attempts > 1 or len(self.turn.tried) > 1
            try:
                data = self._data_for(replica)
                connection = await self._gateway.pool.acquire(replica.target, fresh=fresh)
            except OSError:
                self._num_attempts -= 1  # the engine saw nothing
                self._ending.leave_place()
                self.turn.failed(replica)
                if self._has_tried_all():
                    break
                metrics.RETRIES.labels(self._admitted.model.base).inc()
                continue
            if self._given_up:  # meanwhile; the engine has seen nothing
                connection.close()
                self._ending.release()
                return
            self._open(replica, connection)
            connection.send(data, receiver)
            return
        raise errors.overloaded("No replica of this model accepts requests. Try again shortly.")

    def _open(self, replica: Replica, connection: EngineConnection) -> None:
        """From here on it is at an engine, and ends in a bill."""
        attempt = Attempt(self._held.slot.request_id, self._admitted, replica)
        try:
            self._held.slot.open(attempt.open(self._held.prices))
        except BaseException:
            connection.close()  # nothing was written to it, and nobody else knows of it
            raise
        self._ending.attempt = attempt
        self._gateway.begin(self._ending, replica, self._admitted.model.base)
        self._ending.connection = connection

    def _data_for(self, replica: Replica) -> bytes:
        server = replica.attached
        self.names = names_of(server, self._admitted.model.name)
        if server is None:
            return self._data
        body = body_for(server, self._admitted)
        return self._gateway.pool.post(server, _PATHS[self._admitted.endpoint], body, self._bare_id.encode())

    def _has_tried_all(self) -> bool:
        replicas = self._gateway.directory.replicas(self._admitted.model.served_at)
        return all(replica.life_id in self.turn.tried for replica in replicas)
