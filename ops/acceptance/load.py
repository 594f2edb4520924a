"""The load generator: so many clients, each asking the next thing as soon as it was answered. Nothing is asked twice.

The clients begin one after the other over the first half of the warm-up, and go on after the window until everything that
began inside it has ended, so that its last requests have the same company as the others.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.acceptance.requests import Request
from ops.acceptance.stream import Answer, Stream
from ops.acceptance.workload import Workload

REQUEST_S = 600.0
AFTER_FAILURE_S = 0.5
MIN_FAILURES = 20  # or as many as there are clients: then nothing more is asked


@dataclass(frozen=True)
class Gateway:
    """Where to ask, and with which key."""

    host: str
    port: int
    key: str


@dataclass(frozen=True)
class Loaded:
    """What a load saw. The window is seconds since `began_at`; `cpu_share` is what the generator took of one core in it."""

    requests: list[Request]
    began_at: datetime
    window_s: tuple[float, float]
    cpu_share: float


class Load:
    """One load, from its beginning to the end of its last request."""

    def __init__(self, gateway: Gateway, workload: Workload, prompt: Callable[[int], str]) -> None:
        self._gateway, self._workload, self._prompt = gateway, workload, prompt
        self._numbers = itertools.count(1)
        self._requests: list[Request] = []
        self._num_failed = 0
        self._open_in_window = 0
        self._cut_at: float | None = None
        self._zero = 0.0
        self._window = (0.0, 0.0)
        self._cpu: list[float] = []

    async def run(self) -> Loaded:
        """Put the load on and take it off again."""
        loop = asyncio.get_running_loop()
        first = await asyncio.gather(*(self._prepare() for _ in range(self._workload.concurrency)))
        self._zero, began_at = loop.time(), datetime.now(UTC)
        begin = self._zero + self._workload.warm_up_s
        self._window = (begin, begin + self._workload.duration_s)
        for at in self._window:
            loop.call_at(at, lambda: self._cpu.append(time.process_time()))
        await asyncio.gather(*(self._client(index, *prepared) for index, prepared in enumerate(first)))
        return Loaded(self._requests, began_at, self._window_seen(), self._cpu_share())

    def _window_seen(self) -> tuple[float, float]:
        begin, end = self._window
        end = end if self._cut_at is None else max(begin, min(end, self._cut_at))
        return round(begin - self._zero, 6), round(end - self._zero, 6)

    def _cpu_share(self) -> float:
        if len(self._cpu) < 2:
            return 0.0
        return round((self._cpu[1] - self._cpu[0]) / self._workload.duration_s, 4)

    async def _prepare(self) -> tuple[int, bytes]:
        number = next(self._numbers)
        return number, await asyncio.to_thread(self._bytes_of, number)

    def _bytes_of(self, number: int) -> bytes:
        workload = self._workload
        body = json.dumps(
            {
                "model": workload.model,
                "prompt": self._prompt(number),
                "max_tokens": workload.output_tokens,
                "ignore_eos": True,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: {self._gateway.host}:{self._gateway.port}\r\n"
            f"Authorization: Bearer {self._gateway.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _client(self, index: int, number: int, request: bytes) -> None:
        await asyncio.sleep(index * self._workload.warm_up_s / 2 / self._workload.concurrency)
        loop = asyncio.get_running_loop()
        stream = Stream(loop)
        following: asyncio.Task[tuple[int, bytes]] | None = None
        while self._goes_on(loop.time()):
            following = asyncio.create_task(self._prepare())  # made while this request is answered
            if not stream.is_open:
                stream = await self._connect(loop)
            done = await self._ask(stream, number, request)
            self._requests.append(done)
            number, request = await following
            if not done.succeeded:
                self._failed(loop.time())
                await asyncio.sleep(AFTER_FAILURE_S)
        stream.close()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Stream:
        try:
            _, stream = await loop.create_connection(lambda: Stream(loop), self._gateway.host, self._gateway.port)
        except OSError:
            return Stream(loop)  # asked over it, the request fails
        return stream

    async def _ask(self, stream: Stream, number: int, request: bytes) -> Request:
        loop = asyncio.get_running_loop()
        answer = Answer(self._window)
        began = loop.time()
        counts = self._window[0] <= began < self._window[1]
        self._open_in_window += counts
        await stream.ask(request, answer, REQUEST_S)
        self._open_in_window -= counts
        return self._record(number, answer, began, loop.time())

    def _record(self, number: int, answer: Answer, began: float, ended: float) -> Request:
        usage = answer.usage or {}
        details = usage.get("prompt_tokens_details") or {}
        return Request(
            number=number,
            request_id=answer.request_id,
            status=answer.status,
            began_s=round(began - self._zero, 6),
            ended_s=round((answer.last_at if answer.usage else ended) - self._zero, 6),
            ttft_s=None if answer.first_at is None or answer.error else round(answer.first_at - began, 6),
            events=max(answer.events, 0),
            events_in_window=max(answer.events_in_window, 0),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int(details.get("cached_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            error=answer.error[:500],
        )

    def _goes_on(self, now: float) -> bool:
        return self._cut_at is None and (now < self._window[1] or self._open_in_window > 0)

    def _failed(self, now: float) -> None:
        self._num_failed += 1
        if self._num_failed >= max(MIN_FAILURES, self._workload.concurrency) and self._cut_at is None:
            self._cut_at = now


def put_on(gateway: Gateway, workload: Workload, prompt: Callable[[int], str]) -> Loaded:
    """Run a load to its end."""
    return asyncio.run(Load(gateway, workload, prompt).run())
