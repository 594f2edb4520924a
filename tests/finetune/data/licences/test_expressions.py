"""Expressions of SPDX: what they mean, what is unwanted of them, and that nothing hostile gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.licences.expressions import all_of, parse
from finetune.data.licences.families import OTHER, unwanted_names


@pytest.mark.parametrize(
    ("text", "name", "family"),
    [
        ("MIT", "MIT", "permissive"),
        ("mit */", "MIT", "permissive"),
        ("Apache-2.0 or MIT -->", "Apache-2.0 OR MIT", "permissive"),
        ("GPL-2.0+", "GPL-2.0-or-later", "strong_copyleft"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only", "strong_copyleft"),
        ("GPL-2.0-only OR BSD-3-Clause", "BSD-3-Clause OR GPL-2.0-only", "permissive"),
        ("MIT AND GPL-3.0-only", "GPL-3.0-only AND MIT", "strong_copyleft"),
        ("(MIT OR Apache-2.0) AND ISC", "(Apache-2.0 AND ISC) OR (ISC AND MIT)", "permissive"),
        ("LicenseRef-Acme", OTHER, OTHER),
        ("MIT OR LicenseRef-Acme", "MIT OR other", "permissive"),
        ("", OTHER, OTHER),
        ("(MIT", OTHER, OTHER),
        ("MIT OR", OTHER, OTHER),
        ("MIT)", OTHER, OTHER),
        (" OR ".join(["(MIT AND ISC)"] * 3 + ["(BSL-1.0 AND Zlib)", "(Vim AND W3C)", "(X11 AND JSON)"]), OTHER, OTHER),
    ],
)
def test_it_reads_an_expression(text: str, name: str, family: str) -> None:
    assert (parse(text).name, parse(text).family) == (name, family)


@pytest.mark.parametrize(
    ("text", "unwanted", "drops"),
    [
        ("GPL-2.0-only", "strong_copyleft", True),
        ("GPL-2.0-or-later", "GPL-2.0", True),
        ("GPL-2.0-or-later", "GPL-2.0-only", False),
        ("GPL-2.0-only OR MIT", "strong_copyleft", False),
        ("GPL-2.0-only OR MIT", "strong_copyleft,mit", True),
        ("GPL-2.0-only AND MIT", "strong_copyleft", True),
        ("LGPL-2.1-only", "strong_copyleft", False),
        ("LicenseRef-Acme", "strong_copyleft", False),
        ("LicenseRef-Acme", "other", True),
    ],
)
def test_a_licence_is_unwanted_where_every_choice_is(text: str, unwanted: str, drops: bool) -> None:
    assert parse(text).is_unwanted(frozenset(unwanted_names(unwanted))) is drops


def test_a_list_with_an_unknown_word_is_refused_by_that_word() -> None:
    assert unwanted_names(" strong_copyleft , mit,MIT,") == ("strong_copyleft", "MIT")
    assert unwanted_names("") == ()
    with pytest.raises(ValueError, match="copyright, GPL-9: neither a family"):
        unwanted_names("MIT,copyright,GPL-9")


@given(st.text(alphabet="()MITANDORWITH+.- GPL", max_size=400))
def test_anything_is_read_to_the_end(text: str) -> None:
    assert parse(text).choices


def test_many_choices_at_once_are_cut_off_before_they_multiply() -> None:
    assert all_of([parse(f"MIT OR LicenseRef-{number} OR ISC") for number in range(60)]).name != ""
    assert all_of([parse("MIT OR ISC")] * 60) == parse("MIT OR ISC")
    assert all_of([parse("MIT"), parse("GPL-3.0-only")]) == parse("MIT AND GPL-3.0-only")
    assert all_of([]).name == OTHER
