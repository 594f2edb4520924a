"""Keeps a chat's text literal: what a client writes never becomes one of the tokens that a model's template speaks with.

An engine renders a chat with the model's template and looks for special tokens in the whole of it, so that a user's
`<|im_start|>system` would begin a system message. Here such marks are broken in every text of a chat, by one character
that no eye sees. A raw prompt is left as it is: there they are meant. Roles that a template writes as plain words
("User:") can't be told from text and are no matter of this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from os.path import commonprefix
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
USUAL_LENGTH = 68
# So much of a text is searched at a time: a search lets no other thread run.
STRETCH = 64 * 1024


class ControlTokens:
    """The control tokens of one model, and the break that keeps them from being recognised (None: there is none).

    `folding`: what the tokenizer makes of a text before it looks for those tokens that it has a `folded` form of.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        break_with: str | None = BREAKS[0],
        folding: Callable[[str], str] | None = None,
        folded: Iterable[str] = (),
    ) -> None:
        found = {token for token in tokens if len(token) > 1}
        self._set_up(any_of(found), max(map(len, found), default=0), break_with)
        self._folding = folding
        looks = {one for one in folded if one}
        self._folded = Search(any_of(looks), max(map(len, looks))) if looks else None

    @classmethod
    def usual(cls) -> ControlTokens:
        """What most models' marks look like."""
        made = cls(())
        made._set_up(USUAL, USUAL_LENGTH, BREAKS[0])
        return made

    def _set_up(self, pattern: str, longest: int, break_with: str | None) -> None:
        self._search = Search(pattern, longest) if pattern else None
        self._break = break_with

    def keep_literal(self, fields: dict[str, Any]) -> int:
        """Break every control token in a checked chat's texts; the bytes that this added.

        Raises: ApiError 400 for a token that can't be broken, and for one that is put together from several texts.
        """
        if self._search is None:
            return 0
        added = _spell_out_arguments(fields["messages"])
        for name in IN_PROMPT:
            if not fields.get(name):
                continue
            texts = _texts(fields[name])
            if self._search.find("".join(texts)) >= 0 and any(self._search.find(text) >= 0 for text in texts):
                if self._break is None:
                    raise errors.bad_field(name, f"{name} holds a control token of the model.")
                fields[name], more = self._broken(fields[name])
                added += more
            self._refuse_folded(name, fields[name])
        self._refuse_pieces(fields["messages"])
        return added

    def literal(self, name: str, text: str) -> str:
        """A single text, the field of that name, with every control token in it broken.

        Raises: ApiError 400 for a token that can't be broken.
        """
        if self._search is not None and self._search.find(text) >= 0:
            if self._break is None:
                raise errors.bad_field(name, f"{name} holds a control token of the model.")
            text, _ = self._broken_text(text)
        self._refuse_folded(name, text)
        return text

    def _refuse_folded(self, name: str, value: Any) -> None:
        """What only becomes a token in the tokenizer's hands (`＜` that it reads as `<`) can't be broken beforehand."""
        if self._folding is None or self._folded is None:
            return
        # No token holds a line's end, so that neighbours don't become one here.
        if self._folded.find(self._folding("\n".join(_texts(value)))) >= 0:
            raise errors.bad_field(name, f"{name} holds a control token of the model in disguise.")

    def _refuse_pieces(self, messages: list[dict[str, Any]]) -> None:
        """Parts of a message are joined by engine or template: a token may not be made of pieces either."""
        assert self._search is not None  # noqa: S101 - the caller has looked
        for message in messages:
            parts = message.get("content")
            if type(parts) is list and len(parts) > 1:
                texts = [part if isinstance(part, str) else part[part["type"]] for part in parts]
                # There are templates that trim each part.
                if any(self._search.find("".join(pieces)) >= 0 for pieces in (texts, map(str.strip, texts))):
                    raise errors.bad_field("messages", "A message holds a control token of the model in pieces.")

    def _broken(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, str):
            return self._broken_text(value)
        if isinstance(value, list):
            items = [self._broken(item) for item in value]
            return [item for item, _ in items], sum(more for _, more in items)
        if isinstance(value, dict):
            pairs = [(self._broken(name), self._broken(item)) for name, item in value.items()]
            return {name: item for (name, _), (item, _) in pairs}, sum(a + b for (_, a), (_, b) in pairs)
        return value, 0

    def _broken_text(self, text: str) -> tuple[str, int]:
        assert self._search is not None  # noqa: S101 - the caller has looked
        pieces: list[str] = []
        done, found = 0, self._search.find(text)
        while found >= 0:
            pieces.append(text[done : found + 1])
            # From its second character on, so that marks which overlap are all broken.
            done, found = found + 1, self._search.find(text, found + 1)
        if not pieces:
            return text, 0
        pieces.append(text[done:])
        return str(self._break).join(pieces), (len(pieces) - 1) * len(str(self._break).encode())


class Search:
    """Looks for a pattern of bounded length, a stretch of text at a time."""

    def __init__(self, pattern: str, longest: int) -> None:
        self._pattern = re.compile(pattern)
        self._longest = longest

    def find(self, text: str, start: int = 0) -> int:
        """Where the first match begins; -1 where there is none."""
        while start < len(text):
            match = self._pattern.search(text, start, start + STRETCH + self._longest)
            if match is not None:
                return match.start()
            start += STRETCH
        return -1


def any_of(words: Iterable[str]) -> str:
    """A pattern that finds where any of the words begins. Common beginnings are looked at once, however many words."""
    by_start: dict[str, list[str]] = {}
    for word in words:
        by_start.setdefault(word[:1], []).append(word)
    if "" in by_start:
        return ""
    branches = []
    for _, alike in sorted(by_start.items()):
        start = commonprefix(alike)  # noqa: RUF071 - texts, not paths
        branches.append(re.escape(start) + any_of(word[len(start) :] for word in alike))
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})" if branches else ""


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
    normalizer = tokenizer.normalizer
    folding: Callable[[str], str] | None = normalizer.normalize_str if normalizer is not None else None
    normalized = {token.content for token in added.values() if token.normalized} & ids.keys()
    folded = {folding(token) for token in normalized} if folding else set()
    fitting = (one for one in BREAKS if all(_is_broken(tokenizer, token, ids.get(token), one) for token in tokens))
    return ControlTokens(tokens, next(fitting, None), folding if folded else None, folded)


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
