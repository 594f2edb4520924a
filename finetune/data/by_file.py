"""How many values were replaced in each file of an upload, for the report: those with the most, and how many more there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any

from finetune.data.desensitize.spans import Span

MOST_FILES = 200


@dataclass
class ByFile:
    """Files go by once; only the ones with the most replacements are kept, by their cleaned paths."""

    num_files: int = 0
    num_clean: int = 0
    _most: list[tuple[int, int, str, dict[str, int]]] = field(default_factory=list)

    def see(self, path: str, spans: Sequence[Span]) -> None:
        self.num_files += 1
        if not spans:
            self.num_clean += 1
            return
        rules = dict(sorted(Counter(span.rule for span in spans).items()))
        entry = (len(spans), -self.num_files, path, rules)  # among equals the earlier one stays
        if len(self._most) < MOST_FILES:
            heappush(self._most, entry)
        else:
            heappushpop(self._most, entry)

    def content(self) -> list[dict[str, Any]]:
        """The files with the most first, then one line for all others."""
        most = sorted(self._most, reverse=True)
        rows = [{"name": path, "replacements": count, "rules": rules} for count, _, path, rules in most]
        left = self.num_files - self.num_clean - len(most)
        if left:
            rows.append({"name": f"{left} more files", "replacements": None, "rules": {}})
        if self.num_clean:
            rows.append({"name": f"{self.num_clean} files without any", "replacements": 0, "rules": {}})
        return rows
