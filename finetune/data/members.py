"""Which members an archive may have, whatever its format. Nothing is ever unpacked to disk; every name is checked still,
because it becomes a row's path and because an archive that tries to lead outside is not to be trusted at all.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from finetune.data.desensitize.censor import censor
from finetune.data.errors import DatasetRefused
from finetune.data.limits import Limits

DRIVE = re.compile(r"^[A-Za-z]:")
MAX_CENSORED, MAX_SHOWN = 4096, 200


@dataclass(frozen=True)
class Member:
    """A regular file of an archive: its bytes, or why they were not read."""

    path: str
    data: bytes
    skipped: str = ""


def refuse(name: str, problem: str) -> DatasetRefused:
    """The refusal of the whole upload, naming the member. The name is cleaned: names too can hold secrets."""
    return DatasetRefused([f"member {shown(name)}: {problem}"])


def shown(name: str) -> str:
    """A name fit for messages: short, printable, without secrets."""
    printable = name[:MAX_CENSORED].encode("utf-8", "backslashreplace").decode()
    # Cut last: half a secret has lost the shape it is known by.
    cleaned = censor(printable)[:MAX_SHOWN]
    return f"'{cleaned}'" if cleaned.isprintable() else ascii(cleaned)


@dataclass
class Doorkeeper:
    """Checks the members of one archive as they come: names, count, sizes."""

    limits: Limits
    num_members: int = 0
    unpacked_bytes: int = 0
    # Digests: half a million paths would take several times as much memory.
    _seen: set[bytes] = field(default_factory=set)

    def admit(self, name: str, size_bytes: int) -> str:
        """The member's path in normal form, after all checks.

        Raises: DatasetRefused naming the member.
        """
        self.num_members += 1
        if self.num_members > self.limits.members:
            raise refuse(name, f"the archive has more than {self.limits.members} members; split it")
        self.unpacked_bytes += max(0, size_bytes)
        if size_bytes < 0 or self.unpacked_bytes > self.limits.unpacked_bytes:
            raise refuse(name, f"the archive unpacks to more than {self.limits.unpacked_bytes} bytes; split it")
        path = _normal(name, self.limits)
        digest = hashlib.blake2b(path.encode(), digest_size=16).digest()
        if digest in self._seen:
            raise refuse(name, "the archive holds it twice; pack it again")
        self._seen.add(digest)
        return path


def _normal(name: str, limits: Limits) -> str:
    # A backslash separates on Windows, so it has to be as harmless as a slash.
    parts = name.replace("\\", "/").split("/")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:  # halves of characters stand for bytes that are no UTF-8
        raise refuse(name, "its name isn't UTF-8; pack it with UTF-8 names") from None
    if not name.isprintable() or len(encoded) > limits.name_bytes:
        raise refuse(name, f"its name has control characters or more than {limits.name_bytes} bytes; rename it")
    if name.startswith(("/", "\\")) or DRIVE.match(name):
        raise refuse(name, "its path is absolute; pack with relative paths")
    if ".." in parts:
        raise refuse(name, "its path leads upwards ('..'); pack with plain relative paths")
    path = "/".join(part for part in parts if part not in ("", "."))
    return path or "."
