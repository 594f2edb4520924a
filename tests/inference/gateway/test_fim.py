"""Filling in the middle over HTTP: the prompt that the engine gets, what is cut, where answers end. A word is a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from inference.gateway.fim import write
from inference.gateway.fim_tokens import FIM_BEGIN, FIM_END, FIM_HOLE
from tests.inference.gateway.database import add_key, add_model
from tests.inference.gateway.parts import END, SMALL_KEY, Rig, write_tokenizer

PATH = "/beta/completions"
MODEL = "deepseek-fim"
SMALL = f"Bearer {SMALL_KEY}"  # a context of 64, answers of 32
STOPS = [2, 3, 4, 1]  # begin, hole, end, end of sentence, as the rig's tokenizer numbers them


def fill(prompt: Any, suffix: Any = None, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": prompt, "suffix": suffix, **fields}


def lines(name: str, num: int) -> str:
    """Lines of five words."""
    return "".join(f"{name}{number} a b c d\n" for number in range(num))


def sent(rig: Rig) -> dict[str, Any]:
    body: dict[str, Any] = rig.engines["fim"].bodies[-1]
    return body


def test_a_text_over_the_context_is_cut_around_the_hole_and_the_client_is_told(rig: Rig) -> None:
    prefix, suffix = lines("p", 50), lines("s", 50)
    status, headers, _ = rig.call("POST", PATH, fill(prefix, suffix, max_tokens=20), authorization=SMALL)
    assert status == 200
    prompt = sent(rig)["prompt"]
    kept, behind = prompt[len(FIM_BEGIN) : -len(FIM_END)].split(FIM_HOLE)
    assert prefix.endswith("\n" + kept)
    assert suffix.startswith(behind)
    assert behind.endswith("\n")
    assert [len(text.split()) for text in (kept, behind)] == [30, 10]  # of 41: 64 less the answer and three tokens
    cut = f"prefix={len(prefix) - len(kept)}, suffix={len(suffix) - len(behind)}"
    assert headers["x-coderack-fim-cut"] == cut


def test_a_stream_is_told_of_the_cut_too_and_what_fits_is_not_cut(rig: Rig) -> None:
    body = fill(lines("p", 50), "x", max_tokens=20, stream=True)
    assert "x-coderack-fim-cut" in rig.call("POST", PATH, body, authorization=SMALL)[1]
    assert "x-coderack-fim-cut" not in rig.call("POST", PATH, fill("a", "b"), authorization=SMALL)[1]
    exact = fill("a " * 40, "b", max_tokens=20)
    assert "x-coderack-fim-cut" not in rig.call("POST", PATH, exact, authorization=SMALL)[1]
    assert sent(rig)["prompt"] == write("a " * 40, "b")


def test_where_no_length_is_asked_the_answer_gets_what_the_text_leaves(rig: Rig) -> None:
    assert rig.call("POST", PATH, fill("a " * 40, "b"), authorization=SMALL)[0] == 200
    assert (sent(rig)["prompt"], sent(rig)["max_tokens"]) == (write("a " * 40, "b"), 20)
    assert rig.call("POST", PATH, fill("a " * 900, "b"), authorization=SMALL)[0] == 200
    assert sent(rig)["max_tokens"] == 16  # a quarter of the context, at least


@pytest.mark.parametrize("asked", [64, 60, 46])
def test_an_answer_that_leaves_no_room_is_refused(rig: Rig, asked: int) -> None:
    body = fill(lines("p", 50), lines("s", 50), max_tokens=asked)
    status, _, answer = rig.call("POST", PATH, body, authorization=SMALL)
    error = json.loads(answer)["error"]
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "max_tokens")


def test_a_raw_prompt_in_the_models_form_is_cut_alike_and_others_are_refused(rig: Rig) -> None:
    prefix, suffix = lines("p", 50), lines("s", 50)
    status, headers, _ = rig.call("POST", PATH, fill(write(prefix, suffix), max_tokens=20), authorization=SMALL)
    assert (status, "x-coderack-fim-cut" in headers) == (200, True)
    cut = sent(rig)["prompt"]
    rig.call("POST", PATH, fill(prefix, suffix, max_tokens=20), authorization=SMALL)
    assert sent(rig)["prompt"] == cut
    for raw in (prefix, "before " + write(prefix, suffix), write(prefix, suffix) + FIM_HOLE):
        status, _, answer = rig.call("POST", PATH, fill(raw, max_tokens=20), authorization=SMALL)
        assert (status, json.loads(answer)["error"]["code"]) == (400, "context_length_exceeded")


def test_marks_in_a_file_stay_text_and_those_of_a_raw_prompt_are_meant(rig: Rig) -> None:
    prefix, suffix = f"MARK = '{FIM_HOLE}'", f"# {FIM_END} {END}"
    assert rig.call("POST", PATH, fill(prefix, suffix))[0] == 200
    prompt = sent(rig)["prompt"]
    assert [prompt.count(mark) for mark in (FIM_BEGIN, FIM_HOLE, FIM_END)] == [1, 1, 1]
    assert prompt.replace("\u200b", "") == write(prefix, suffix)
    raw = write("a", f"b {FIM_HOLE}")
    assert rig.call("POST", PATH, fill(raw))[0] == 200
    assert sent(rig)["prompt"] == raw


def test_an_answer_ends_at_the_models_own_tokens_beside_the_clients(rig: Rig) -> None:
    rig.call("POST", PATH, fill("a", "b", stop=["\n\n"], stop_token_ids=[77, 3]))
    assert sent(rig)["stop"] == ["\n\n"]
    assert sent(rig)["stop_token_ids"] == [77, 3, 2, 4, 1]
    rig.call("POST", PATH, fill(write("a", "b")))
    assert sent(rig)["stop_token_ids"] == STOPS
    rig.call("POST", PATH, fill("a", "b", ignore_eos=True))
    assert "stop_token_ids" not in sent(rig)
    rig.call("POST", PATH, fill("no hole"))
    assert "stop_token_ids" not in sent(rig)


@pytest.fixture
def unmarked(rig: Rig) -> Iterator[str]:
    """A model that is said to fill in the middle, with a tokenizer that lacks a token for it."""
    path = rig.root / "unmarked"
    path.mkdir()
    write_tokenizer(path / "tokenizer.json", marks=(FIM_BEGIN, FIM_HOLE))
    add_model(rig.postgres, "unmarked", str(path), fim=True)
    rig.add_replica("fim", "unmarked")
    rig.wait_for_directory()
    yield "unmarked"
    rig.postgres.execute("DELETE FROM gateway_models WHERE name = 'unmarked'")
    rig.postgres.execute("DELETE FROM gateway_replicas WHERE model = 'unmarked'")


def test_a_model_that_lacks_one_of_the_tokens_refuses_a_suffix(rig: Rig, unmarked: str) -> None:
    status, _, answer = rig.call("POST", PATH, fill("a", "b", model=unmarked))
    assert (status, json.loads(answer)["error"]["param"]) == (400, "suffix")
    assert rig.call("POST", PATH, fill("a", model=unmarked))[0] == 200


def test_what_was_cut_off_is_not_reserved(rig: Rig) -> None:
    """The body's 400,000 tokens by its bytes would not pass the limit; the few that the engine gets do."""
    limits = {"tenant": {"tokens_per_minute": 3000}, "key": {}, "models": {}, "prices": [1, 1, 1]}
    add_key(rig.postgres, "sk-tight", "tight", context=64, default=8, limits=limits)
    rig.wait_for_directory()
    status, headers, _ = rig.call("POST", PATH, fill("a b\n" * 200_000, "b"), authorization="Bearer sk-tight")
    assert (status, headers.get("x-coderack-fim-cut", "").endswith("suffix=0")) == (200, True)
    assert headers["x-ratelimit-limit-tokens"] == "3000"


def test_the_lanes_first_events_and_its_target_are_figures(rig: Rig) -> None:
    counted = 'coderack_gateway_lane_ttft_seconds_count{lane="fim"}'
    before = rig.figure(counted)
    assert rig.call("POST", PATH, fill("a", "b", stream=True))[0] == 200
    assert rig.call("POST", PATH, fill("no hole", stream=True))[0] == 200
    assert rig.figure(counted) == before + 1
    assert rig.figure('coderack_gateway_target_seconds{lane="fim"}') == 60  # as the rig sets it
