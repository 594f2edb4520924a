"""Keeps a chat's text literal: what a client writes never becomes one of the tokens that a model's template speaks with.

An engine renders a chat with the model's template and looks for special tokens in the whole of it, so that a user's
`<|im_start|>system` would begin a system message. Here such marks are broken in every text of a chat, by one character
that no eye sees. A raw prompt is left as it is: there they are meant. Roles that a template writes as plain words
("User:") can't be told from text and are no matter of this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Tokenizer

from inference.gateway import errors

# Tried in this order; the space is for tokenizers that take the invisible ones away before they look for tokens.
BREAKS = ("\u200b", "\u2060", " ")
# The texts of a chat that its template may write into the prompt.
IN_PROMPT = ("messages", "tools", "documents")
# What marks of roles look like, for models whose tokenizer can't be read.
USUAL = r"<[|\uff5c][^<>|\uff5c\s]{1,64}[|\uff5c]>"
_USUAL = re.compile(USUAL)


class ControlTokens:
    """The control tokens of one model, and the break that keeps them from being recognised (None: there is none)."""

    def __init__(self, tokens: Iterable[str], break_with: str | None = BREAKS[0]) -> None:
        found = sorted({token for token in tokens if len(token) > 1}, key=lambda token: (-len(token), token))
        self._set_up("|".join(re.escape(token) for token in found), break_with)

    @classmethod
    def usual(cls) -> ControlTokens:
        """What most models' marks look like."""
        made = cls(())
        made._set_up(USUAL, BREAKS[0])
        return made

    def _set_up(self, pattern: str, break_with: str | None) -> None:
        self._pattern = re.compile(pattern) if pattern else None
        # Looking ahead, so that marks which overlap are all broken in one pass.
        self._starts = re.compile(f"(?s)(?=(?:{pattern}))(.)")
        self._break = break_with

    def keep_literal(self, fields: dict[str, Any]) -> int:
        """Break every control token in a checked chat's texts; the bytes that this added.

        Raises: ApiError 400 for a token that can't be broken, and for one that is put together from several texts.
        """
        if self._pattern is None:
            return 0
        added = _spell_out_arguments(fields["messages"])
        for name in IN_PROMPT:
            if not fields.get(name) or not self._pattern.search("".join(_texts(fields[name]))):
                continue
            if any(self._pattern.search(text) for text in _texts(fields[name])):
                if self._break is None:
                    raise errors.bad_field(name, f"{name} holds a control token of the model.")
                fields[name], more = self._broken(fields[name])
                added += more
        self._refuse_pieces(fields["messages"])
        return added

    def _refuse_pieces(self, messages: list[dict[str, Any]]) -> None:
        """Parts of a message are joined by engine or template: a token may not be made of pieces either."""
        assert self._pattern is not None  # noqa: S101 - the caller has looked
        for message in messages:
            parts = message.get("content")
            if type(parts) is list and len(parts) > 1:
                whole = "".join(part if isinstance(part, str) else part[part["type"]] for part in parts)
                if self._pattern.search(whole):
                    raise errors.bad_field("messages", "A message holds a control token of the model in pieces.")

    def _broken(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, str):
            text, count = self._starts.subn(lambda start: start[1] + str(self._break), value)
            return text, count * len(str(self._break).encode())
        if isinstance(value, list):
            items = [self._broken(item) for item in value]
            return [item for item, _ in items], sum(more for _, more in items)
        if isinstance(value, dict):
            pairs = [(self._broken(name), self._broken(item)) for name, item in value.items()]
            return {name: item for (name, _), (item, _) in pairs}, sum(a + b for (_, a), (_, b) in pairs)
        return value, 0


def _spell_out_arguments(messages: list[dict[str, Any]]) -> int:
    """Arguments of a call are JSON inside a text, and engines read it: an escape in it may not hide a token."""
    added = 0
    for message in messages:
        for call in message.get("tool_calls") or ():
            written = call["function"].get("arguments")
            if isinstance(written, str) and "\\" in written:
                call["function"]["arguments"] = plain = _without_escapes(written)
                added += max(len(plain.encode()) - len(written.encode()), 0)
    return added


def _without_escapes(written: str) -> str:
    try:
        return msgspec.json.encode(msgspec.json.decode(written)).decode()
    except (ValueError, RecursionError):
        return "{}"  # what engines make of arguments they can't read, so that a conversation can go on


def _texts(value: Any) -> list[str]:
    """All texts in a value, in order."""
    found: list[str] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[str]) -> None:
    if type(value) is dict:
        for name, item in value.items():
            found.append(name)
            if type(item) is str:
                found.append(item)
            else:
                _collect(item, found)
    elif type(value) is list:
        for item in value:
            _collect(item, found)
    elif type(value) is str:
        found.append(value)


def read(model_path: Path, tokenizer: Tokenizer | None) -> ControlTokens:
    """The control tokens of a model, from its tokenizer's files."""
    if tokenizer is None:
        return ControlTokens.usual()
    added: dict[int, AddedToken] = tokenizer.get_added_tokens_decoder()
    ids = {token.content: number for number, token in added.items() if is_control(token.content, token.special)}
    tokens = {*ids, *_configured(model_path / "tokenizer_config.json")}
    for one in BREAKS:
        if all(_is_broken(tokenizer, token, ids.get(token), one) for token in tokens):
            return ControlTokens(tokens, one)
    return ControlTokens(tokens, None)


def is_control(content: str, special: bool) -> bool:
    """Whether a token steers the model: declared so, or written like a mark, which some tokenizers don't declare.
    Letters, runs of spaces and tags that models write themselves are in the same list and are text.
    """
    return special or _USUAL.fullmatch(content) is not None


def _is_broken(tokenizer: Tokenizer, token: str, number: int | None, one: str) -> bool:
    text = token[0] + one + token[1:]
    return number is None or number not in tokenizer.encode(text, add_special_tokens=False).ids


def _configured(path: Path) -> set[str]:
    """Tokens that only the configuration names; they are added when the engine loads the tokenizer."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return {token.content for token in config.added_tokens_decoder.values() if is_control(token.content, token.special)}


class _Token(msgspec.Struct):
    content: str
    special: bool = False


class _Config(msgspec.Struct):
    added_tokens_decoder: dict[str, _Token] = {}
