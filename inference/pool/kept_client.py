"""The engine client of those who ask the same engine every few seconds: a connection that is still good is used again."""

import http.client
import select
import time
from collections import deque
from pathlib import Path

from inference.pool.engine_client import Answer, EngineClient, UnixConnection, read_answer
from inference.pool.errors import EngineUnreachable

_KEPT_S = 4.0  # an engine hangs up after 5 s of silence (uvicorn's own limit)
_MOST = 2  # a canary and a reading at the same time


class KeptClient(EngineClient):
    """As `EngineClient`, but it keeps connections between calls until `close`. Usable from any thread.

    No call is repeated: one that breaks off on a kept connection may have been heard.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._kept: deque[tuple[UnixConnection, float]] = deque()
        self._closed = False

    def close(self) -> None:
        """Hang up. A call on its way still gets its answer."""
        self._closed = True
        while self._kept:
            self._forget_oldest()

    def _call(self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> Answer:
        connection = self._take(timeout_s)
        good = False
        try:
            connection.request(method, target, body, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            answer = read_answer(response)
            good = response.isclosed() and connection.sock is not None
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachable(f"{method} {target}: {type(error).__name__}: {error}") from error
        finally:
            if not good:
                connection.close()
        self._keep(connection)
        return answer

    def _take(self, timeout_s: float) -> UnixConnection:
        """The connection that was used last if it is still good, else a new one."""
        while True:
            try:
                connection, since = self._kept.pop()
            except IndexError:
                return UnixConnection(self._path, timeout_s)
            if time.monotonic() - since < _KEPT_S and not _has_something_to_say(connection):
                connection.timeout = timeout_s
                connection.sock.settimeout(timeout_s)
                return connection
            connection.close()

    def _keep(self, connection: UnixConnection) -> None:
        if connection.sock is not None:  # null after an answer that said it is the last
            self._kept.append((connection, time.monotonic()))
        while len(self._kept) > (0 if self._closed else _MOST):
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        try:
            self._kept.popleft()[0].close()
        except IndexError:
            return  # another thread has it


def _has_something_to_say(connection: UnixConnection) -> bool:
    """Between calls that is an end, or an answer that nobody waits for."""
    return bool(select.select([connection.sock], [], [], 0)[0])
