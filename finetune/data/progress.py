"""How far the preparation of an upload is: the stage, and what of it went by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from finetune.data.rows import ChatRow, TextRow

STAGES = ("reading", "scanning", "writing")
EVERY_S = 5.0

# Gets the stage, the rows that went by in it, and their characters.
Progress = Callable[[str, int, int], None]
Item = TypeVar("Item")


class Meter:
    """Counts what goes by; tells every few seconds and at the end of each stage."""

    def __init__(self, tell: Progress, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._every_s, self._clock = tell, every_s, clock

    def watch(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items. What is no row is passed on uncounted."""
        rows = characters = 0
        told = self._clock()
        for item in items:
            yield item
            if isinstance(item, ChatRow | TextRow):
                rows += 1
                characters += sum(map(len, item.texts()))
            if self._clock() - told >= self._every_s:
                self._tell(stage, rows, characters)
                told = self._clock()
        if rows:
            self._tell(stage, rows, characters)
