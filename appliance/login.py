"""The first user's login and files that only their owner may read. Needs no Django."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FirstLogin:
    """What the first user needs: shown at start, kept beside the data. An empty password is the operator's own."""

    operator: str
    password: str
    api_key: str


def read_login(path: Path) -> FirstLogin | None:
    """The login kept in a file; None when there is none or it can't be read."""
    try:
        return FirstLogin(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_private(path: Path, value: object) -> None:
    """Write JSON that only its owner may read: temporary name, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
