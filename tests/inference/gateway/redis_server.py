"""A real Redis of the tests' own, on a Unix socket."""

from __future__ import annotations

import subprocess
from pathlib import Path

import redis

from ops.embedded.redis import argv, server_binary
from tests.waiting import wait_until


class RedisServer:
    """redis-server on a socket; it can be stopped, started and paused."""

    def __init__(self, root: Path) -> None:
        self.socket = root / "r.sock"
        self._root = root
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        command = argv(server_binary(), self._root, self.socket)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._root)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
