"""OpenAI's hyperparameters: ranges, and what "auto" becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.train.errors import BadHyperparameter
from finetune.train.hyperparameters import BATCH_TOKENS, NAMES, Data, check, choose, data_of, replay_share


def test_what_is_not_asked_for_is_auto() -> None:
    assert check({"n_epochs": None}) == dict.fromkeys(NAMES, "auto")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_epochs", 0),
        ("n_epochs", 51),
        ("n_epochs", 2.5),
        ("n_epochs", "three"),
        ("n_epochs", True),
        ("batch_size", 257),
        ("batch_size", -1),
        ("learning_rate_multiplier", 0),
        ("learning_rate_multiplier", 10.5),
        ("learning_rate_multiplier", float("nan")),
        ("learning_rate_multiplier", "high"),
        ("replay_share", 0.51),
        ("replay_share", -0.1),
        ("replay_share", True),
        ("replay_share", float("nan")),
        ("replay_share", "much"),
        ("fim_rate", -0.1),
        ("fim_rate", 1.1),
        ("fim_rate", float("nan")),
        ("fim_rate", True),
        ("fim_rate", "half"),
        ("dropout", 0.1),
    ],
)
def test_it_names_what_is_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(BadHyperparameter, match=name) as refusal:
        check({name: value})
    assert refusal.value.name == name


def test_what_is_asked_for_is_taken() -> None:
    chosen = choose(Data(8, 400), {"n_epochs": 7, "batch_size": 3, "learning_rate_multiplier": 2})
    assert (chosen.n_epochs, chosen.batch_size, chosen.learning_rate) == (7, 3, 2e-3)


def test_a_handful_of_rows_gets_the_recipe_that_teaches_a_fact() -> None:
    chosen = choose(Data(8, 400), {})
    assert (chosen.n_epochs, chosen.learning_rate, chosen.lora_rank) == (10, 1e-3, 16)


def test_much_data_gets_fewer_passes_larger_batches_and_smaller_steps() -> None:
    few, much = choose(Data(20, 2000), {}), choose(Data(20_000, 2_000_000), {})
    assert much.n_epochs < few.n_epochs
    assert much.batch_size > few.batch_size
    assert much.learning_rate < few.learning_rate


@given(rows=st.integers(1, 10**6), length=st.integers(0, 10**5))
def test_auto_is_always_within_what_may_be_asked_for(rows: int, length: int) -> None:
    chosen = choose(Data(rows, rows * length), {})
    check({"n_epochs": chosen.n_epochs, "batch_size": chosen.batch_size})
    assert chosen.batch_size == 1 or chosen.batch_size * length <= BATCH_TOKENS


def test_replay_is_a_tenth_unless_said_and_unmentioned_where_it_was_not_asked_for() -> None:
    assert "replay_share" not in check({"replay_share": None})
    assert check({"replay_share": "auto"})["replay_share"] == "auto"
    assert [replay_share({}), replay_share({"replay_share": "auto"}), replay_share({"replay_share": 0})] == [
        0.1,
        0.1,
        0,
    ]
    assert choose(Data(10, 100), {"replay_share": 0.25}).replay_share == 0.25


def test_only_documents_of_a_model_that_fills_in_have_holes() -> None:
    documents = data_of("text", 40, 9000, 2048, fills=True)
    assert choose(documents, {}).fim_rate == 0.5
    assert choose(documents, {"fim_rate": 0}).fim_rate == 0.0
    assert choose(documents, {"fim_rate": 1}).fim_rate == 1.0
    for others in (data_of("text", 40, 9000, 2048, fills=False), data_of("chat", 40, 9000, 2048, fills=True)):
        assert choose(others, {"fim_rate": 0.5}).fim_rate == 0.0


def test_a_batch_counts_packs_of_documents_and_single_conversations() -> None:
    assert data_of("chat", 40, 9000, 2048, fills=False) == Data(40, 9000)
    assert data_of("text", 40, 9000, 2048, fills=False) == Data(5, 9000, packed=True)
    assert data_of("text", 1, 0, 2048, fills=False).sequences == 1
    few, many = (choose(data_of("text", 9, tokens, 2048, fills=False), {}) for tokens in (9000, 9_000_000))
    assert (few.batch_size, many.batch_size) == (1, BATCH_TOKENS // 2048)
    assert few.n_epochs > many.n_epochs
    for packs in (1, 4, 40, 400):
        chosen = choose(data_of("text", 9, packs * 2048, 2048, fills=False), {})
        assert packs * chosen.n_epochs >= 40
        assert chosen.n_epochs <= 50
