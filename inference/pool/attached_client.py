"""The pool's own calls to a server that it did not start: over TCP, TLS or a socket, with its key, and bounded in every way.

A call ends after its time whatever the server does: one that sends a byte a second must not hold a thread for long.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from typing import Any

from inference.attached.address import Address
from inference.pool.engine_client import Answer, EngineClient
from inference.pool.errors import EngineUnreachable

MAX_ANSWER_BYTES = 8 * 1024 * 1024


class AttachedClient(EngineClient):
    """Calls one server; usable from any thread. `model` is the name it knows, and stands in every request's body."""

    def __init__(self, address: Address, key: str | None, tls: ssl.SSLContext | None, model: str) -> None:
        self._address = address
        self._key = key
        self._tls = tls
        self._model = model

    def post(self, target: str, body: dict[str, Any], timeout_s: float, request_id: str | None = None) -> Answer:
        if "model" in body:
            body = {**body, "model": self._model}
        return super().post(target, body, timeout_s, request_id)

    def _call(self, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> Answer:
        """Raises: EngineUnreachable, without the key, when there is no whole answer within `timeout_s`."""
        if self._key is not None:
            headers = {**headers, "Authorization": f"Bearer {self._key}"}
        connection = _Connection(self._address, self._tls, timeout_s)
        alarm = threading.Timer(timeout_s, connection.cut)
        alarm.daemon = True
        alarm.start()
        try:
            sent = {"Content-Type": "application/json", "Connection": "close", **headers}
            connection.request(method, self._address.prefix + target, body, sent)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise EngineUnreachable(f"{method} {target}: {_reason(error, timed_out=connection.is_cut)}") from None
        finally:
            alarm.cancel()
            connection.close()
        if connection.is_cut or len(content) > MAX_ANSWER_BYTES:
            reason = "no whole answer in time" if connection.is_cut else "the answer is too long"
            raise EngineUnreachable(f"{method} {target}: {reason}")
        return Answer(response.status, content)


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: Address, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        super().__init__(address.authority, timeout=timeout_s)
        self._address = address
        self._tls = tls
        self.is_cut = False

    def connect(self) -> None:
        """http.client: connected, and the certificate verified."""
        place = self._address
        if place.socket is not None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(place.socket)
            return
        self.sock = socket.create_connection((place.host, place.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            # In two steps, so that a handshake without an end can be cut, too.
            wrapped = self._tls.wrap_socket(self.sock, server_hostname=place.host, do_handshake_on_connect=False)
            self.sock = wrapped
            wrapped.do_handshake()

    def cut(self) -> None:
        """The time is over: whoever reads gets an error now."""
        self.is_cut = True
        found = self.sock
        if found is not None:
            try:
                socket.socket.shutdown(found, socket.SHUT_RDWR)
            except OSError:
                return


def _reason(error: Exception, *, timed_out: bool) -> str:
    if timed_out or isinstance(error, TimeoutError):
        return "no whole answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no handshake'}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"its answer can't be read ({type(error).__name__})"
