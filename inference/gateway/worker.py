"""gunicorn's worker class for the gateway: an asyncio loop, the front on the accepted sockets, the heartbeat, orderly
stops.

gunicorn binds, forks, watches and restarts; requests never touch its own HTTP code. The "application" is a
GatewaySettings.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import Any

import uvloop
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

from inference.gateway import metrics
from inference.gateway.app import Gateway
from inference.gateway.front import Front
from inference.gateway.settings import GatewaySettings

HEARTBEAT_S = 1.0
FIRST_LOAD_S = 5.0
GC_EVERY = 20_000
SETTLE_S = 0.5  # the master kills at graceful_timeout; aborted requests' usage and the journal come before that


class GatewayWorker(Worker):  # type: ignore[misc]
    """One worker process."""

    def init_signals(self) -> None:
        """Signals are set up on the event loop, in `run`."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGABRT, self.handle_abort)

    def load_wsgi(self) -> None:
        """The settings, or a function that returns them, take the place of a WSGI callable."""
        given = self.app.wsgi()
        self.settings: GatewaySettings = given() if callable(given) else given

    def run(self) -> None:
        """gunicorn: the main loop; it returns when the worker is done."""
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        self._graceful_s = float(self.cfg.graceful_timeout)
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        loop.add_signal_handler(signal.SIGQUIT, self._stop_at_once, stopping)
        loop.add_signal_handler(signal.SIGINT, self._stop_at_once, stopping)
        loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        gateway = Gateway(self.settings)
        heartbeat = loop.create_task(self._heartbeat(stopping))
        await self._first_load(gateway)
        gc.freeze()  # what was imported lives as long as the worker: no collection need look at it
        gc.set_threshold(GC_EVERY)  # 700 new objects are five requests, and those that run are no garbage
        servers = [await self._listen(gateway, listener.sock) for listener in self.sockets]
        await stopping.wait()
        self.alive = False
        for server in servers:
            server.close()
        await gateway.stop(self._graceful_s - self.settings.abort_wait_s - SETTLE_S)
        heartbeat.cancel()

    def _stop_at_once(self, stopping: asyncio.Event) -> None:
        self._graceful_s = 0.0
        stopping.set()

    async def _first_load(self, gateway: Gateway) -> None:
        """Better a moment's wait at the start than 401 for every key; without a database it starts all the same."""
        try:
            await asyncio.wait_for(gateway.feed.loaded.wait(), FIRST_LOAD_S)
        except TimeoutError:
            self.log.warning("gateway: the directory has not been loaded yet, accepting anyway")

    async def _listen(self, gateway: Gateway, sock: Any) -> asyncio.Server:
        # uvloop takes one connection a turn: a burst spreads over the workers, and what is left waits in the kernel's queue.
        return await gateway.loop.create_server(lambda: Front(gateway), sock=sock, backlog=self.settings.backlog)

    async def _heartbeat(self, stopping: asyncio.Event) -> None:
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("gateway: the master is gone, worker %s stops", os.getpid())
                stopping.set()
            await asyncio.sleep(HEARTBEAT_S)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """gunicorn: the heartbeat was missed."""
        self.alive = False
        self.cfg.worker_abort(self)
        sys.exit(1)


def child_exit(server: Any, worker: Any) -> None:
    """gunicorn's hook of the same name: forget a dead worker's live gauges."""
    metrics.forget(worker.pid)
