"""The comparison itself, without a database: any single change of any chain is found, and an untouched one is whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import GENESIS, Entry, digest
from appliance.audit.head import Head
from appliance.audit.verify import HEADS_AT_ONCE, Kind, verify

Stored = tuple[Entry, str]
AT = datetime(2026, 1, 1, tzinfo=UTC)


def chain(length: int, subject: str = "sk-cr-abcde") -> list[Stored]:
    """A whole chain."""
    made: list[Stored] = []
    for seq in range(1, length + 1):
        previous = made[-1][1] if made else GENESIS
        at = AT + timedelta(seconds=seq)
        entry = Entry(seq, at, "kim", "acme", "key.create", f"{subject}{seq}", {"n": seq}, previous)
        made.append((entry, digest(entry)))
    return made


def kinds(entries: list[Stored], heads: list[Head] | None) -> list[tuple[Kind, int | None]]:
    stored = {entry.seq: entry_hash for entry, entry_hash in entries}

    def hashes(seqs: Collection[int]) -> Mapping[int, str]:
        assert len(seqs) <= HEADS_AT_ONCE
        return {seq: stored[seq] for seq in seqs if seq in stored}

    return [(fault.kind, fault.seq) for fault in verify(iter(entries), None if heads is None else iter(heads), hashes)]


def heads_of(entries: list[Stored]) -> list[Head]:
    return [Head(entry.seq, entry.seq, entry_hash) for entry, entry_hash in entries]


@pytest.mark.parametrize("length", [0, 1, 2, 1200])
def test_an_untouched_chain_is_whole(length: int) -> None:
    entries = chain(length)
    assert kinds(entries, heads_of(entries)) == []


def test_heads_in_another_order_or_fewer_of_them_are_no_fault() -> None:
    entries = chain(6)
    assert kinds(entries, heads_of(entries)[4::-2]) == []
    assert kinds(entries, []) == []


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize(
    "change",
    [
        {"actor": "lee"}, {"tenant_id": None}, {"tenant_id": "other"}, {"action": "key.revoke"}, {"subject": "another"},
        {"details": {"n": 0}}, {"details": {}}, {"at": AT}, {"previous_hash": "f" * 64},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_field_counts(place: int, change: dict[str, Any]) -> None:
    entries = chain(5)
    entry, entry_hash = entries[place]
    entries[place] = (replace(entry, **change), entry_hash)
    assert (Kind.EDITED, place + 1) in kinds(entries, heads_of(entries))


def test_an_edited_entry_with_a_hash_of_its_own_breaks_the_next_one_and_its_head() -> None:
    entries = chain(4)
    heads = heads_of(entries)
    edited = replace(entries[1][0], actor="lee")
    entries[1] = (edited, digest(edited))
    assert kinds(entries, heads) == [(Kind.BROKEN, 3), (Kind.REWRITTEN, 2)]


def test_removed_entries_are_named() -> None:
    entries = chain(6)
    assert kinds(entries[:1] + entries[3:], heads_of(entries)) == [(Kind.MISSING, 2)]
    assert kinds(entries[1:], None)[0] == (Kind.MISSING, 1)


def test_entries_in_another_order_are_found() -> None:
    first, second, third = chain(3)
    assert (Kind.OUT_OF_ORDER, 2) in kinds([first, third, second], [])


def test_two_entries_that_changed_places_are_found() -> None:
    first, second, third = chain(3)
    swapped = [first, (replace(third[0], seq=2), third[1]), (replace(second[0], seq=3), second[1])]
    assert {(Kind.EDITED, 2), (Kind.BROKEN, 2), (Kind.EDITED, 3)} <= set(kinds(swapped, []))


def test_an_end_that_was_cut_off_is_found_by_the_heads_alone() -> None:
    entries = chain(5)
    assert kinds(entries[:3], heads_of(entries)) == [(Kind.AHEAD, 4), (Kind.AHEAD, 5)]
    assert kinds([], heads_of(entries[:1])) == [(Kind.AHEAD, 1)]
    assert kinds(entries[:3], None) == [(Kind.NO_HEAD, None)]


def test_a_chain_written_anew_is_found_by_the_heads_alone() -> None:
    forged = chain(3, subject="sk-cr-other")
    assert kinds(forged, []) == []
    assert kinds(forged, heads_of(chain(3))) == [(Kind.REWRITTEN, 1), (Kind.REWRITTEN, 2), (Kind.REWRITTEN, 3)]


def test_a_head_that_can_not_be_read_is_told_with_its_line() -> None:
    assert kinds(chain(1), [Head(7, None)]) == [(Kind.UNREADABLE, None)]


def test_it_tells_faults_while_it_still_reads() -> None:
    def endless() -> Any:
        first, second = chain(2)
        yield (replace(first[0], actor="lee"), first[1])
        yield second
        for _ in count():
            pytest.fail("it read on although nobody asked for more")

    assert next(verify(endless(), [], lambda _: {})).kind is Kind.EDITED


@given(st.integers(1, 8), st.data())
def test_any_single_edit_is_found(length: int, data: st.DataObject) -> None:
    entries = chain(length)
    heads = heads_of(entries)
    place = data.draw(st.integers(0, length - 1))
    entry, entry_hash = entries[place]
    field = data.draw(st.sampled_from(("actor", "action", "subject")))
    value = data.draw(st.text(max_size=5).filter(lambda text: text != getattr(entry, field)))
    edited = replace(entry, **{field: value})
    entries[place] = (edited, data.draw(st.sampled_from((entry_hash, digest(edited)))))
    assert kinds(entries, heads)
