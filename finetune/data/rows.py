"""The two kinds of training rows. Both know which of their strings people wrote, so that cleaning treats them alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class ChatRow:
    """A conversation; its last message is the assistant's. `line` is where it was in the upload."""

    line: int
    messages: tuple[tuple[str, str], ...]
    num_ignored_fields: int = 0

    def texts(self) -> tuple[str, ...]:
        return tuple(content for _, content in self.messages)

    def with_texts(self, texts: Sequence[str]) -> ChatRow:
        roles = (role for role, _ in self.messages)
        return replace(self, messages=tuple(zip(roles, texts, strict=True)))

    def content(self) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": text} for role, text in self.messages]}


@dataclass(frozen=True)
class TextRow:
    """One source file of an archive."""

    path: str
    text: str

    def texts(self) -> tuple[str, ...]:
        """The text first: what an excerpt is cut from. The path too can name a person."""
        return (self.text, self.path)

    def with_texts(self, texts: Sequence[str]) -> TextRow:
        text, path = texts
        return TextRow(path, text)

    def content(self) -> dict[str, Any]:
        return {"text": self.text, "path": self.path}


Row = ChatRow | TextRow


@dataclass(frozen=True)
class Skipped:
    """A member of an archive that never becomes a row, and why."""

    reason: str


def line_of(row: Row) -> str:
    """The row as one line of rows.jsonl."""
    return json.dumps(row.content(), ensure_ascii=False, separators=(",", ":")) + "\n"
