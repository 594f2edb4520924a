"""Cuts the text around a hole to a number of tokens: what is nearest the hole stays, by whole lines where that is possible.

Pure, and bounded by what stays: of a long text only a window next to the hole is ever tokenized. Callers run it in a
thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Tokenizer

# Of the room, where both sides have more than fits; what one side does not need is the other's.
PREFIX_SHARE = 0.75
LEAST_TOKENS = 16  # of text around the hole: with less there is nothing to go by
CHARACTERS_PER_TOKEN = 4  # the first window; it is doubled where that was too little
SPARE_TOKENS = 16  # a window's far end is tokenized differently from the whole text
MAX_ROUNDS = 8


class NoRoom(Exception):
    """Not even the least of the text fits."""


@dataclass(frozen=True)
class Kept:
    """What stays of both sides, and the tokens of the whole prompt that is made of it."""

    prefix: str
    suffix: str
    num_tokens: int


def count(tokenizer: Tokenizer, prompt: str) -> int:
    """Tokens of a prompt, with those that the tokenizer itself puts before it."""
    # In a batch of one: for a single text the library keeps all other threads from running.
    return len(tokenizer.encode_batch_fast([prompt], add_special_tokens=True)[0])


def fit(tokenizer: Tokenizer, prefix: str, suffix: str, write: Callable[[str, str], str], most: int) -> Kept:
    """Both sides cut so that the prompt written from them has at most so many tokens.

    Raises: NoRoom.
    """
    room = most - count(tokenizer, write("", ""))
    before, after = (_Side(tokenizer, text, max(room, 1), end) for text, end in ((prefix, True), (suffix, False)))
    whole = before.whole and after.whole
    least = min(LEAST_TOKENS, before.num_tokens + after.num_tokens) if whole else LEAST_TOKENS
    for _ in range(MAX_ROUNDS):
        if room < least:
            break
        of_prefix, of_suffix = shares(before.num_tokens, after.num_tokens, room)
        kept = before.nearest(of_prefix), after.nearest(of_suffix)
        # A text's pieces may have more tokens than the text had in that place: the sum is what counts.
        num_tokens = count(tokenizer, write(*kept))
        if num_tokens <= most:
            return Kept(*kept, num_tokens)
        room -= num_tokens - most
    raise NoRoom


def shares(of_prefix: int, of_suffix: int, room: int) -> tuple[int, int]:
    """How many tokens each side keeps."""
    if of_prefix + of_suffix <= room:
        return of_prefix, of_suffix
    prefix = min(of_prefix, max(int(room * PREFIX_SHARE), room - of_suffix))
    return prefix, room - prefix


class _Side:
    """The text on one side of the hole, tokenized from the hole on, as far as it could be kept."""

    def __init__(self, tokenizer: Tokenizer, text: str, most: int, ends_at_hole: bool) -> None:
        self._text = text
        self._ends_at_hole = ends_at_hole
        size = (most + SPARE_TOKENS) * CHARACTERS_PER_TOKEN
        while True:
            window = text[-size:] if ends_at_hole else text[:size]
            self.whole = len(window) == len(text)
            # With offsets, which the fast variant does not have.
            self._spans = tokenizer.encode_batch([window], add_special_tokens=False)[0].offsets
            if self.whole or len(self._spans) > most + SPARE_TOKENS:
                break
            size *= 2
        self._skipped = len(text) - len(window) if ends_at_hole else 0
        self.num_tokens = len(self._spans)

    def nearest(self, num_tokens: int) -> str:
        """The text of so many tokens next to the hole, or of somewhat fewer: whole characters, whole lines if possible."""
        if self.whole and num_tokens >= len(self._spans):
            return self._text
        return self._end(num_tokens) if self._ends_at_hole else self._beginning(num_tokens)

    def _end(self, num_tokens: int) -> str:
        spans, first = self._spans, len(self._spans) - num_tokens
        while 0 < first < len(spans) and spans[first][0] < spans[first - 1][1]:
            first += 1  # a character of several tokens stays whole
        if first >= len(spans):
            return ""
        start = self._skipped + spans[first][0]
        kept = self._text[start:]
        if start == 0 or self._text[start - 1] == "\n":
            return kept
        line = kept.find("\n") + 1
        return kept[line:] if 0 < line <= len(kept) // 2 else kept

    def _beginning(self, num_tokens: int) -> str:
        spans, last = self._spans, num_tokens
        while 0 < last < len(spans) and spans[last][0] < spans[last - 1][1]:
            last -= 1
        if last <= 0:
            return ""
        kept = self._text[: spans[last - 1][1]]
        line = kept.rfind("\n") + 1
        return kept[:line] if line > len(kept) // 2 else kept
