"""Fill in the middle for whole documents: of a part of them, what stands between two places is learned last (PSM order).

A document that the context can't hold is cut first, and each piece is a document of its own: no hole is learned without what
stands around it. Runs inside an engine slot.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from random import Random
from typing import Any

from finetune.train.literal import parts
from finetune.train.tokens import Example, encode, lead, text_ids, windows

# What a hole may add to a piece: its three tokens, begin and end of the text, and words that it cuts in two.
ROOM = 24


@dataclass(frozen=True)
class Holes:
    """How often a document has a hole, and the ids of the model's own tokens around prefix, suffix and middle."""

    rate: float
    begin: int
    hole: int
    end: int
    seed: int

    def places(self, row: int, piece: int, length: int) -> tuple[int, int] | None:
        """Where the middle of a text of so many characters begins and ends; None where it has no hole.

        The same for the same seed and row, whatever the other rows are.
        """
        random = Random(f"{self.seed}/hole/{row}/{piece}")  # noqa: S311 - repeatable, not secret
        if not length or random.random() >= self.rate:
            return None
        start, end = sorted(random.sample(range(length + 1), 2))
        return start, end


def documents(tokenizer: Any, text: str, row: int, max_length: int, holes: Holes | None) -> list[Example]:
    """A text as one or more documents of at most `max_length` tokens, each with a hole or without."""
    ids = text_ids(tokenizer, text)
    if holes is None or not holes.rate:
        return windows(ids, max_length)
    found = []
    for number, (plain, piece) in enumerate(_pieces(tokenizer, text, ids, max_length)):
        places = holes.places(row, number, len(piece))
        filled = array("i") if places is None else with_hole(tokenizer, piece, *places, holes)
        if 0 < len(filled) <= max_length:
            found.append(Example(filled, ((1, len(filled)),), has_hole=True))
        else:
            found += windows(plain, max_length)
    return found


def with_hole(tokenizer: Any, text: str, start: int, end: int, holes: Holes) -> array[int]:
    """A document in PSM order, all of which is learned, as the gateway asks for a middle."""
    prefix, middle, suffix = (encode(tokenizer, part) for part in (text[:start], text[start:end], text[end:]))
    whole = [*lead(tokenizer), holes.begin, *prefix, holes.hole, *suffix, holes.end, *middle]
    if tokenizer.eos_token_id is not None:
        whole.append(tokenizer.eos_token_id)
    return array("i", whole)


def _pieces(tokenizer: Any, text: str, ids: array[int], max_length: int) -> list[tuple[array[int], str]]:
    """A document's tokens and characters, cut into as few like parts as leave each room for a hole."""
    most = max(max_length - ROOM, max_length // 2)
    count = math.ceil(len(ids) / most)
    if count <= 1:
        return [(ids, text)]
    size = math.ceil(len(ids) / count)
    starts = range(0, len(ids), size)
    places = _places(tokenizer, text)
    # where the end token alone begins a piece, there are no characters left
    cuts = [0, *(places[start] if start < len(places) else len(text) for start in starts[1:]), len(text)]
    return [(ids[start : start + size], text[cuts[number] : cuts[number + 1]]) for number, start in enumerate(starts)]


def _places(tokenizer: Any, text: str) -> list[int]:
    """At which character each token of `text_ids` begins, those of the lead included, without an end token."""
    found, done = [0] * len(lead(tokenizer)), 0
    for part in parts(tokenizer, text):
        told = tokenizer(part, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        found += [done + start for start, _ in told["offset_mapping"]]
        done += len(part)
    return found
