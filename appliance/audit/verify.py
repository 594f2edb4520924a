"""Whether the log is as it was written: a pure comparison of the entries with each other and with the heads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from appliance.audit.chain import GENESIS, Entry, digest
from appliance.audit.head import Head

HEADS_AT_ONCE = 500


class Kind(StrEnum):
    """What can be wrong."""

    EDITED = "edited"
    MISSING = "missing"
    OUT_OF_ORDER = "out of order"
    BROKEN = "broken"
    REWRITTEN = "rewritten"
    AHEAD = "head ahead"
    NO_HEAD = "no head"
    UNREADABLE = "unreadable head"


@dataclass(frozen=True)
class Fault:
    """One fault: at which entry, and what a person should know."""

    kind: Kind
    seq: int | None
    message: str


def verify(
    entries: Iterable[tuple[Entry, str]],
    heads: Iterable[Head] | None,
    hashes: Callable[[Collection[int]], Mapping[int, str]],
) -> Iterator[Fault]:
    """Compare entries (by number, each with its stored hash) with each other and with the heads; memory is bounded.

    `hashes` looks up the stored hashes of some entries; `heads` is None where there is no head file.
    """
    newest = yield from _chain(entries)
    if heads is not None:
        yield from _against(heads, hashes, newest)
    elif newest:
        yield Fault(Kind.NO_HEAD, None, "the head file is gone: entries cut off at the end can't be noticed")


def _chain(entries: Iterable[tuple[Entry, str]]) -> Generator[Fault, None, int]:
    """Faults within the chain; returns the number of its last entry."""
    last, previous = 0, GENESIS
    for entry, stored in entries:
        seq = entry.seq
        if seq <= last:
            yield Fault(Kind.OUT_OF_ORDER, seq, f"entry {seq} comes after entry {last}")
        elif seq > last + 1:
            gap = f"entry {last + 1} is" if seq == last + 2 else f"entries {last + 1} to {seq - 1} are"
            yield Fault(Kind.MISSING, last + 1, f"{gap} missing")
        elif entry.previous_hash != previous:
            yield Fault(Kind.BROKEN, seq, f"entry {seq} does not follow the entry before it: one of them was replaced")
        if digest(entry) != stored:
            yield Fault(Kind.EDITED, seq, f"entry {seq} was edited: its hash is another one")
        last, previous = seq, stored
    return last


def _against(
    heads: Iterable[Head], hashes: Callable[[Collection[int]], Mapping[int, str]], newest: int
) -> Iterator[Fault]:
    lines = iter(heads)
    while batch := list(islice(lines, HEADS_AT_ONCE)):
        known = hashes([head.seq for head in batch if head.seq is not None])
        for head in batch:
            fault = _of_head(head, known, newest)
            if fault is not None:
                yield fault


def _of_head(head: Head, known: Mapping[int, str], newest: int) -> Fault | None:
    seq = head.seq
    if seq is None:
        return Fault(Kind.UNREADABLE, None, f"line {head.line} of the head file can't be read")
    if seq in known:
        same = known[seq] == head.hash
        told = f"entry {seq} is not the one that the head file remembers: it was replaced"
        return None if same else Fault(Kind.REWRITTEN, seq, told)
    if seq > newest:
        return Fault(
            Kind.AHEAD, seq, f"the head file remembers entry {seq}, and the log ends at {newest}: it was cut off"
        )
    return None  # missing within the chain, which says so itself
