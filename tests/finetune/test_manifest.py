"""The manifest of adapters and checkpoints: whole or refused, and readable by whoever serves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune import manifest
from ops.models import manifest as serving


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "notes.json").write_text("[1]")
    return tmp_path


def write(directory: Path) -> manifest.Manifest:
    return manifest.write(directory, name="a", origin="finetune:1", licence="MIT")


def test_a_fresh_directory_is_whole_and_its_digest_is_the_manifests_own(directory: Path) -> None:
    made = write(directory)
    assert manifest.verify(directory) == []
    assert [file.path for file in made.files] == ["adapter_config.json", "sub/notes.json"]
    assert made.digest == hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()


def test_the_same_files_give_the_same_digest_again(directory: Path) -> None:
    assert write(directory) == write(directory)


def test_the_serving_side_reads_and_verifies_it(directory: Path) -> None:
    made = write(directory)
    read = serving.read(directory)
    assert (read.name, read.origin, read.licence, read.digest) == (made.name, made.origin, made.licence, made.digest)
    assert serving.verify(directory) == []


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda d: (d / "adapter_config.json").write_text("[]"), "adapter_config.json: changed"),
        (lambda d: (d / "adapter_config.json").write_text("{"), "adapter_config.json: 1 bytes instead of 2"),
        (lambda d: (d / "sub" / "notes.json").unlink(), "sub/notes.json: missing"),
        (lambda d: (d / "more.json").write_text("{}"), "more.json: not in the manifest"),
        (lambda d: (d / "link").symlink_to("/etc/hostname"), "link: not in the manifest"),
        (lambda d: (d / "manifest.json").unlink(), "it is not complete"),
        (lambda d: (d / "manifest.json").write_text("{}"), "is damaged"),
    ],
)
def test_it_names_what_differs(directory: Path, spoil: Callable[[Path], object], told: str) -> None:
    write(directory)
    spoil(directory)
    (problem,) = manifest.verify(directory)
    assert told in problem


def test_a_link_can_not_be_declared(directory: Path) -> None:
    (directory / "link").symlink_to("adapter_config.json")
    with pytest.raises(OSError, match="symbolic links"):
        write(directory)
    assert not (directory / "manifest.json").exists()


def test_a_path_out_of_the_directory_is_refused(directory: Path) -> None:
    write(directory)
    content = json.loads((directory / "manifest.json").read_text())
    content["files"][0]["path"] = "../secret"
    (directory / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(manifest.NotWhole, match="leads out"):
        manifest.read(directory)
