"""What is refused before or while two are merged, and that nothing of it stays. The arithmetic runs in the engine slot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune import manifest
from finetune.merge import room
from finetune.merge.errors import CannotMerge, MergeError
from finetune.merge.run import folder_name, run_merge
from finetune.merge.shard import read_header
from tests.inference.pool.adapter_dirs import make_adapter, make_base, seal

Merge = Callable[[], str]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = make_base(tmp_path / "base")
    (folder / "config.json").write_text("{}")
    seal(folder)
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    make_adapter(tmp_path / "adapter", lora_alpha=8)
    return tmp_path / "adapter"


@pytest.fixture
def merge(slot_python: Path, base: Path, adapter: Path, tmp_path: Path) -> Merge:
    digests = [manifest.read(folder).digest for folder in (base, adapter)]

    def run() -> str:
        pairs = zip((base, adapter), digests, strict=True)
        return run_merge(slot_python, *pairs, tmp_path / "out", "ft:x", tmp_path / "log")

    return run


def left(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()} - {"base", "adapter", "log"}


@pytest.mark.engine
def test_it_is_whole_and_says_what_it_was_made_of(merge: Merge, base: Path, adapter: Path, tmp_path: Path) -> None:
    digest = merge()
    made = manifest.read(tmp_path / "out")
    assert (made.digest, made.name, made.licence) == (digest, "ft:x", "l")
    assert manifest.read(base).digest in made.origin
    assert manifest.read(adapter).digest in made.origin
    assert manifest.verify(tmp_path / "out") == []
    assert left(tmp_path) == {"out"}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda base, _: (base / "config.json").write_text("[]"), "config.json was changed"),
        (lambda base, _: (base / "manifest.json").unlink(), "has no manifest.json"),
        (lambda _, adapter: (adapter / "adapter_config.json").write_text("[]"), "the adapter is not whole"),
        (lambda _, adapter: seal_other(adapter), "not the one that was registered"),
    ],
)
def test_what_is_not_as_it_was_registered_is_not_merged(
    merge: Merge, base: Path, adapter: Path, tmp_path: Path, harm: Callable[[Path, Path], object], told: str
) -> None:
    harm(base, adapter)
    with pytest.raises(CannotMerge, match=told):
        merge()
    assert left(tmp_path) == set()


def seal_other(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("{}")
    seal(adapter)


@pytest.mark.engine
def test_a_module_that_the_base_does_not_have_is_refused(slot_python: Path, base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    make_adapter(adapter, modules=("model.layers.7.self_attn.q_proj",), lora_alpha=8)
    pairs = [(folder, manifest.read(folder).digest) for folder in (base, adapter)]
    with pytest.raises(CannotMerge, match=r"does not have model\.layers\.7\.self_attn\.q_proj\.weight"):
        run_merge(slot_python, *pairs, tmp_path / "out", "ft:x", tmp_path / "log")
    assert left(tmp_path) == set()


def test_a_slot_that_is_not_there_is_told_and_may_be_there_later(base: Path, adapter: Path, tmp_path: Path) -> None:
    pairs = [(folder, manifest.read(folder).digest) for folder in (base, adapter)]
    with pytest.raises(MergeError, match="could not be run") as caught:
        run_merge(tmp_path / "python", *pairs, tmp_path / "out", "ft:x", tmp_path / "log")
    assert not caught.value.permanent


def test_the_same_two_have_one_place() -> None:
    assert folder_name("a", "b") == folder_name("a", "b")
    assert len({folder_name("a", "b"), folder_name("b", "a"), folder_name("ab", "")}) == 3


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "cut short"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "does not lie"),
        ({"w": {"dtype": "F32"}}, "no safetensors file"),
        ([], "no safetensors file"),
    ],
)
def test_a_damaged_shard_is_refused(tmp_path: Path, header: object, told: str) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"12")
    with path.open("rb") as file, pytest.raises(CannotMerge, match=told):
        read_header(file, path)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(MergeError, match=r"has 0\.50 GB and 0\.27 GB are kept free, but .* has 0\.10 GB left"):
        room.require(tmp_path, 5 * 10**8)
