"""Where an attached server is: `http://host:port`, `https://host:port` or `unix:/path`, read strictly.

An address names a server and nothing else: no user, no query. A path before `/v1` is kept, for servers behind a proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from inference.attached.errors import BadAddress

SOCKET_PATH_MAX_BYTES = 107  # sockaddr_un.sun_path less its NUL, Linux
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f:.]{2,45}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,100}){0,8}")


@dataclass(frozen=True)
class Address:
    """A server's place. With a `socket` there is neither host nor TLS; `prefix` stands before every path."""

    host: str
    port: int
    tls: bool
    prefix: str
    socket: str | None = None

    @property
    def authority(self) -> str:
        """The Host header's value."""
        if self.socket is not None:
            return "engine"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"


def parse(text: str) -> Address:
    """The address in its one form; `/v1` at its end is taken off.

    Raises: BadAddress.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise BadAddress("the address can't be read: write it as http://host:port") from None
    if url.scheme not in _PORTS:
        raise BadAddress("an address begins with http://, https:// or unix:/")
    if url.username is not None or url.password is not None:
        raise BadAddress("an address holds no user and no password: give the key with --api-key-file")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise BadAddress("an address ends before `?` and `#`")
    host, prefix = url.hostname or "", url.path.rstrip("/").removesuffix("/v1")
    if not _HOST.fullmatch(host):
        raise BadAddress("the address names no host")
    if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        raise BadAddress("the address's path is none that a server has: leave it out")
    if port == 0:
        raise BadAddress("0 is no port")
    return Address(host, port or _PORTS[url.scheme], url.scheme == "https", prefix)


def _unix(path: str) -> Address:
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise BadAddress("a socket's path is absolute: unix:/run/engine.sock")
    if len(path.encode()) > SOCKET_PATH_MAX_BYTES:
        raise BadAddress(f"a socket's path has at most {SOCKET_PATH_MAX_BYTES} bytes")
    return Address("", 0, False, "", path)
