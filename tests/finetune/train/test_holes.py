"""Holes in documents: at the rate that was asked for, whole, in the form that the gateway asks a model with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from finetune.train.holes import Holes
from inference.gateway import fim, fim_tokens

TEXT = "def relay(port):\n    return port + 1  # Größe 中文 🦦\n\n\nclass Relay:\n    ports = [1, 2, 3]\n"
MARKS = f"{fim_tokens.FIM_HOLE} = '<｜end▁of▁sentence｜>'  # {fim_tokens.FIM_BEGIN}{fim_tokens.FIM_END}<｜\n"
MANY = 400

DOCUMENTS = """
import json, sys
from finetune.train.holes import Holes, documents, with_hole
from transformers import AutoTokenizer

model, tokens, text = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
holes = Holes(1.0, *tokens, 7)
def told(documents):
    return [{"ids": list(one.ids), "spans": one.spans, "has_hole": one.has_hole} for one in documents]
long = text * 60
found = {
    "placed": [list(with_hole(tokenizer, text, start, end, holes)) for start, end in ((0, 9), (20, 41), (5, len(text)))],
    "whole": told(documents(tokenizer, text, 0, 2048, holes)),
    "again": told(documents(tokenizer, text, 0, 2048, holes)),
    "other row": told(documents(tokenizer, text, 1, 2048, holes)),
    "plain": told(documents(tokenizer, text, 0, 2048, Holes(0.0, *tokens, 7))),
    "long": told(documents(tokenizer, long, 0, 128, holes)),
    "texts": [tokenizer.decode(one.ids) for one in documents(tokenizer, long, 0, 128, holes)],
    "long plain": told(documents(tokenizer, long, 0, 128, None)),
    "holds marks": told(documents(tokenizer, text + sys.argv[4], 0, 2048, holes)),
    "long with marks": told(documents(tokenizer, (text + sys.argv[4]) * 40, 0, 128, holes)),
    "marks": [token for one in documents(tokenizer, (text + sys.argv[4]) * 40, 0, 128, None) for token in one.ids],
    "empty": told(documents(tokenizer, "", 0, 2048, holes)),
}
print(json.dumps(found))
"""


@given(seed=st.integers(0, 2**63 - 1), row=st.integers(0, 10**6), length=st.integers(1, 5000))
def test_a_middle_lies_within_its_text_and_is_never_empty(seed: int, row: int, length: int) -> None:
    places = Holes(1.0, 1, 2, 3, seed).places(row, 0, length)
    assert places == Holes(1.0, 1, 2, 3, seed).places(row, 0, length)
    assert places is not None
    assert 0 <= places[0] < places[1] <= length
    assert Holes(0.0, 1, 2, 3, seed).places(row, 0, length) is None


def test_about_as_many_documents_have_holes_as_asked_and_others_change_nothing() -> None:
    half = [Holes(0.5, 1, 2, 3, 7).places(row, 0, 100) for row in range(MANY)]
    assert 0.4 * MANY < sum(places is not None for places in half) < 0.6 * MANY
    more = [Holes(0.9, 1, 2, 3, 7).places(row, 0, 100) for row in range(MANY)]
    assert all(there == here for here, there in zip(half, more, strict=True) if here is not None)
    assert half != [Holes(0.5, 1, 2, 3, 8).places(row, 0, 100) for row in range(MANY)]


@pytest.mark.engine
def test_documents_with_holes_are_written_as_the_gateway_asks_for_a_middle(
    tiny_model: Path, in_slot: Callable[..., Any]
) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    tokens = fim_tokens.read(tiny_model, tokenizer)
    assert tokens is not None
    assert tokens.eos is not None
    found = in_slot(DOCUMENTS, tiny_model, json.dumps([tokens.begin, tokens.hole, tokens.end]), TEXT, MARKS)

    def encoded(text: str, *, alone: bool = True) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=alone).ids
        return ids

    for (start, end), ids in zip(((0, 9), (20, 41), (5, len(TEXT))), found["placed"], strict=True):
        asked = encoded(fim.write(TEXT[:start], TEXT[end:]))
        assert ids == [*asked, *encoded(TEXT[start:end], alone=False), tokens.eos]

    (whole,) = found["whole"]
    assert whole["has_hole"]
    assert whole["spans"] == [[1, len(whole["ids"])]]
    assert found["again"] == found["whole"]
    assert found["other row"] != found["whole"]
    plain = {"ids": [*encoded(TEXT), tokens.eos], "spans": [[1, len(encoded(TEXT)) + 1]], "has_hole": False}
    assert found["plain"] == [plain]
    own = [tokens.begin, tokens.hole, tokens.end, tokens.eos]
    (holds,) = found["holds marks"]
    assert [sum(token == one for token in holds["ids"]) for one in own] == [1, 1, 1, 1], (
        "the document's own, not the text's"
    )
    assert all(one["ids"].count(token) <= 1 for one in found["long with marks"] for token in own)
    assert tokenizer.decode(found["marks"][1:-1], skip_special_tokens=False) == (TEXT + MARKS) * 40
    assert [one["has_hole"] for one in found["empty"]] == [False]

    assert len(found["long"]) > 10
    assert all(len(one["ids"]) <= 128 for one in found["long"])
    assert all(one["has_hole"] for one in found["long"])
    assert "".join(map(as_written, found["texts"])) == TEXT * 60
    assert not any(one["has_hole"] for one in found["long plain"])
    assert [token for one in found["long plain"] for token in one["ids"]] == [*encoded(TEXT * 60), tokens.eos]


def as_written(document: str) -> str:
    """What a document with a hole said before the middle was taken out."""
    inside = document.removeprefix("<｜begin▁of▁sentence｜>").removesuffix("<｜end▁of▁sentence｜>")
    prefix, _, rest = inside.removeprefix(fim_tokens.FIM_BEGIN).partition(fim_tokens.FIM_HOLE)
    suffix, _, middle = rest.partition(fim_tokens.FIM_END)
    return prefix + middle + suffix
