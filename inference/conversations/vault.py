"""Keys of kept conversations: one for each tenant and day, wrapped by a master key, in a file beside the day's records.

Without its key's file a day can't be read by anybody: erasing it is removing that file. Where records lie in a day's
directory is `segments`' matter.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from inference.conversations.errors import Erased

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_FILE = "key"
_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


def master_key(path: Path) -> bytes:
    """The key that wraps all others, made once (mode 0600).

    Raises: OSError, ValueError for a file that holds something else.
    """
    if not path.exists():
        _publish(path, secrets.token_hex(KEY_BYTES).encode())
    key = bytes.fromhex(path.read_text().strip())
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} must hold {KEY_BYTES} bytes in hex")
    return key


@dataclass(frozen=True)
class DayKey:
    """A tenant's key for a day. `made` tells one file of it from the next."""

    tenant: str
    day: date
    cipher: AESGCM
    made: tuple[int, int]


class Vault:
    """The directory of all tenants' conversations, `<tenant>/<day>/`, and the keys in it."""

    def __init__(self, directory: Path, master_path: Path) -> None:
        self.directory = directory
        self._master_path = master_path
        self._master: AESGCM | None = None

    def day_dir(self, tenant: str, day: date) -> Path:
        """Where a day's records and their key lie.

        Raises: ValueError for what is no tenant's id.
        """
        return self.tenant_dir(tenant) / day.isoformat()

    def tenant_dir(self, tenant: str) -> Path:
        """Raises: ValueError for what is no tenant's id."""
        if not _TENANT.fullmatch(tenant):
            raise ValueError("not a tenant's id")
        return self.directory / tenant

    def tenants(self) -> list[str]:
        """Those of which something is kept."""
        return _names(self.directory, _TENANT)

    def days(self, tenant: str) -> list[date]:
        """The days of which something is kept, the oldest first."""
        return [date.fromisoformat(name) for name in _names(self.tenant_dir(tenant), re.compile(r"\d{4}-\d\d-\d\d"))]

    def ensure_key(self, tenant: str, day: date) -> DayKey:
        """A day's key, made where there is none.

        Raises: OSError, ValueError.
        """
        path = self.day_dir(tenant, day) / KEY_FILE
        if not path.exists():
            for directory in (self.directory, path.parent.parent, path.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
            nonce = os.urandom(NONCE_BYTES)
            wrapped = self._wrapper().encrypt(nonce, os.urandom(KEY_BYTES), _about(tenant, day))
            _publish(path, nonce + wrapped)
        return self.open_key(tenant, day)

    def open_key(self, tenant: str, day: date) -> DayKey:
        """A day's key.

        Raises: Erased where it is gone, or wrapped by another master key.
        """
        try:
            with (self.day_dir(tenant, day) / KEY_FILE).open("rb") as file:
                stat = os.fstat(file.fileno())
                sealed = file.read(256)
            key = self._wrapper().decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _about(tenant, day))
        except (FileNotFoundError, InvalidTag, ValueError):
            raise Erased(f"the conversations of {day} are erased") from None
        return DayKey(tenant, day, AESGCM(key), (stat.st_ino, stat.st_mtime_ns))

    def is_current(self, key: DayKey) -> bool:
        """Whether a key was not erased meanwhile."""
        try:
            stat = (self.day_dir(key.tenant, key.day) / KEY_FILE).stat()
        except OSError:
            return False
        return (stat.st_ino, stat.st_mtime_ns) == key.made

    def made_at(self, tenant: str, day: date) -> float | None:
        """When a day's key was made, in Unix seconds; None where there is none."""
        try:
            return (self.day_dir(tenant, day) / KEY_FILE).stat().st_mtime
        except OSError:
            return None

    def erase_day(self, tenant: str, day: date) -> None:
        """Remove the key, then what it opened. Done twice, nothing more happens."""
        directory = self.day_dir(tenant, day)
        _shred(directory / KEY_FILE)
        shutil.rmtree(directory, ignore_errors=True)

    def erase_tenant(self, tenant: str) -> None:
        """Remove everything of a tenant."""
        for day in self.days(tenant):
            self.erase_day(tenant, day)
        shutil.rmtree(self.tenant_dir(tenant), ignore_errors=True)

    def _wrapper(self) -> AESGCM:
        if self._master is None:
            self._master = AESGCM(master_key(self._master_path))
        return self._master


def _names(directory: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and pattern.fullmatch(entry.name))
    except FileNotFoundError:
        return []


def _about(tenant: str, day: date) -> bytes:
    return f"coderack conversations {tenant} {day}".encode()


def _publish(path: Path, content: bytes) -> None:
    """Write a file whole; where several processes do, the first one's stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    _sync(path.parent)


def _shred(path: Path) -> None:
    """Overwrite, then remove: on a disk that writes in place nothing is left of it."""
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        _sync(path.parent)
    except FileNotFoundError:
        return


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
