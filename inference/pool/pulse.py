"""Decides when an engine counts as hung, from its canaries and its counters. Sending and acting are the keeper's."""

from inference.pool.store import Counters


class Pulse:
    """Decides when an engine is hung: a canary waits for `timeout_s` while the engine's counters stand still.

    A busy engine may answer a canary late; as long as its counters move it is working. With `at_work_s`, one that is
    seen at work without a token gets that long. Times are monotonic seconds.
    """

    def __init__(self, timeout_s: float, at_work_s: float = 0.0) -> None:
        self._timeout_s = timeout_s
        self._at_work_s = at_work_s
        self._seen: tuple[int, int, float] | None = None
        self._waiting_since: float | None = None
        self._silent_since = 0.0

    def canary_sent(self, now: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = self._silent_since = now

    def canary_succeeded(self) -> None:
        self._waiting_since = None

    def counters_read(self, counters: Counters, now: float) -> None:
        """Any change since the last reading is a sign of life."""
        seen = (counters.prompt_tokens, counters.generation_tokens, counters.kv_usage)
        if self._waiting_since is not None and self._seen is not None and seen != self._seen:
            self._waiting_since = self._silent_since = now
        self._seen = seen

    def at_work(self, now: float) -> None:
        """Its processes compute: a sign of life, but not for ever."""
        if self._waiting_since is not None:
            latest = self._silent_since + self._at_work_s - self._timeout_s
            self._waiting_since = max(self._waiting_since, min(now, latest))

    def silent_s(self, now: float) -> float:
        """For how long a canary has waited while the counters stood still; 0 while none waits."""
        return 0.0 if self._waiting_since is None else now - self._silent_since

    def is_hung(self, now: float) -> bool:
        return self._waiting_since is not None and now - self._waiting_since >= self._timeout_s
