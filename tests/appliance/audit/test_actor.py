"""Who acts, for a block and no longer."""

from __future__ import annotations

import pytest

from appliance.audit.actor import SYSTEM, acting, become, current


def test_nobody_in_particular_is_the_system() -> None:
    assert current() == SYSTEM


def test_a_block_ends_with_who_acted_before_it() -> None:
    with acting("kim"):
        with acting("lee"):
            become("key:sk-cr-abcde")
            assert current() == "key:sk-cr-abcde"
        assert current() == "kim"
    assert current() == SYSTEM


def test_a_block_that_fails_leaves_nobody_behind() -> None:
    with pytest.raises(ZeroDivisionError), acting("kim"):
        raise ZeroDivisionError
    assert current() == SYSTEM
