"""What may be loaded into an engine: only what was registered, and only what the engine applies as a whole."""

import json
import os
from dataclasses import replace

import pytest

from inference.pool.adapter_modules import Limits, check_adapter
from inference.pool.errors import AdapterRefused
from tests.inference.pool.adapter_dirs import MODULE, make_adapter, make_base, safetensors, seal


@pytest.fixture
def limits(tmp_path):
    return Limits(
        make_base(tmp_path / "base", [MODULE, "model.layers.0.self_attn.kv_b_proj"]), 8, frozenset({"kv_b_proj"})
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "adapter"


def refusal(folder, digest, limits) -> str:
    with pytest.raises(AdapterRefused) as caught:
        check_adapter(folder, digest, limits)
    return str(caught.value)


def test_it_accepts_what_was_registered(folder, limits):
    check_adapter(folder, make_adapter(folder), limits)


def test_it_notices_one_changed_byte_in_any_file(folder, limits):
    digest = make_adapter(folder)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert refusal(folder, digest, limits)
        path.write_bytes(whole)
    check_adapter(folder, digest, limits)


def test_it_refuses_another_manifest_than_the_registered_one(folder, limits):
    digest = make_adapter(folder)
    (folder / "notes.json").write_text("{}")
    seal(folder)
    assert "not the one that was registered" in refusal(folder, digest, limits)


def test_it_refuses_files_that_the_manifest_does_not_list_and_lacks_none(folder, limits):
    digest = make_adapter(folder)
    (folder / "more.json").write_text("{}")
    assert "more.json" in refusal(folder, digest, limits)
    (folder / "more.json").unlink()
    (folder / "adapter_config.json").rename(folder.parent / "elsewhere.json")
    assert "adapter_config.json" in refusal(folder, digest, limits)


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.py", "weights.pt", "optimizer.pkl", "tokenizer.model"])
def test_it_accepts_only_safetensors_and_json(folder, limits, name):
    make_adapter(folder)
    (folder / name).write_bytes(b"x")
    assert "only safetensors and JSON" in refusal(folder, seal(folder), limits)


def test_it_follows_no_links(folder, limits):
    digest = make_adapter(folder)
    weights = folder / "adapter_model.safetensors"
    weights.rename(folder.parent / "weights")
    weights.symlink_to(folder.parent / "weights")
    assert refusal(folder, digest, limits)
    weights.unlink()
    (folder.parent / "weights").rename(weights)
    (folder.parent / "link").symlink_to(folder)
    assert "no directory" in refusal(folder.parent / "link", digest, limits)


def test_it_waits_for_no_pipe(folder, limits):
    digest = make_adapter(folder)
    (folder / "adapter_config.json").unlink()
    os.mkfifo(folder / "adapter_config.json")
    assert "no plain file" in refusal(folder, digest, limits)


@pytest.mark.parametrize("content", [{"auto_map": {}}, {"a": [{"b": {"auto_map": {"AutoModel": "x.Y"}}}]}])
def test_it_refuses_what_names_code(folder, limits, content):
    make_adapter(folder)
    (folder / "extra.json").write_text(json.dumps(content))
    assert "auto_map" in refusal(folder, seal(folder), limits)


def test_it_refuses_a_rank_that_the_engine_does_not_take(folder, limits):
    assert "rank 16" in refusal(folder, make_adapter(folder, rank=16), limits)
    make_adapter(folder, rank=16)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    assert "rank 16" in refusal(folder, seal(folder), limits)
    assert "rank 9" in refusal(folder, make_adapter(folder, rank_pattern={"q_proj": 9}), limits)


def test_it_refuses_where_the_engine_takes_no_adapters(folder, limits):
    nothing = Limits(limits.base, 0, limits.never_adapted)
    assert "take no adapters" in refusal(folder, make_adapter(folder), nothing)


def test_it_refuses_modules_that_the_engine_leaves_out(folder, limits):
    digest = make_adapter(folder, modules=[MODULE, "model.layers.0.self_attn.kv_b_proj"])
    assert "leave out without a word" in refusal(folder, digest, limits)


def test_it_refuses_modules_that_the_deployment_leaves_out(folder, limits):
    digest = make_adapter(folder)
    check_adapter(folder, digest, replace(limits, modules=frozenset({"q_proj"})))
    assert "leave out" in refusal(folder, digest, replace(limits, modules=frozenset({"k_proj"})))


def test_it_refuses_modules_and_shapes_of_another_base(folder, limits):
    digest = make_adapter(folder, modules=[MODULE, "model.layers.1.self_attn.q_proj"])
    assert "which the base model does not have" in refusal(folder, digest, limits)
    assert "another shape" in refusal(folder, make_adapter(folder, shape=(16, 8)), limits)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"lm_head.weight": (8, 8)},
        {f"base_model.model.{MODULE}.lora_A.weight": (4, 8)},
        {f"base_model.model.{MODULE}.lora_A.weight": (4, 8), f"base_model.model.{MODULE}.lora_B.weight": (8, 5)},
    ],
)
def test_it_refuses_weights_that_are_no_whole_adapter(folder, limits, shapes):
    make_adapter(folder)
    safetensors(folder / "adapter_model.safetensors", shapes)
    assert refusal(folder, seal(folder), limits)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b'{"a"'])
def test_it_refuses_what_is_no_safetensors_file(folder, limits, content):
    make_adapter(folder)
    (folder / "adapter_model.safetensors").write_bytes(content)
    assert refusal(folder, seal(folder), limits)


@pytest.mark.parametrize("field", ["modules_to_save", "use_dora", "lora_bias", "layer_replication"])
def test_it_refuses_what_goes_beyond_plain_lora(folder, limits, field):
    assert field in refusal(folder, make_adapter(folder, **{field: ["x"]}), limits)


def test_it_says_that_the_base_model_is_not_there(folder, limits, tmp_path):
    digest = make_adapter(folder)
    assert "no safetensors weights" in refusal(folder, digest, Limits(tmp_path / "nowhere", 8, frozenset()))
