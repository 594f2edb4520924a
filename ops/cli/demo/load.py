"""Clients that go on asking one model, a few requests a second, and never try anything twice: what fails, failed."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from types import TracebackType

import openai

CLIENTS = 3
PERIOD_S = 0.6  # of each client, so five requests a second at most
MAX_TOKENS = 4


class Load:
    """Asks from entering to leaving; half of the requests are streamed. Afterwards every one of them has ended."""

    def __init__(self, client: openai.OpenAI, model: str, key_id: str, lead_s: float) -> None:
        """`lead_s`: how long to ask before the block begins."""
        self._client = client
        self._model = model
        self._lead_s = lead_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number,), daemon=True) for number in range(CLIENTS)
        ]
        self.key_id = key_id
        self.began = datetime.now(UTC)
        self.sent = 0
        self.streamed = 0
        self.slowest_ms = 0
        self.failures: list[str] = []

    def __enter__(self) -> Load:
        self.began = datetime.now(UTC)
        for thread in self._threads:
            thread.start()
        time.sleep(self._lead_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, number: int) -> None:
        count = number
        while not self._stop.wait(PERIOD_S):
            count += 1
            begin = time.monotonic()
            failure = self._ask(f"def f{number}_{count}(a, b):\n    ", stream=count % 2 == 0)
            took_ms = round((time.monotonic() - begin) * 1000)
            with self._lock:
                self.sent += 1
                self.streamed += count % 2 == 0
                self.slowest_ms = max(self.slowest_ms, took_ms)
                if failure:
                    self.failures.append(failure)

    def _ask(self, prompt: str, *, stream: bool) -> str:
        """One request; what went wrong, or nothing."""
        try:
            if not stream:
                answer = self._client.completions.create(model=self._model, prompt=prompt, max_tokens=MAX_TOKENS)
                return "" if answer.choices[0].finish_reason else "an answer without an end"
            last = ""
            events = self._client.completions.create(
                model=self._model, prompt=prompt, max_tokens=MAX_TOKENS, stream=True
            )
            for event in events:
                last = next((choice.finish_reason or "" for choice in event.choices), last)
            return "" if last else "a stream without an end"
        except openai.OpenAIError as error:
            return f"{type(error).__name__}: {error}"
