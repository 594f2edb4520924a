"""What an appliance trusts and what it has seen: trust/root.json and trust/seen.json in the data directory.

Within a line of bundles (one model's name) versions only grow. A bundle that was accepted once is remembered, so an older one
is refused later, though its signatures still hold.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.bundle.copying import write_file
from ops.bundle.errors import BundleRefused, NoTrust
from ops.bundle.metadata import Signed, Versions, load_root
from ops.slots.files import exclusive, sync_directory, write_json

FORMAT = 1


@dataclass(frozen=True)
class Seen:
    """The newest bundle that was accepted in one line."""

    versions: Versions
    timestamp_sha256: str


def rollback_faults(seen: Seen | None, signed: Signed) -> list[str]:
    """Say in what a bundle is older than what was accepted before it."""
    if seen is None:
        return []
    before, now = asdict(seen.versions), asdict(signed.versions)
    faults = [
        f"{role} version {now[role]} is older than {before[role]}, which was accepted before: a downgrade or a replay"
        for role in now
        if now[role] < before[role]
    ]
    if not faults and now["timestamp"] == before["timestamp"] and _digest(signed.timestamp) != seen.timestamp_sha256:
        faults.append(
            f"another bundle with timestamp version {now['timestamp']} was accepted before: ask whoever signs them"
        )
    return faults


class TrustStore:
    """The directory trust/ of one appliance. Files appear whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = directory / "root.json"
        self._seen = directory / "seen.json"

    def root(self) -> bytes:
        """The installed root.

        Raises: NoTrust when there is none.
        """
        try:
            return self._root.read_bytes()
        except FileNotFoundError:
            raise NoTrust(
                f"no root is trusted here yet ({self._root} is missing): give the signer's with --root root.json"
            ) from None

    def holds(self, root: bytes) -> bool:
        """Whether this very root is the installed one."""
        return self._root.exists() and self.root() == root

    def require_new_or_same(self, root: bytes) -> None:
        """Raises: NoTrust when another root is installed."""
        if self._root.exists() and not self.holds(root):
            raise NoTrust(
                f"{self._root} is another root. Import without --root; to trust other keys from now on, move "
                f"{self.directory} away first"
            )

    def seen(self, line: str) -> Seen | None:
        """The newest bundle accepted in a line.

        Raises: NoTrust when the record can't be understood: forgetting it would let old bundles in.
        """
        return self._lines().get(line)

    def accept(self, line: str, signed: Signed) -> None:
        """Remember a verified bundle, and trust the root that it leads to.

        Raises: BundleRefused when a newer one was accepted in the meantime.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self.directory / ".lock", lambda: None):
            faults = rollback_faults(self.seen(line), signed)
            if faults:
                raise BundleRefused(faults)
            known, seen = self._lines(), Seen(signed.versions, _digest(signed.timestamp))
            if known.get(line) != seen:
                lines = {name: asdict(entry) for name, entry in (known | {line: seen}).items()}
                write_json(self._seen, {"format": FORMAT, "lines": lines})
            self._install(signed)

    def _install(self, signed: Signed) -> None:
        # The chain of roots is checked before: what comes here follows from what was trusted.
        if self._root.exists() and load_root(str(self._root), self.root()).version >= signed.root_version:
            return
        fresh = self._root.with_name(f".root.json.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        write_file(fresh, signed.root)
        fresh.rename(self._root)
        sync_directory(self.directory)

    def _lines(self) -> dict[str, Seen]:
        try:
            content = json.loads(self._seen.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']} is unknown")
            return {line: _seen_of(entry) for line, entry in content["lines"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoTrust(f"{self._seen} is damaged ({error}): restore it from a backup") from None


def _seen_of(entry: dict[str, Any]) -> Seen:
    versions = Versions(**{role: int(version) for role, version in entry["versions"].items()})
    return Seen(versions, str(entry["timestamp_sha256"]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
