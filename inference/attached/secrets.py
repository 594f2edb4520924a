"""The keys of attached servers, and the CAs that their certificates are verified with: files only the appliance's user reads.

They lie in the data directory and not in the database, whose views the gateway's role reads. A file is named by the
server's id and never changes, so that what was read of it may be kept.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

from inference.attached.errors import BadSecret

ATTACHED = "attached"
MAX_KEY_CHARACTERS = 4096
MAX_CA_BYTES = 1024 * 1024
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_CHARACTERS}}}")


def checked_key(text: str) -> str:
    """A key as it may stand in a header, without the white space around it.

    Raises: BadSecret; the message does not repeat the key.
    """
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise BadSecret(
            f"the key is empty, longer than {MAX_KEY_CHARACTERS} characters, or holds other than visible ASCII"
        )
    return key


def checked_ca(path: Path) -> str:
    """The text of a PEM file with certificates.

    Raises: BadSecret.
    """
    try:
        if path.stat().st_size > MAX_CA_BYTES:
            raise BadSecret(f"{path} is too large for a CA file")
        text = path.read_text(encoding="utf-8")
        ssl.create_default_context(cadata=text)
    except (OSError, UnicodeDecodeError, ssl.SSLError, ValueError) as error:
        reason = error.strerror if type(error) is OSError else type(error).__name__
        raise BadSecret(f"{path} can't be used as a CA file: {reason}") from None
    if "PRIVATE KEY" in text:
        raise BadSecret(f"{path} holds a private key: give the certificates alone")
    if "BEGIN CERTIFICATE" not in text:
        raise BadSecret(f"{path} holds no certificate in PEM")
    return text


class Secrets:
    """What is kept of one attached server beside its row."""

    def __init__(self, directory: Path, server_id: str) -> None:
        self._directory = directory
        self._key = directory / f"{server_id}.key"
        self._ca = directory / f"{server_id}.ca.pem"

    def write(self, key: str | None, ca: str | None) -> None:
        """Keep them; written before the row, so that whoever sees the row finds them."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, text in ((self._key, key), (self._ca, ca)):
            if text is not None:
                _write(path, text)

    def remove(self) -> None:
        """The server is attached no longer. Said twice, the second time changes nothing."""
        self._key.unlink(missing_ok=True)
        self._ca.unlink(missing_ok=True)

    def key(self) -> str | None:
        """The key; None where the server has none. Raises: OSError."""
        try:
            return self._key.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def tls(self) -> ssl.SSLContext:
        """Verifies with the server's CA, or the system's where none was given. Raises: OSError."""
        return ssl.create_default_context(cafile=str(self._ca) if self._ca.exists() else None)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
