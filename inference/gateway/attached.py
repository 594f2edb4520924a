"""Requests to servers that the pool did not start: how a connection to one is opened, and how its requests differ.

A server gets its own model's name, and of the fields that the gateway adds those that it takes. Redirects are answers like
any other: nobody follows them.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from inference.attached import address
from inference.attached.address import Address
from inference.attached.errors import BadAddress
from inference.attached.secrets import Secrets
from inference.gateway.usage import Usage

if TYPE_CHECKING:
    from inference.gateway.admit import Admitted

CONNECT_S = 3.0  # TCP and TLS together; own engines' sockets accept at once or never

_encoder = msgspec.json.Encoder()
P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True)
class Attached:
    """A server as its row describes it: where it is, what it calls the model, what it takes and can do.

    `usage`: it reports usage at a stream's end. `aborts`: it ends requests by id, and reports what they had.
    """

    id: str
    url: str
    model: str
    priority: bool
    cache_salt: bool
    usage: bool
    aborts: bool


@dataclass(frozen=True)
class _Known:
    """What was read once of a server: files named by its id do not change."""

    address: Address
    head: bytes
    key: bytes
    tls: ssl.SSLContext | None


class Outside:
    """The way to attached servers, for one worker. `directory` holds their keys."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known = functools.lru_cache(maxsize=256)(self._read)

    async def connect(self, server: Attached, make: Callable[[], P]) -> P:
        """A connection; its certificate was verified where it has one.

        Raises: OSError, also for a certificate that is not to be trusted.
        """
        # A request's way here is stepped by hand, and a time limit needs a task around it.
        return await asyncio.get_running_loop().create_task(self._connect(server, make))

    async def _connect(self, server: Attached, make: Callable[[], P]) -> P:
        known = self._known(server)
        loop = asyncio.get_running_loop()
        place = known.address
        async with asyncio.timeout(CONNECT_S):
            if place.socket is not None:
                _, protocol = await loop.create_unix_connection(make, place.socket)
            else:
                _, protocol = await loop.create_connection(
                    make, place.host, place.port, ssl=known.tls, server_hostname=place.host if known.tls else None
                )
        return protocol

    def post(self, server: Attached, path: bytes, body: bytes, request_id: bytes) -> bytes:
        """The bytes of a request. Raises: OSError where the key can't be read."""
        known = self._known(server)
        return b"".join(
            (
                b"POST %b%b HTTP/1.1\r\n" % (known.address.prefix.encode(), path),
                known.head,
                b"Content-Type: application/json\r\nX-Request-Id: %b\r\n" % request_id,
                b"Content-Length: %d\r\n\r\n" % len(body),
                body,
            )
        )

    def without_key(self, server: Attached, answer: bytes) -> bytes:
        """A refusal's text: some servers repeat the key that they don't take."""
        key = self._known(server).key
        return answer.replace(key, b"***") if key else answer

    def _read(self, server: Attached) -> _Known:
        try:
            place = address.parse(server.url)
        except BadAddress as error:
            raise OSError(str(error)) from None
        secrets = Secrets(self._directory, server.id)
        key = secrets.key()
        head = f"Host: {place.authority}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "")
        return _Known(place, head.encode(), (key or "").encode(), secrets.tls() if place.tls else None)


def body_for(server: Attached, admitted: Admitted) -> bytes:
    """A request's body as this server takes it, from what an engine of our own would get."""
    body: dict[str, Any] = {**admitted.body, "model": server.model}
    if not server.priority:
        body.pop("priority", None)
    if not server.cache_salt:
        body.pop("cache_salt", None)
    if admitted.stream:
        body["stream_options"] = {"include_usage": True}
        if not server.usage:
            del body["stream_options"]
    return _encoder.encode(body)


def believable(used: Usage, admitted: Admitted) -> Usage:
    """What such a server says it used, within what the request allowed: nobody is billed beyond that."""
    most = int(admitted.body["max_tokens"]) * admitted.num_sequences
    completion = min(max(used.completion_tokens, 0), most)
    prompt = min(max(used.prompt_tokens, 0), admitted.model.max_model_len * admitted.num_prompts)
    engine = min(max(used.engine_prompt_tokens, 0), admitted.model.max_model_len * admitted.num_sequences)
    cached = min(max(used.cached_tokens, 0), prompt)
    within = Usage(prompt, cached, completion, engine, used.exact)
    return within if within == used else msgspec.structs.replace(within, exact=False)


class Names:
    """Puts the public name of a model where a server wrote its own. `None` instead of one where they are the same."""

    def __init__(self, theirs: str, ours: str) -> None:
        own, public = _encoder.encode(theirs), _encoder.encode(ours)
        # Inside JSON strings quotes are escaped, so that these can only be keys.
        self._pairs = [(b'"model":%b' % own, b'"model":%b' % public), (b'"model": %b' % own, b'"model": %b' % public)]

    def __call__(self, data: bytes) -> bytes:
        for theirs, ours in self._pairs:
            if theirs in data:
                data = data.replace(theirs, ours)
        return data


def names_of(server: Attached | None, public: str) -> Names | None:
    """What an answer has to have changed, if anything."""
    return None if server is None or server.model == public else Names(server.model, public)
