from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.models import manifest
from ops.models.errors import ModelIncomplete, RefusedFile
from tests.ops.models.test_contents import write_weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    (path / "nested").mkdir(parents=True)
    write_weights(path / "model.safetensors")
    (path / "config.json").write_text("{}")
    (path / "nested/merges.txt").write_text("a b")
    manifest.write(path, name="small", origin="test", licence="none")
    return path


def test_a_written_model_verifies(model: Path) -> None:
    assert manifest.verify(model) == []
    assert [file.path for file in manifest.read(model).files] == [
        "config.json",
        "model.safetensors",
        "nested/merges.txt",
    ]


def test_the_digest_is_that_of_the_content_alone(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    assert manifest.write(copy, name="small", origin="test", licence="none").digest == manifest.read(model).digest
    (copy / "config.json").write_text('{"a": 1}')
    assert manifest.write(copy, name="small", origin="test", licence="none").digest != manifest.read(model).digest


def test_verify_names_each_difference(model: Path) -> None:
    (model / "config.json").write_text("[]")
    (model / "nested/merges.txt").write_text("a")
    (model / "model.safetensors").unlink()
    (model / "extra.txt").write_text("")
    assert sorted(manifest.verify(model)) == [
        "config.json: changed",
        "extra.txt: not in the manifest",
        "model.safetensors: missing",
        "nested/merges.txt: 1 bytes instead of 3",
    ]


def test_the_quick_check_sees_lost_and_cut_files_only(model: Path) -> None:
    (model / "config.json").write_text("[]")
    assert manifest.verify(model, sizes_only=True) == []
    (model / "config.json").write_text("")
    assert manifest.verify(model, sizes_only=True) == ["config.json: 0 bytes instead of 2"]


def test_a_link_in_place_of_a_file_counts_as_missing(model: Path) -> None:
    (model / "config.json").rename(model.parent / "config.json")
    (model / "config.json").symlink_to(model.parent / "config.json")
    assert "config.json: missing" in manifest.verify(model, sizes_only=True)


def test_without_a_manifest_a_directory_is_no_model(model: Path) -> None:
    (model / "manifest.json").unlink()
    with pytest.raises(ModelIncomplete):
        manifest.read(model)
    assert "no manifest.json" in manifest.verify(model)[0]


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', '{"format": 1, "files": [{"path": "x"}]}'])
def test_a_damaged_manifest_is_a_problem_and_not_a_crash(model: Path, content: str) -> None:
    (model / "manifest.json").write_text(content)
    assert "is damaged" in manifest.verify(model)[0]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd"])
def test_a_manifest_cannot_lead_out_of_the_directory(model: Path, path: str) -> None:
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace("config.json", path))
    assert "leads out" in manifest.verify(model)[0]


def test_a_directory_with_a_pickle_never_becomes_a_model(model: Path) -> None:
    (model / "optimizer.pt").write_bytes(b"\x80")
    with pytest.raises(RefusedFile, match=r"optimizer\.pt"):
        manifest.write(model, name="small", origin="test", licence="none")
    assert not (model / "manifest.json").exists()
