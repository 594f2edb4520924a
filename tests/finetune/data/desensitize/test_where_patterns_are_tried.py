"""Patterns tried only where a hint stands find what they find everywhere, to the place and in the same order."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.desensitize import addresses, credentials, numbers, scanner_groups, scanner_windows, vendor_keys
from finetune.data.desensitize.on_lines import matches, matches_with_digits
from finetune.data.desensitize.spans import without_escapes
from finetune.data.desensitize.telling_words import Telling
from finetune.data.filters import lines
from finetune.data.imports import python
from finetune.data.measure.pages import pages
from finetune.data.rows import TextRow

BY_DIGITS = (
    (numbers.RESIDENT_ID, numbers.HAS_RESIDENT_ID),
    (numbers.COMPANY_CODE, numbers.HAS_COMPANY_CODE),
    (numbers.CARD, numbers.HAS_CARD),
    *zip(numbers.PHONES, numbers.HAS_PHONE, strict=True),
    (addresses.IPV4, addresses.HAS_IPV4),
)
PIECES = (
    *(
        "password",
        "PassWord",
        "passwd",
        "pwd",
        "pass",
        "token",
        "secret_key",
        "api-key",
        "access_key_id",
        "credentials",
    ),
    *(
        "密码",
        "密钥",
        "sk",
        "ak",
        "bearer ",
        "curl -u me:",
        "${",
        "}",
        "://",
        "@",
        "http",
        "identified by ",
        "docker login",
    ),
    *(" = ", ": ", '"', "'", "`", "(", ")", ", ", "\n", "\n\n", "    ", ".set", "value=", "|", ">", "</", "export "),
    *(
        "a1b2c3d4e5f6",
        "hunter2x",
        "Xk9fLq2mZp7w",
        "s3cr3t.Pa55",
        "getHttpServerNameOf",
        "İ",
        "é",
        "\\n",
        "\\u0061",
        "#",
        "%20",
    ),
    *(
        "13812345678",
        "138 1234 5678",
        "+49 30 123456",
        "212-555-0188",
        "4111 1111 1111 1111",
        "10.1.2.3",
        "1.2.3",
        "fe80::1",
    ),
    *(
        "11010519491231002X",
        "0755-12345678",
        "import os",
        "from . import (a,",
        "a@b.example",
        "AKIAABCDEFGHIJKLMNOP",
        "v1",
    ),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
PAGES = [page.text for page in pages(11, 60)]


def places(found: Iterator[re.Match[str]]) -> list[tuple[int, int]]:
    return [match.span() for match in found]


def same_everywhere(text: str) -> None:
    for pattern, hints in BY_DIGITS:
        assert places(matches_with_digits(pattern, hints, text)) == places(pattern.finditer(text)), pattern.pattern
    assert places(matches(addresses.EMAIL, addresses.HAS_EMAIL, text)) == places(addresses.EMAIL.finditer(text))
    assert places(iter(python._statements(text))) == places(python.STATEMENT.finditer(text))
    plain = without_escapes(text)
    every = [match.span("v") for pattern in vendor_keys.KEYS.values() for match in pattern.finditer(plain)]
    assert [(span.start, span.end) for span in vendor_keys.find(text)] == every
    runs = [match.span() for match in scanner_windows.RUN.finditer(text)]
    hot = [at for at in runs if scanner_windows.DIGIT.search(text, *at) or scanner_windows.CHANGES.search(text, *at)]
    assert list(scanner_windows._runs(text)) == hot
    lengths = [len(line) for line in text.removesuffix("\n").split("\n")]
    objection = lines.objection(TextRow("a.py", text)) or ""
    assert ("longest" in objection) == (max(lengths) > lines.MAX_LINE)
    assert ("mean" in objection) == (max(lengths) <= lines.MAX_LINE and sum(lengths) > 100 * len(lengths))


def values_everywhere(rule: credentials._Rule, text: str) -> list[tuple[int, int]]:
    return [match.span(match.lastgroup or "v") for match in rule.pattern.finditer(text)]


@given(TEXTS)
def test_in_pieces_of_code_put_together_by_chance(text: str) -> None:
    same_everywhere(text)


@pytest.mark.parametrize("text", PAGES, ids=range(len(PAGES)))
def test_on_made_pages(text: str) -> None:
    same_everywhere(text)


def test_rules_for_credentials_find_at_their_words_what_they_find_everywhere() -> None:
    num = 0
    for text in PAGES:
        for rule in credentials.RULES:
            found = [match.span(match.lastgroup or "v") for match in credentials._matches(rule, Telling(text))]
            assert found == values_everywhere(rule, text), rule.pattern.pattern
            num += len(found)
    assert num > 100


@given(st.integers(0, 3), TEXTS)
def test_a_long_line_is_found_wherever_it_stands(before: int, text: str) -> None:
    longest = f"{text}\n" * before + "x" * 1001 + "\nshort"
    assert "longest" in (lines.objection(TextRow("a.py", longest)) or "")
    assert "longest" not in (lines.objection(TextRow("a.py", "x" * 1000 + "\n" + "x" * 1000)) or "")


def test_texts_go_to_the_scanner_once_and_whole_those_with_common_words_together() -> None:
    rare = {number: ["jira token = a1" * 3000 if number % 2 else "okta = b2 " * 3000] for number in range(10, 30)}
    parts = {1: ["token = x"], 2: ["nothing of theirs 12345678901234567890"], 3: ["secret = y", "api_key = z"]} | rare
    groups = scanner_groups.of(parts)
    assert groups[0] == [1, 2, 3]
    assert sorted(number for group in groups for number in group) == sorted(parts)
    assert all(len({number % 2 for number in group}) == 1 for group in groups[1:])
    assert scanner_groups.of({}) == []
