"""How many requests of a batch may run at once: few at first, more while answers come, fewer when the appliance says later.

Pure: the caller tells the time (seconds of any clock that only rises).
"""

from __future__ import annotations

FIRST = 2.0
MOST = 32.0


class Pace:
    """One tenant's requests to one model. Until the first refusal the limit doubles each round, afterwards it grows by one."""

    def __init__(self, most: float = MOST) -> None:
        self.limit = min(FIRST, most)
        self.num_running = 0
        self.not_before = 0.0
        self._most = most
        self._shrunk_at = -1.0
        self._was_refused = False

    def wait_s(self, now: float) -> float | None:
        """0 where one more may be sent, None where one has to end first, else the time to wait."""
        if self.num_running >= int(self.limit):
            return None
        return max(0.0, self.not_before - now)

    def begin(self) -> None:
        """One more runs."""
        self.num_running += 1

    def end(self) -> None:
        """One less runs."""
        self.num_running -= 1

    def answered(self) -> None:
        """The appliance took one: there is room for a little more."""
        self.limit = min(self.limit + (1.0 / self.limit if self._was_refused else 1.0), self._most)

    def refused(self, sent_at: float, now: float, wait_s: float) -> None:
        """The appliance said later. What was sent before the last step back says nothing new about the room there is."""
        self.not_before = max(self.not_before, now + wait_s)
        if sent_at > self._shrunk_at:
            self.limit = max(1.0, self.limit / 2)
            self._shrunk_at = now
            self._was_refused = True
