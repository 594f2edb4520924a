"""What a worker has seen of a base model's requests: how long answers are, how long requests run and which ended of late."""

from __future__ import annotations

import math

FIRST_GUESS_TOKENS = 256.0
WEIGHT_OF_NEWEST = 0.05
WINDOW_S = 60.0
MIN_WAIT_S, MAX_WAIT_S = 1, 60


class Pace:
    """Of one base model. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.answer_tokens = FIRST_GUESS_TOKENS  # the running mean of one sequence
        self._running_s = 0.0  # the running mean of a request's time at a replica
        self._num_ended = 0
        self._last_end = -math.inf

    def expect(self, num_sequences: int, max_tokens: int) -> int:
        """Tokens that a request's answers will have, as far as anybody can tell."""
        return num_sequences * math.ceil(min(self.answer_tokens, max_tokens))

    def ended(self, began: float, now: float, num_sequences: int, answer_tokens: int) -> None:
        """A request that had its place since `began` ended with so many tokens; one without any tells nothing of answers."""
        self._num_ended += 1
        self._last_end = now
        # At first the plain mean of what there is, so that the first one says how long requests run and not a guess.
        self._running_s += max(1 / self._num_ended, WEIGHT_OF_NEWEST) * (now - began - self._running_s)
        if answer_tokens > 0:
            self.answer_tokens += WEIGHT_OF_NEWEST * (answer_tokens / num_sequences - self.answer_tokens)

    def wait_s(self, num_waiting: int, num_running: int, now: float) -> int:
        """In how many whole seconds so many will have got a place, while so many run and each of them runs its mean time.

        The most there is to say where nothing ended in the last minute.
        """
        if now - self._last_end > WINDOW_S:
            return MAX_WAIT_S
        seconds = num_waiting * self._running_s / max(num_running, 1)
        return max(MIN_WAIT_S, min(math.ceil(seconds), MAX_WAIT_S))
