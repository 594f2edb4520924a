"""From the bytes of an exchange to its texts, for people and for an export. Whatever the bytes are, something comes of them:
clients and models wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

DATA = b"data: "


@dataclass
class Choice:
    """One answer of a request; `calls` are the tools it wants called, as JSON."""

    text: str = ""
    reasoning: str = ""
    calls: str = ""
    finish_reason: str | None = None


@dataclass(frozen=True)
class Said:
    """One part of what was asked: a chat's message with its role, or a prompt."""

    role: str
    text: str


@dataclass(frozen=True)
class Exchange:
    """What was asked and answered. `request` is the body as JSON, or as text where it is none."""

    request: Any
    asked: list[Said] = field(default_factory=list)
    answers: list[Choice] = field(default_factory=list)


def exchange(request: bytes, answer: bytes, stream: bool) -> Exchange:
    """Read both."""
    body = _json(request)
    events = _events(answer) if stream else iter([_json(answer)])
    return Exchange(body, list(_asked(body)), _answers(events))


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode(errors="replace")


def _asked(body: Any) -> Iterator[Said]:
    if not isinstance(body, dict):
        yield Said("", str(body))
        return
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            known = message if isinstance(message, dict) else {"content": message}
            yield Said(str(known.get("role", "")), _text(known.get("content")) or _pretty(known.get("tool_calls")))
        return
    yield Said("prompt", _text(body.get("prompt")))
    if body.get("suffix"):
        yield Said("suffix", _text(body["suffix"]))


def _text(content: Any) -> str:
    """A text, or the texts of a list of parts; anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "\n".join(str(part["text"]) for part in content)
    return _pretty(content)


def _pretty(content: Any) -> str:
    return "" if content is None else json.dumps(content, ensure_ascii=False, indent=2)


def _events(answer: bytes) -> Iterator[Any]:
    for event in answer.split(b"\n\n"):
        if event.startswith(DATA) and event != b"data: [DONE]":
            yield _json(event[len(DATA) :])


def _answers(events: Iterator[Any]) -> list[Choice]:
    found: dict[int, Choice] = {}
    for event in events:
        choices = event.get("choices") if isinstance(event, dict) else None
        for part in choices if isinstance(choices, list) else []:
            if isinstance(part, dict) and isinstance(part.get("index"), int):
                _add(found.setdefault(part["index"], Choice()), part)
    return [found[index] for index in sorted(found)]


def _add(choice: Choice, part: dict[str, Any]) -> None:
    said = part.get("delta") or part.get("message") or part
    if isinstance(said, dict):
        content = said.get("content") or said.get("text")
        choice.text += content if isinstance(content, str) else ""
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        choice.reasoning += reasoning if isinstance(reasoning, str) else ""
        choice.calls += _pretty(said.get("tool_calls") or None)
    choice.finish_reason = part.get("finish_reason") or choice.finish_reason
