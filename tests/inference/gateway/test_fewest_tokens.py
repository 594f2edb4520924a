"""The bound on a text's tokens is one, whatever the text, and refuses what is far too long without counting it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from inference.gateway.fewest_tokens import FewestTokens, fewest_tokens
from inference.gateway.tokens import TokenCounter
from tests.inference.gateway.test_control_tokens import HOLE, TURN, USER, marked_tokenizer


def with_long_tokens() -> Tokenizer:
    """The tests' tokenizer with DeepSeek's way of splitting, and a token of 64 spaces as its vocabulary has."""
    tokenizer = marked_tokenizer()
    splits = [
        pre_tokenizers.Split(Regex("[\r\n]"), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.add_tokens([AddedToken(" " * 64, normalized=False, special=False)])
    return tokenizer


def that_drops_bytes() -> Tokenizer:
    """One whose vocabulary lacks letters, as the demo model's lacks some bytes."""
    content = json.loads(with_long_tokens().to_str())
    vocab, lacks = content["model"]["vocab"], set("d7\u010a")
    content["model"]["vocab"] = {token: vocab[token] for token in vocab if not set(token) & lacks}
    content["model"]["merges"] = [one for one in content["model"]["merges"] if not set("".join(one)) & lacks]
    return Tokenizer.from_str(json.dumps(content))


TOKENIZERS = [marked_tokenizer(), with_long_tokens(), that_drops_bytes()]
PIECES = [
    HOLE,
    TURN,
    USER,
    " " * 64,
    "  ",
    "def ",
    "tokenizer",
    "from __future__ import annotations",
    "\n",
    "中文",
    "é",
    "7",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=60).map("".join)


def bound_of(tokenizer: Tokenizer) -> FewestTokens:
    bound = fewest_tokens(tokenizer.to_str())
    assert bound is not None
    return bound


BOUNDS = [bound_of(tokenizer) for tokenizer in TOKENIZERS]


@given(texts)
@example("d" * 50 + "7\n" * 9)
@example(" " * 640)
@example(Path(__file__).read_text())
def test_no_text_has_fewer_tokens_than_the_bound(text: str) -> None:
    for tokenizer, bound in zip(TOKENIZERS, BOUNDS, strict=True):
        assert bound.of(text) <= len(tokenizer.encode(text, add_special_tokens=False))


@given(st.sampled_from(PIECES), st.integers(1, 400))
def test_not_of_one_token_again_and_again_either(piece: str, times: int) -> None:
    for tokenizer, bound in zip(TOKENIZERS, BOUNDS, strict=True):
        assert bound.of(piece * times) <= len(tokenizer.encode(piece * times, add_special_tokens=False))


def test_it_is_near_enough_to_be_of_use() -> None:
    source = Path(__file__).read_text()
    for tokenizer, bound in zip(TOKENIZERS, BOUNDS, strict=True):
        assert bound.of(source) * 30 > len(tokenizer.encode(source, add_special_tokens=False))


def lossy() -> dict[str, Tokenizer]:
    normalized, removing, stripping, words = (marked_tokenizer() for _ in range(4))
    normalized.normalizer = normalizers.NFC()
    removing.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    stripping.add_special_tokens([AddedToken("<strip>", lstrip=True)])
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return {
        "normalized": normalized, "removing": removing, "stripping": stripping, "words": words,
        "no BPE": Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
    }  # fmt: skip


@pytest.mark.parametrize("name", lossy())
def test_of_a_tokenizer_that_may_lose_text_nothing_is_claimed(name: str) -> None:
    assert fewest_tokens(lossy()[name].to_str()) is None


@pytest.mark.parametrize("body", [
    {"prompt": "word and word\n" * 50_000},
    {"messages": [{"role": "user", "content": "word and word\n" * 50_000}]},
])  # fmt: skip
def test_what_is_far_too_long_is_not_counted(
    body: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TOKENIZERS[1].save(str(tmp_path / "tokenizer.json"))
    counter = TokenCounter()
    exact = asyncio.run(counter.longest_prompt(tmp_path, body))
    encoded: list[object] = []

    class Watched:
        def encode_batch_fast(self, *given: object, **_: object) -> list[object]:
            encoded.append(given)
            return [[0] * exact]

    monkeypatch.setattr(counter, "_tokenizer", lambda _: Watched())
    monkeypatch.setitem(counter._fewest, tmp_path, BOUNDS[1])
    assert 1000 < asyncio.run(counter.longest_prompt(tmp_path, body, 1000)) <= exact
    assert not encoded
    assert asyncio.run(counter.longest_prompt(tmp_path, body, exact)) == exact
    assert encoded
