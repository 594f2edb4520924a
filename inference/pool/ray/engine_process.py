"""The engine as a child of the node process: started without a network, ended with its parent, its words read from a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.pool import isolate
from inference.pool.process import kill_session, read_stat

_READ_BYTES = 64 * 1024
_NOTHING_YET, _ENDED = 0, -1


class EngineProcess:
    """`on_words` gets what it prints, `on_end` is called once with how it ended."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        wrapper = [sys.executable, "-I", str(Path(isolate.__file__)), "--with", str(os.getpid()), "--", *argv]
        self._process = subprocess.Popen(
            wrapper,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stat = read_stat(self._process.pid)
        self.pid = self._process.pid
        self.started = 0 if stat is None else stat.started
        self._pidfd = os.pidfd_open(self.pid)  # nobody else reaps it: the number is still its own
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self._words = self._process.stdout.fileno()
        os.set_blocking(self._words, False)

    def watch(self, on_words: Callable[[bytes], None], on_end: Callable[[dict[str, Any]], None]) -> None:
        """Report to the running loop's thread."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            if self._read(on_words) == _ENDED:
                loop.remove_reader(self._words)

        def ended() -> None:
            loop.remove_reader(self._pidfd)
            loop.remove_reader(self._words)
            self.kill()
            while self._read(on_words) > 0:
                pass
            status = self._process.wait()
            on_end({"signal": -status} if status < 0 else {"status": status})

        loop.add_reader(self._words, read)
        loop.add_reader(self._pidfd, ended)

    def end(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all of its session now."""
        kill_session(self.pid, self.started)

    def _read(self, on_words: Callable[[bytes], None]) -> int:
        """Hand on what is there; how many bytes, or that nothing is, or that nothing will be."""
        try:
            words = os.read(self._words, _READ_BYTES)
        except BlockingIOError:
            return _NOTHING_YET
        if words:
            on_words(words)
        return len(words) or _ENDED
