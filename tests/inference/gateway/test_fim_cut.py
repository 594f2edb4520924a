"""Cutting text around a hole, with a byte-level tokenizer as DeepSeek's: exact counts, whole characters, whole lines."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, processors

from inference.gateway import fim_tokens
from inference.gateway.fim import write
from inference.gateway.fim_cut import LEAST_TOKENS, Kept, NoRoom, count, fit, shares
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from tests.inference.gateway.test_control_tokens import BOS, EOS, trained

FRAME = 4  # begin of sentence, begin, hole, end
CODE = "".join(f"def f_{number}(a, b):\n    return a * {number} + b\n\n" for number in range(400))


@functools.cache
def tokenizer() -> Tokenizer:
    made = Tokenizer.from_str(trained())
    made.add_tokens([AddedToken(FIM_END, normalized=False, special=False)])
    first = made.token_to_id(BOS)
    made.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, first)])
    return made


class Watched:
    """A tokenizer that says how much text it was given."""

    def __init__(self) -> None:
        self.num_characters = 0

    def encode_batch(self, texts: list[str], **how: Any) -> Any:
        self.num_characters += sum(map(len, texts))
        return tokenizer().encode_batch(texts, **how)

    def encode_batch_fast(self, texts: list[str], **how: Any) -> Any:
        self.num_characters += sum(map(len, texts))
        return tokenizer().encode_batch_fast(texts, **how)


def cut(prefix: str, suffix: str, most: int) -> Kept:
    return fit(tokenizer(), prefix, suffix, write, most)


def test_what_fits_stays_as_it_is() -> None:
    whole = count(tokenizer(), write("a = 1\n", "b = 2\n"))
    assert cut("a = 1\n", "b = 2\n", whole) == Kept("a = 1\n", "b = 2\n", whole)
    assert cut("", "b", 64).num_tokens == FRAME + 1


def test_the_prefix_keeps_its_end_and_the_suffix_its_beginning() -> None:
    kept = cut(CODE, CODE, 400)
    assert CODE.endswith(kept.prefix)
    assert CODE.startswith(kept.suffix)
    assert 380 < kept.num_tokens <= 400
    sizes = [count(tokenizer(), text) - 1 for text in (kept.prefix, kept.suffix)]
    assert sizes[0] + sizes[1] + FRAME == kept.num_tokens
    assert 0.65 < sizes[0] / sum(sizes) < 0.8


def test_both_sides_are_cut_between_lines() -> None:
    kept = cut(CODE, CODE, 400)
    assert CODE[: -len(kept.prefix)].endswith("\n")
    assert kept.suffix.endswith("\n")


def test_a_side_that_needs_less_leaves_its_room_to_the_other() -> None:
    assert cut(CODE, "x", 400).suffix == "x"
    assert count(tokenizer(), cut(CODE, "x", 400).prefix) > 360
    assert cut("x", CODE, 400).prefix == "x"
    assert count(tokenizer(), cut("x", CODE, 400).suffix) > 360
    assert shares(1000, 10, 100) == (90, 10)
    assert shares(10, 1000, 100) == (10, 90)
    assert shares(1000, 1000, 100) == (75, 25)


def test_one_line_without_end_is_cut_inside() -> None:
    line = "x = [" + "1, 22, 333, " * 2000
    kept = cut(line, line, 200)
    assert line.endswith(kept.prefix)
    assert line.startswith(kept.suffix)
    assert kept.num_tokens > 190


def test_only_what_is_near_the_hole_is_tokenized() -> None:
    watched = Watched()
    text = CODE * 200
    kept = fit(watched, text, text, write, 400)  # type: ignore[arg-type]
    assert kept.num_tokens <= 400
    assert watched.num_characters < 20_000 < len(text)


def test_without_room_for_the_least_nothing_is_made_up() -> None:
    with pytest.raises(NoRoom):
        cut(CODE, CODE, FRAME + LEAST_TOKENS - 1)
    assert cut(CODE, CODE, FRAME + LEAST_TOKENS).num_tokens <= FRAME + LEAST_TOKENS
    assert cut("x", "y", FRAME + 2).num_tokens == FRAME + 2


TEXTS = st.text(st.sampled_from("ab \n\t(\u00e9\u4e2d\U0001f600\u200b"), max_size=300)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.integers(FRAME + LEAST_TOKENS, 80))
def test_whatever_the_text_the_prompt_has_the_tokens_it_says_and_no_more_than_fit(
    prefix: str, suffix: str, most: int
) -> None:
    kept = cut(prefix, suffix, most)
    assert kept.num_tokens == count(tokenizer(), write(kept.prefix, kept.suffix)) <= most
    assert prefix.endswith(kept.prefix)
    assert suffix.startswith(kept.suffix)
    if count(tokenizer(), write(prefix, suffix)) <= most:
        assert (kept.prefix, kept.suffix) == (prefix, suffix)


def test_a_model_has_the_tokens_only_where_each_is_one(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": EOS}}))
    found = fim_tokens.read(tmp_path, tokenizer())
    assert found is not None
    ids = [tokenizer().token_to_id(token) for token in (FIM_BEGIN, FIM_HOLE, FIM_END, EOS)]
    assert list(found.stops) == ids
    lacking = Tokenizer.from_str(trained())  # its end token is several
    assert len(lacking.encode(FIM_END, add_special_tokens=False).ids) > 1
    assert fim_tokens.read(tmp_path, lacking) is None
    assert fim_tokens.read(tmp_path, None) is None
    (tmp_path / "tokenizer_config.json").write_text("[]")
    without = fim_tokens.read(tmp_path, tokenizer())
    assert without is not None
    assert without.eos is None
