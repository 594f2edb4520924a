"""How far an installation is, as values that a terminal, a log or a page can show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a set-up, for a person: `done` of `total` things in this stage (0 of 0: not countable)."""

    stage: str
    text: str
    done: int = 0
    total: int = 0


Tell = Callable[[Progress], None]


class PipDisplay:
    """Reads pip's output and counts packages: fetched ones by its lines, unpacked ones by asking `count_installed`."""

    def __init__(self, tell: Tell, total: int, count_installed: Callable[[], int]) -> None:
        self._tell = tell
        self._total = total
        self._count_installed = count_installed
        self._fetched: set[str] = set()
        self._shown = Progress("", "")

    def on_line(self, line: str) -> None:
        """Take one line of pip's output."""
        if line.startswith(("Collecting ", "Processing ")):  # from an index, or from a folder
            package = line.split()[1].rsplit("/", 1)[-1]
            self._fetched.add(package)
            self._show(Progress("fetching", package, len(self._fetched), self._total))
        elif line.startswith("Installing collected packages"):
            self._show(Progress("installing", "unpacking packages", 0, self._total))

    def on_poll(self) -> None:
        """Look again while pip is silent, as it is for the whole unpacking."""
        if self._shown.stage == "installing":
            done = min(self._total, self._count_installed())
            self._show(Progress("installing", "unpacking packages", done, self._total))

    def _show(self, progress: Progress) -> None:
        if progress != self._shown:
            self._shown = progress
            self._tell(progress)
