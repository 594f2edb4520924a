"""The key under which replaced secrets are remembered: their HMACs let an adapter be tested for having learnt them."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from django.conf import settings


def planted_secret_file() -> Path:
    """The key's file, made once (mode 0600)."""
    path = Path(settings.ENV.data_dir) / "planted_secret"
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # the first of several wins
        temporary.unlink()
    return path


def planted_secret() -> bytes:
    """The key itself."""
    return planted_secret_file().read_bytes().strip()
