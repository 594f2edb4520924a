"""Rows for an event loop: every call runs in one thread with one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import Error, close_old_connections, connection

T = TypeVar("T")


class RowThread:
    """The one thread that asks the database."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows")

    async def __call__(self, call: Callable[[], T]) -> T:
        """What the call returns.

        Raises: django.db.Error, and what the call raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: _asked(call))

    def close(self) -> None:
        """Let go of the connection."""
        self._thread.submit(lambda: connection.close()).result()  # noqa: PLW0108 - of that thread
        self._thread.shutdown()


def _asked(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    except Error:
        connection.close()
        raise
