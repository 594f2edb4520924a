"""What cleaning does to Python files that parse: the made-up ones, and the standard library of the running Python."""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.python_syntax import parses

# Nobody's own code: installed packages. Tests hold keys and addresses on purpose.
LEFT_OUT = frozenset(("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"))


@dataclass
class Parsed:
    """Files that parsed, how many still do, and what was taken out of them."""

    files: int = 0
    parse_after: int = 0
    characters: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.parse_after / self.files if self.files else 1.0

    @property
    def per_mb(self) -> float:
        """Findings in a million characters."""
        return self.by_rule.total() * 1e6 / self.characters if self.characters else 0.0


def standard_library(most: int | None = None) -> Iterator[str]:
    """Its Python files in the order of their names; evenly chosen ones where at most so many are wanted."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if not LEFT_OUT.intersection(path.relative_to(root).parts))
    step = max(1.0, len(paths) / most) if most else 1.0
    for at in range(len(paths) if most is None else min(most, len(paths))):
        try:
            yield paths[int(at * step)].read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def parsed(texts: Iterable[str]) -> Parsed:
    """Clean the texts as one data set and count those that Python reads before and after."""
    whole = [text for text in texts if parses(text)]
    cleaner, result = Cleaner(Placeholders(b"measure")), Parsed()
    for _ in cleaner.learn((number, (text,)) for number, text in enumerate(whole)):
        pass
    for number, text in enumerate(whole):
        result.files += 1
        result.characters += len(text)
        result.parse_after += parses(cleaner.clean(number, text).text)
        for span in cleaner.find(number, text):
            result.by_rule[span.rule] += 1
            result.findings.append(f"{span.rule}: {text[max(0, span.start - 40) : span.end + 20]!r}")
    return result
