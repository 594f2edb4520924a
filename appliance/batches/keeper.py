"""Has results written to the disk, many at a time, and waits while the disk has no room: nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import logging

from appliance.batches import metrics
from appliance.batches.answers import Result
from appliance.batches.errors import DiskFull
from appliance.batches.results import Done, ResultFile

log = logging.getLogger("coderack.batches")
RETRY_S = 5.0
NO_ROOM = "Paused: the appliance's disk is nearly full. Work goes on once there is room; nothing is lost."


class Keeper:
    """Between the lines that have an answer and one attempt's file. `done` counts what is on the disk."""

    def __init__(self, file: ResultFile, done: Done) -> None:
        self.done = done
        self.note = ""
        self._file = file
        self._waiting: list[tuple[Result, asyncio.Future[None]]] = []
        self._there = asyncio.Event()

    async def keep(self, result: Result) -> None:
        """Return once the result is on the disk."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((result, written))
        self._there.set()
        await written

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._there.wait()
            self._there.clear()
            taken, self._waiting = self._waiting, []
            results = [result for result, _ in taken]
            while not await self._written(results):  # noqa: ASYNC110 - room on the disk tells nobody that it is there
                await asyncio.sleep(RETRY_S)
            for result, written in taken:
                self.done.add(result)
                metrics.LINES.labels("completed" if result.ok else "failed").inc()
                if not written.done():
                    written.set_result(None)

    async def _written(self, results: list[Result]) -> bool:
        try:
            await asyncio.to_thread(self._file.append, results)
        except (DiskFull, OSError) as error:
            if not self.note:
                log.warning("results can't be written (%s); trying again every %.0f s", error, RETRY_S)
            self.note = NO_ROOM
            metrics.DISK_WAITS.inc()
            return False
        self.note = ""
        return True
