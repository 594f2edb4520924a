"""A training run's specification: what is refused, with every fault at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.train.errors import SpecRefused
from finetune.train.spec import TrainSpec, faults_of, parse, read_spec


def test_it_comes_back_from_json_as_it_was(spec: TrainSpec, tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec.to_json()))
    assert read_spec(path) == spec


def test_it_names_every_fault_at_once(spec: TrainSpec) -> None:
    wrong = replace(
        spec,
        kind="speech",
        epochs=0,
        learning_rate=2.0,
        threads=0,
        device="tpu",
        target_modules=(),
        train=(Path("/none"),),
    )
    with pytest.raises(SpecRefused) as refusal:
        parse(wrong.to_json())
    told = "\n".join(refusal.value.faults)
    for field in ("kind", "epochs", "learning_rate", "threads", "device", "target_modules", "/none"):
        assert field in told
    assert len(refusal.value.faults) == 7


def test_it_names_missing_unknown_and_misshapen_fields(spec: TrainSpec) -> None:
    content = spec.to_json() | {"colour": "red", "epochs": True, "train": "rows.jsonl", "learning_rate": float("nan")}
    del content["seed"]
    with pytest.raises(SpecRefused) as refusal:
        parse(content)
    named = sorted(fault.partition(":")[0] for fault in refusal.value.faults)
    assert named == ["colour", "epochs", "learning_rate", "seed", "train"]


@pytest.mark.parametrize("target", ["kv_b_proj", "self_attn.kv_b_proj"])
def test_it_refuses_the_module_that_the_engine_leaves_out(spec: TrainSpec, target: str) -> None:
    (fault,) = faults_of(replace(spec, target_modules=("q_proj", target)))
    assert "kv_b_proj must not be adapted" in fault


def test_it_refuses_a_pattern_as_a_module(spec: TrainSpec) -> None:
    assert faults_of(replace(spec, target_modules=(".*proj",)))


def test_holes_need_documents_and_three_tokens(spec: TrainSpec) -> None:
    filled = replace(spec, kind="text", fim_rate=0.5, fim_tokens=(7, 8, 9))
    assert faults_of(filled) == []
    assert parse(filled.to_json()) == filled
    for wrong, word in (
        (replace(filled, kind="chat"), "conversations"),
        (replace(filled, fim_tokens=None), "needs"),
        (replace(filled, fim_tokens=(7, 8, 8)), "differ"),
        (replace(filled, fim_rate=1.5), "must be from 0 to 1"),
    ):
        (fault,) = faults_of(wrong)
        assert word in fault
    for tokens in ([7, 8], [7, 8, -1], [7, 8, True], "789"):
        with pytest.raises(SpecRefused, match="three token ids"):
            parse(filled.to_json() | {"fim_tokens": tokens})


def test_it_refuses_a_checkpoint_without_a_manifest(spec: TrainSpec, tmp_path: Path) -> None:
    (half := tmp_path / "checkpoint-00000003").mkdir()
    (fault,) = faults_of(replace(spec, resume_from=half))
    assert "not complete" in fault


@pytest.mark.parametrize("content", ["[]", "no json", ""])
def test_it_refuses_a_file_that_is_no_specification(tmp_path: Path, content: str) -> None:
    (path := tmp_path / "spec.json").write_text(content)
    with pytest.raises(SpecRefused):
        read_spec(path)
