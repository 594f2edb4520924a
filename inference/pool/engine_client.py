"""The pool's own small HTTP client for one engine on its Unix socket: health, counters, a canary, an abort.

One connection per call and a time limit on each; it is for a few calls a second, never for tenants' requests. Who asks all
the time keeps connections: kept_client.py.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.pool.errors import EngineUnreachable

_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; an empty one when it is anything else."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class EngineClient:
    """Calls one engine; usable from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, target: str, timeout_s: float) -> Answer:
        return self._call("GET", target, None, {}, timeout_s)

    def post(self, target: str, body: dict[str, Any], timeout_s: float, request_id: str | None = None) -> Answer:
        headers = {} if request_id is None else {"X-Request-Id": request_id}
        return self._call("POST", target, json.dumps(body).encode(), headers, timeout_s)

    def _call(self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> Answer:
        """Raises: EngineUnreachable when it refuses, breaks off, or stays silent for `timeout_s`."""
        connection = UnixConnection(self._path, timeout_s)
        try:
            sent = {"Content-Type": "application/json", "Connection": "close", **headers}
            connection.request(method, target, body, sent)
            return read_answer(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachable(f"{method} {target}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()


def read_answer(response: http.client.HTTPResponse) -> Answer:
    """A whole answer, or the beginning of one that is too long."""
    return Answer(response.status, response.read(_MAX_BYTES))


class UnixConnection(http.client.HTTPConnection):
    """One to an engine's socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise
