"""Two replicas' sockets that answer in bytes written down beforehand, counted over both: what an engine would say last."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class ScriptedReplicas:
    """The first request that comes to either gets the first answer, and so on; then its connection is closed.

    `answers`: the bytes of each; None keeps the request waiting, as do all after the last. A request is one read.
    """

    def __init__(self, root: Path, answers: list[bytes | None]) -> None:
        self.sockets = [root / "first.sock", root / "second.sock"]
        self.asked: list[Path] = []
        self._answers = answers
        self._order = threading.Lock()
        self._kept: list[socket.socket] = []
        for path in self.sockets:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            self._kept.append(listener)
            threading.Thread(target=self._serve, args=(listener, path), daemon=True).start()

    def _serve(self, listener: socket.socket, path: Path) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                if connection.recv(65536):
                    self._answer(connection, path)

    def _answer(self, connection: socket.socket, path: Path) -> None:
        with self._order:
            self.asked.append(path)
            number = len(self.asked) - 1
        answer = self._answers[number] if number < len(self._answers) else None
        if answer is None:
            self._kept.append(connection)
        else:
            with connection:
                connection.sendall(answer)

    def close(self) -> None:
        """Close both sockets and what waits there."""
        for one in self._kept:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for path in self.sockets:
            path.unlink(missing_ok=True)
