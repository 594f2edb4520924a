"""What a worker has seen of a base model's requests: how long answers are, and how many end in a second."""

from __future__ import annotations

import math
from collections import deque

FIRST_GUESS_TOKENS = 256.0
WEIGHT_OF_NEWEST = 0.05
REMEMBERED_ENDS = 64
WINDOW_S = 60.0
MIN_WAIT_S, MAX_WAIT_S = 1, 60


class Pace:
    """Of one base model. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.answer_tokens = FIRST_GUESS_TOKENS  # the running mean of one sequence
        self._ends: deque[float] = deque(maxlen=REMEMBERED_ENDS)

    def expect(self, num_sequences: int, max_tokens: int) -> int:
        """Tokens that a request's answers will have, as far as anybody can tell."""
        return num_sequences * math.ceil(min(self.answer_tokens, max_tokens))

    def ended(self, now: float, num_sequences: int, answer_tokens: int) -> None:
        """A request ended with so many tokens."""
        self._ends.append(now)
        self.answer_tokens += WEIGHT_OF_NEWEST * (answer_tokens / num_sequences - self.answer_tokens)

    def wait_s(self, num_waiting: int, now: float) -> int:
        """In how many whole seconds so many will have been served, by the rate of what ended in the last minute."""
        while self._ends and now - self._ends[0] > WINDOW_S:
            self._ends.popleft()
        if not self._ends:
            return MAX_WAIT_S
        per_s = len(self._ends) / max(now - self._ends[0], 1.0)
        return max(MIN_WAIT_S, min(math.ceil(num_waiting / per_s), MAX_WAIT_S))
