"""Prompts: as long as asked, different from their first word on, the same for the same seed."""

from __future__ import annotations

from itertools import pairwise, takewhile
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ops.acceptance.errors import CannotRun
from ops.acceptance.prompts import Cutter, Prompts, cutter


@pytest.fixture
def cut(tmp_path: Path) -> Cutter:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return cutter(tmp_path)


def beginning(texts: list[str]) -> str:
    """What all of them begin with."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)


def count(cut: Cutter, text: str) -> int:
    return next(number for number in range(len(text) + 1) if cut(text, number + 1) is None)


@pytest.mark.parametrize("length", [1, 7, 300])
def test_a_prompt_has_the_tokens_that_were_asked_for(cut: Cutter, length: int) -> None:
    assert count(cut, Prompts(1, length, 0.0, cut).prompt(3)) == length


def test_no_two_prompts_begin_alike_and_the_seed_decides(cut: Cutter) -> None:
    some = [Prompts(1, 50, 0.0, cut).prompt(number) for number in range(50)]
    assert len(set(some)) == 50
    assert all(len(beginning([a, b])) < 12 for a, b in pairwise(some))
    assert some[3] == Prompts(1, 50, 0.0, cut).prompt(3)
    assert some[3] != Prompts(2, 50, 0.0, cut).prompt(3)


def test_a_declared_hit_rate_is_the_share_that_prompts_have_in_common(cut: Cutter) -> None:
    prompts = Prompts(1, 400, 0.5, cut)
    common = beginning([prompts.prompt(number) for number in range(20)])
    assert 195 <= count(cut, common) <= 205
    assert count(cut, prompts.prompt(1)) == 400


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"tokenizer\.json"):
        cutter(tmp_path)
