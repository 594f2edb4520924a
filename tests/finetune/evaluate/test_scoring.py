"""Log-probabilities of the training stack: every kind of text, an adapter's effect, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from appliance.env import load
from finetune import manifest
from finetune.evaluate.run_scoring import ScoringFailed, run_scoring
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek

pytestmark = pytest.mark.engine
TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("chat", {"messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Uno."}]}),
    (
        "turns",
        {
            "messages": [
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Uno."},
                {"role": "user", "content": "Two?"},
                {"role": "assistant", "content": "Dos."},
            ]
        },
    ),
    ("text", {"text": "x = 1\n", "path": "a.py"}),
    ("ids", {"prompt_ids": [7, 8, 9, 10]}),
    ("ids and text", {"prompt_ids": [7, 8, 9, 10], "text": "x = 1\n"}),
    ("long", {"text": "x = 1\n" * 200}),
]


@pytest.fixture(scope="module")
def tiny_model(slot_python: Path) -> Path:
    return ensure_tiny_deepseek(load().cache_dir, slot_python)


def test_every_kind_of_text_gets_a_score_for_every_token(slot_python: Path, tiny_model: Path, tmp_path: Path) -> None:
    scored = run_scoring(slot_python, tiny_model, None, TEXTS, tmp_path / "log", threads=1, max_length=100)
    rows = {row.id: row for row in scored}
    assert list(rows) == [name for name, _ in TEXTS]
    for row in scored:
        assert len(row.logprobs) == len(row.token_ids)
        assert row.logprobs[0] is None
        assert all(value is not None and math.isfinite(value) and value <= 0 for value in row.logprobs[1:])
        assert 1 <= row.answer_start < len(row.token_ids)
    assert rows["text"].answer_start == rows["ids"].answer_start == 1
    assert rows["ids"].token_ids == (7, 8, 9, 10)
    assert rows["ids and text"].answer_start == 4
    assert len(rows["long"].token_ids) == 100
    # the answer is the last one: what stands before it is the first conversation with one more question
    chat, turns = rows["chat"], rows["turns"]
    assert turns.token_ids[: len(chat.token_ids)] == chat.token_ids
    assert turns.answer_start > len(chat.token_ids) > chat.answer_start
    assert turns.logprobs[1 : chat.answer_start] == pytest.approx(chat.logprobs[1 : chat.answer_start], abs=0.1)


def test_an_adapter_that_is_not_whole_is_not_used(slot_python: Path, tiny_model: Path, tmp_path: Path) -> None:
    (adapter := tmp_path / "adapter").mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (adapter / name).write_text(json.dumps({}))
    manifest.write(adapter, name="a", origin="test", licence="none")
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(ScoringFailed, match="ended with status 1"):
        run_scoring(slot_python, tiny_model, adapter, TEXTS[:1], tmp_path / "log", threads=1)
    assert "bad_model: adapter_config.json: changed" in (tmp_path / "log").read_text()


def test_a_text_that_can_not_be_scored_is_named_in_the_log(slot_python: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ScoringFailed):
        run_scoring(slot_python, tiny_model, None, [("odd", {"content": "x"})], tmp_path / "log", threads=1)
    assert "text odd: it can't be made into tokens" in (tmp_path / "log").read_text()


def test_a_slot_that_is_not_there_is_told(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ScoringFailed, match="could not be run"):
        run_scoring(tmp_path / "python", tiny_model, None, TEXTS[:1], tmp_path / "log")
