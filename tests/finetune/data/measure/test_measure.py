"""The detectors reach what is promised on a small seeded sample, and the labelled files are what they say they are."""

from __future__ import annotations

import pytest
from stdnum import luhn
from stdnum.cn import uscc

from finetune.data.desensitize.spans import Span
from finetune.data.measure import people
from finetune.data.measure.draw import Draw
from finetune.data.measure.pages import EITHER, Label, Page, pages
from finetune.data.measure.python_files import parsed, standard_library
from finetune.data.measure.score import CLASSES, Score, count_findings, count_values, score
from finetune.data.python_syntax import parses

# The command's default is seed 1: the rules were looked at with that one, not with this.
SEED, FILES = 20260, 240


@pytest.fixture(scope="module")
def made() -> list[Page]:
    return list(pages(SEED, FILES))


@pytest.fixture(scope="module")
def scored(made: list[Page]) -> Score:
    return score(made)


@pytest.mark.parametrize("name", [name for name, _, recall, _ in CLASSES if recall])
def test_a_class_reaches_its_recall_and_precision(scored: Score, name: str) -> None:
    row = next(row for row in scored.rows() if row.name == name)
    assert row.positives >= 40
    assert row.reached, (row, [line for line in scored.missed if line.startswith(name)])


def test_python_files_parse_before_and_after(made: list[Page]) -> None:
    python = [page.text for page in made if page.path.endswith(".py")]
    assert all(map(parses, python))
    result = parsed([*python, *standard_library(12)])
    assert result.files >= len(python) + 10
    assert result.share >= 0.99


def test_the_same_seed_makes_the_same_files(made: list[Page]) -> None:
    assert list(pages(SEED, 24)) == made[:24]
    assert next(pages(SEED + 1, 1)) != made[0]


def test_every_class_has_values_and_labels_are_where_the_values_are(made: list[Page]) -> None:
    labels = [(page, label) for page in made for label in page.labels]
    assert {label.kind for _, label in labels} == {kind for _, kinds, _, _ in CLASSES for kind in kinds} | {EITHER}
    for page, label in labels:
        value = page.text[label.start : label.end]
        assert value == value.strip()
        if label.kind == "e-mail":
            assert "@" in value


def test_made_numbers_have_right_and_wrong_checksums() -> None:
    draw = Draw("numbers")
    for _ in range(50):
        assert luhn.is_valid(people.bank_card(draw).replace(" ", ""))
        assert not luhn.is_valid(people.bank_card(draw, right=False).replace(" ", ""))
        assert uscc.is_valid(people.company_code(draw))
        assert not uscc.is_valid(people.company_code(draw, right=False))


def test_a_value_of_which_something_is_left_is_not_found() -> None:
    page = Page("a.py", 'key = "abc12345"', [Label(7, 15, "passwords", "password")])
    result = Score()
    count_values(page, [Span(7, 14, "password_assignment", "PASSWORD", "")], result)
    assert not result.found
    assert len(result.missed) == 1


def test_taking_the_whole_file_is_no_right_finding() -> None:
    page = Page("a.py", 'password = "abc12345"\n' * 1 + "x = 1\n" * 20, [Label(12, 20, "passwords", "password")])
    result = Score()
    count_findings(page, [Span(0, len(page.text), "password_assignment", "PASSWORD", "")], result)
    assert (result.right["passwords"], result.wrong["passwords"]) == (0, 1)
