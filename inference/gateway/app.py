"""One worker's gateway: holds the parts, decides per request who answers, counts what is under way, stops in order."""

from __future__ import annotations

import asyncio
import logging
import time

from inference.conversations.vault import Vault
from inference.gateway import errors, metrics
from inference.gateway.attached import Outside
from inference.gateway.beside import Beside
from inference.gateway.board import Board
from inference.gateway.cells import Cells
from inference.gateway.console import ConsoleSplice
from inference.gateway.conversation import Conversations
from inference.gateway.directory import Directory, Replica
from inference.gateway.directory_feed import DirectoryFeed
from inference.gateway.dispatch import Dispatcher
from inference.gateway.ending import Ending
from inference.gateway.engine import EnginePool
from inference.gateway.front import Front
from inference.gateway.inbound import Inbound
from inference.gateway.limits.limiter import Limiter
from inference.gateway.local import Local
from inference.gateway.open_requests import OpenRequests
from inference.gateway.paths import CONSOLE_METHODS, METHODS, Kind, allowed_methods
from inference.gateway.place import Place
from inference.gateway.process_metrics import ProcessPage
from inference.gateway.queue import FairQueue
from inference.gateway.request import Handler, Request
from inference.gateway.sessions import Sessions
from inference.gateway.settings import GatewaySettings
from inference.gateway.targets import Targets
from inference.gateway.tokens import TokenCounter
from inference.gateway.uploads import Uploads
from inference.metering.journal import JournalWriter

log = logging.getLogger(__name__)

_in_flight = Cells(metrics.IN_FLIGHT).of
SWEEP_S = 1.0
WITHOUT_DIRECTORY = frozenset({Kind.HEALTH, Kind.METRICS, Kind.PROCESS_METRICS})


class Gateway:
    """Made inside a worker's running event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.directory = Directory()
        self.feed = DirectoryFeed(settings.directory_dsn, self.directory)
        queue: FairQueue[Place] = FairQueue(settings.queue_requests, settings.queue_bytes)
        self.targets = Targets(settings.fim_target_s)
        board = Board(settings.board_path)
        self.dispatcher = Dispatcher(self.directory, board, queue, settings.queue_wait_s, self.targets)
        self.sessions = Sessions(settings.sessions_path, settings.salt_secret)
        self.pool = EnginePool(Outside(settings.attached_dir))
        self.counter = TokenCounter()
        self.open_requests = OpenRequests(settings.open_dir)
        told = self.open_requests.tell
        self.limiter = Limiter(settings.redis_url, settings.workers, settings.redis_answer_s, told)
        self.journal = JournalWriter(settings.journal_dir, "gateway")
        vault = Vault(settings.conversation_dir, settings.conversation_key)
        self.conversations = Conversations(vault, self.directory, settings.conversation_min_free_bytes)
        self.uploads = Uploads(settings.body_memory_bytes, settings.max_body_bytes)
        self.fronts: set[Front] = set()
        self.draining = False
        self._active: dict[Ending, tuple[Replica, str]] = {}
        self._beside = Beside(self.loop)
        self.spawn, self.step = self._beside.spawn, self._beside.step
        forever = (self.feed.run(), self._sweep_forever(), self.limiter.run())
        self._background = [self.loop.create_task(one) for one in forever]

    def dispatch(self, front: Front, request: Request) -> Handler:
        """Who answers a request.

        Raises: ApiError where nobody does.
        """
        kind = request.target.kind
        if kind is Kind.NOWHERE or request.method == b"CONNECT":
            raise errors.not_found()
        if kind is Kind.CONSOLE or request.method == CONSOLE_METHODS.get(kind):
            return ConsoleSplice(self, front, request)
        if (b"GET" if request.method == b"HEAD" else request.method) != METHODS[kind]:
            raise errors.wrong_method(allowed_methods(kind))
        if self.directory.snapshot.generation < 0 and kind not in WITHOUT_DIRECTORY:
            # Without a directory every key would look like a bad one.
            raise errors.overloaded("The service is starting. Try again shortly.")
        if kind in (Kind.CHAT, Kind.COMPLETIONS):
            if (request.content_length or 0) > self.settings.max_body_bytes:
                raise errors.too_large(self.settings.max_body_bytes)
            return Inbound(self, front, request)
        if kind is Kind.PROCESS_METRICS:
            return ProcessPage(self, front, request)
        return Local(self, front, request)

    def begin(self, request: Ending, replica: Replica, base: str) -> None:
        """A request is at an engine; `base` is the base model's name, for the metrics."""
        self._active[request] = replica, base
        _in_flight(base)(1)

    def end(self, request: Ending) -> None:
        """It no longer is; said twice, the second time counts for nothing."""
        active = self._active.pop(request, None)
        if active is not None:
            _, base = active
            _in_flight(base)(-1)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for front in list(self.fronts):
                try:
                    front.sweep(now)
                except Exception:
                    # One connection's fault must not end the clock of all others.
                    log.exception("sweeping a connection failed")
            self.pool.sweep()
            self.open_requests.beat(journal_healthy=self.journal.healthy)
            try:
                self.dispatcher.sweep()
            except Exception:
                log.exception("sweeping the board failed")

    async def stop(self, graceful_s: float) -> None:
        """Finish what runs; at the end of the time tell the rest once, and settle everything."""
        self.draining = True
        self.dispatcher.close(errors.draining())
        for front in list(self.fronts):
            front.drain()
        deadline = time.monotonic() + graceful_s
        # Many connections, no single event to wait for.
        while any(front.busy or front.unsent for front in self.fronts) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for front in list(self.fronts):
            front.expire(errors.draining())
        await self._beside.end(self.loop.time() + self.settings.abort_wait_s + 1)
        await self.limiter.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.pool.close()
        self.sessions.close()
        self.dispatcher.shut()
        self.journal.close()
        self.conversations.close()
        self.open_requests.beat(journal_healthy=self.journal.healthy)
        self.open_requests.close()
