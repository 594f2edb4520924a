"""Ledger against engine: what is wrong is told from what is only not known yet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.metering.books import LifeBooks, Tokens

counts = st.integers(0, 1000)
tokens = st.builds(Tokens, counts, counts)


def life(engine: Tokens, ledger: Tokens, settled: Tokens, *, at_rest: bool = True) -> LifeBooks:
    return LifeBooks("life", None, "m", at_rest, at_rest, engine, ledger, settled, 1, 0, 0)


def test_what_nobody_is_billed_for_is_unattributed_once_the_engine_rests() -> None:
    books = life(Tokens(10, 100), Tokens(7, 90), Tokens(7, 90))
    assert books.unattributed == Tokens(3, 10)
    assert not books.overbilled
    assert life(Tokens(10, 100), Tokens(7, 90), Tokens(7, 90), at_rest=False).unattributed is None


def test_more_than_the_engine_made_is_overbilled_however_little_the_other_direction_has() -> None:
    books = life(Tokens(10, 100), Tokens(11, 50), Tokens(11, 50))
    assert books.overbilled == Tokens(1, 0)
    assert books.unattributed == Tokens(0, 50)


def test_what_ended_after_the_last_reading_is_not_an_alarm() -> None:
    books = life(Tokens(10, 100), Tokens(20, 130), Tokens(10, 100))
    assert not books.overbilled
    assert books.unread == Tokens(10, 30)


@given(engine=tokens, settled=tokens, later=tokens)
def test_the_sums_agree(engine: Tokens, settled: Tokens, later: Tokens) -> None:
    books = life(engine, settled + later, settled)
    assert books.unattributed is not None
    for name in ("prompt", "completion"):
        explained = getattr(engine, name) + getattr(books.overbilled, name) + getattr(books.unread, name)
        assert getattr(books.ledger, name) + getattr(books.unattributed, name) == explained
