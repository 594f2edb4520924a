"""Writes a support bundle: masked parts in one tar.gz with a README, scanned for secrets before it gets its name."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.files import sync_directory
from ops.support.errors import SecretFound, SupportError
from ops.support.masking import Masker
from ops.support.secrets import found

FOLDER = "coderack-support"
README = """\
Coderack support bundle, made {at}

For a person who helps. Secrets are masked: settings that are secret, passwords in addresses, API keys, private keys, sessions,
and what looks like one. Prompts, answers, contents and names of tenants' files are not in it; e-mail addresses, telephone and
IP addresses in logs are replaced. The finished bundle was scanned for every secret that this appliance knows of, and held none.
Look through it all the same before it leaves the building: names of tenants, models and machines are in it.

{parts}
"""


@dataclass
class Parts:
    """What is in the bundle: files by path, a line about each, and what could not be had."""

    masker: Masker
    files: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add_json(self, path: str, about: str, value: Any) -> None:
        """A value, masked."""
        plain = json.loads(json.dumps(value, default=str))
        self._add(path, about, json.dumps(self.masker.value(plain), indent=2, ensure_ascii=False) + "\n")

    def add_text(self, path: str, about: str, text: str) -> None:
        """A log's end, masked."""
        self._add(path, about, self.masker.text(text))

    def lack(self, path: str, reason: str) -> None:
        """Say what is not there, and why."""
        self.missing[path] = self.masker.value(reason)

    def readme(self) -> str:
        """The list of what is in it and what is missing."""
        lines = [f"{path:28} {about}" for path, about in sorted(self.about.items())]
        lines += [f"{path:28} MISSING: {reason}" for path, reason in sorted(self.missing.items())]
        return README.format(at=time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()), parts="\n".join(lines))

    def _add(self, path: str, about: str, content: str) -> None:
        self.files[path], self.about[path] = content, about


def write(target: Path, parts: Parts, known: Mapping[str, str]) -> int:
    """Write the bundle, readable by its owner only; its size in bytes.

    Raises: SecretFound when a secret is in it, SupportError when it can't be written; nothing is left then.
    """
    if target.exists():
        raise SupportError(f"{target} is there already: name a new file")
    fresh = target.with_name(f".{target.name}.new")
    try:
        _pack(fresh, {"README.txt": parts.readme(), **parts.files})
        scan(fresh, known)
        size = fresh.stat().st_size
        _publish(fresh, target)
        sync_directory(target.parent)
    except OSError as error:
        room = ": make room or choose another disk" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        raise SupportError(f"{target} can't be written: {error.strerror}{room}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return size


def _publish(fresh: Path, target: Path) -> None:
    """Give the file its name, never over one that came in meanwhile."""
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise
    except OSError:  # a memory stick's file system knows no second names
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        fresh.rename(target)


def scan(bundle: Path, known: Mapping[str, str]) -> None:
    """Read a bundle as whoever gets it would.

    Raises: SecretFound naming the file and which secret, never its value.
    """
    with tarfile.open(bundle) as archive:
        for member in archive:
            content = archive.extractfile(member)
            names = found(content.read().decode(errors="replace"), known) if content else []
            names += found(member.name, known)
            if names:
                raise SecretFound(
                    f"{member.name} would have held {', '.join(names)}; no bundle was made. Leave logs out with "
                    "--log-kib 0, and tell Coderack's developers which line it was"
                )


def _pack(path: Path, files: Mapping[str, str]) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for name, text in sorted(files.items()):
                content = text.encode()
                member = tarfile.TarInfo(f"{FOLDER}/{name}")
                member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
                archive.addfile(member, io.BytesIO(content))
        raw.flush()
        os.fsync(raw.fileno())
