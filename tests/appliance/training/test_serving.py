"""Evaluations ask an engine directly: behind tenants, every token booked, an end in sight when nobody wants the answer."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.training import serving
from appliance.training.errors import BrokeOff, LeaseLost
from appliance.training.serving import EngineSampler, NoEngine, ReadyEngine
from finetune.evaluate.sampler import Completion
from inference.metering.journal import JournalWriter, UsageRecord, read_records
from tests.fakes.engine import PROMPT_TOKENS, FakeEngine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        running = FakeEngine(Path(folder) / "e.sock")
        running.start()
        yield running
        running.stop()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(tmp_path / "journal", "worker")
    yield writer
    writer.close()


@pytest.fixture
def sampler(engine: FakeEngine, journal: JournalWriter) -> EngineSampler:
    return EngineSampler(ReadyEngine("r1", str(uuid.uuid4()), engine.socket), journal)


def booked(tmp_path: Path) -> list[UsageRecord]:
    found = [row for path in (tmp_path / "journal").glob("*.jsonl") for row in read_records(path)[0]]
    assert all(isinstance(row, UsageRecord) for row in found)
    return [row for row in found if isinstance(row, UsageRecord)]


def test_a_completion_is_booked_on_the_system_tenant(
    engine: FakeEngine, sampler: EngineSampler, tmp_path: Path
) -> None:
    assert sampler.complete("base", "tokens=4", 16) == " 0 1 2 3"
    (row,) = booked(tmp_path)
    assert (row.tenant_id, row.endpoint, row.model, row.outcome, row.exact) == (
        "system",
        "evaluation",
        "base",
        "completed",
        True,
    )
    assert (row.prompt_tokens, row.completion_tokens) == (PROMPT_TOKENS, 4)
    assert (engine.prompt_tokens, engine.generation_tokens) == (PROMPT_TOKENS, 4)
    assert engine.bodies[0]["priority"] > 0


def test_many_are_answered_in_their_order(sampler: EngineSampler, tmp_path: Path) -> None:
    asked = [Completion("base", f"tokens={count}", 16) for count in range(1, 7)]
    assert [len(answer.split()) for answer in sampler.complete_many(asked)] == [1, 2, 3, 4, 5, 6]
    assert len(booked(tmp_path)) == 6


def test_an_engine_that_dies_leaves_a_record_that_says_it_is_not_exact(sampler: EngineSampler, tmp_path: Path) -> None:
    with pytest.raises(NoEngine):
        sampler.complete("base", "tokens=9 die=2", 16)
    (row,) = booked(tmp_path)
    assert (row.outcome, row.exact) == ("failed", False)


def test_a_request_that_takes_too_long_is_aborted(
    engine: FakeEngine, sampler: EngineSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "TIMEOUT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(NoEngine):
        sampler.complete("base", "tokens=9 hang=2", 16)
    assert time.monotonic() - began < 30
    assert len(engine.aborted) == 1


def test_a_request_that_the_engine_refuses_is_not_waited_for(sampler: EngineSampler) -> None:
    with pytest.raises(BrokeOff, match="refused"):
        sampler.complete("base", "status=400", 16)


def test_an_engine_that_fails_may_work_later(sampler: EngineSampler) -> None:
    with pytest.raises(NoEngine, match="500"):
        sampler.complete("base", "status=500", 16)


def test_nothing_is_asked_once_nobody_wants_the_answer(engine: FakeEngine, journal: JournalWriter) -> None:
    def lost() -> None:
        raise LeaseLost("cancelled")

    sampler = EngineSampler(ReadyEngine("r1", str(uuid.uuid4()), engine.socket), journal, lost)
    with pytest.raises(LeaseLost):
        sampler.complete("base", "tokens=4", 16)
    assert engine.bodies == []


def test_a_model_that_another_engine_serves_is_asked_there(
    engine: FakeEngine, journal: JournalWriter, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        merged = FakeEngine(Path(folder) / "m.sock")
        merged.start()
        try:
            lives = [str(uuid.uuid4()) for _ in range(2)]
            others = {"ft:a": ReadyEngine("r2", lives[1], merged.socket)}
            sampler = EngineSampler(ReadyEngine("r1", lives[0], engine.socket), journal, others=others)
            asked = [Completion("base", "tokens=2", 16), Completion("ft:a", "tokens=3", 16)]
            assert [len(answer.split()) for answer in sampler.complete_many(asked)] == [2, 3]
        finally:
            merged.stop()
    assert [body["model"] for body in engine.bodies] == ["base"]
    assert [body["model"] for body in merged.bodies] == ["ft:a"]
    assert {(row.model, row.life_id) for row in booked(tmp_path)} == {("base", lives[0]), ("ft:a", lives[1])}
