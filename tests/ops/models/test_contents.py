from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.models.contents import refusals


def write_weights(path: Path) -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_it_accepts_what_a_model_is_made_of(tmp_path: Path) -> None:
    write_weights(tmp_path / "model-00001-of-00002.safetensors")
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "vocab.json").write_text('{"auto_mapping": 1, "word": 2}')
    (tmp_path / "merges.txt").write_text("a b")
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "tokenizer.model").write_bytes(b"\x00")
    (tmp_path / "LICENSE").write_text("free")
    assert list(refusals(tmp_path)) == []


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "weights.pkl", "modeling_deepseek.py", "run.sh", "x.gguf"]
)
def test_it_refuses_what_can_run_or_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert [line.partition(":")[0] for line in refusals(tmp_path)] == [name]


@pytest.mark.parametrize("content", [{"auto_map": {"AutoModel": "modeling.X"}}, {"text_config": {"auto_map": {}}}])
def test_it_refuses_a_configuration_that_asks_for_code(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert "auto_map" in next(refusals(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04\x95pickle", (2**40).to_bytes(8, "little") + b"{}", b"\x02" + b"\0" * 7 + b"[]"]
)
def test_it_refuses_weights_that_only_bear_the_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert list(refusals(tmp_path)) == ["model.safetensors: not a safetensors file"]


def test_it_refuses_links_and_broken_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "tokenizer.json").symlink_to("/etc/hostname")
    (tmp_path / "more").symlink_to("/etc", target_is_directory=True)
    assert list(refusals(tmp_path)) == [
        "config.json: not JSON",
        "more: not a plain file",
        "tokenizer.json: not a plain file",
    ]
