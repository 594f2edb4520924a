from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ops.bundle import copying
from ops.bundle.about import parse
from ops.bundle.build import Wanted, build
from ops.bundle.errors import BundleError, CannotBuild, NotEnoughSpace
from ops.bundle.keys import Keys
from ops.models import manifest
from tests.ops.bundle.conftest import LIFETIME, NOW, Build, write_model


def build_now(out: Path, keys: Keys, model: Path, wanted: Wanted | None = None) -> None:
    build(out, keys, model, wanted or Wanted(), now=NOW, lifetime=LIFETIME)


def test_a_bundle_holds_the_model_its_description_and_the_metadata_of_four_roles(made: Path) -> None:
    found = sorted(str(path.relative_to(made / "bundle")) for path in (made / "bundle").rglob("*") if path.is_file())
    assert found == [
        "metadata/1.root.json", "metadata/1.snapshot.json", "metadata/1.targets.json", "metadata/timestamp.json",
        "targets/bundle.json", "targets/model/chat_template.jinja", "targets/model/config.json",
        "targets/model/manifest.json", "targets/model/model.safetensors", "targets/model/nested/merges.txt",
    ]  # fmt: skip
    assert manifest.verify(made / "bundle/targets/model") == []


def test_bundle_json_says_what_the_model_is_and_needs(made: Path) -> None:
    about = parse((made / "bundle/targets/bundle.json").read_bytes())
    listed = manifest.read(made / "model")
    assert (about.kind, about.name, about.preset, about.fim) == ("model", "tiny", "tiny-preset", True)
    assert (about.digest, about.licence, about.origin) == (listed.digest, "none", "a test")
    assert about.requirements.free_disk_bytes == sum(file.size_bytes for file in listed.files)


def test_nothing_in_a_bundle_shares_its_blocks_with_the_model(made: Path) -> None:
    assert {path.stat().st_nlink for path in (made / "bundle").rglob("*") if path.is_file()} == {1}


def test_every_build_has_a_version_of_its_own(next_bundle: Build) -> None:
    assert (next_bundle("two") / "metadata/2.targets.json").exists()
    assert (next_bundle("three") / "metadata/3.snapshot.json").exists()


def test_a_changed_model_is_not_signed(keys: Keys, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    (model / "config.json").write_text("{}")
    with pytest.raises(CannotBuild, match=r"config\.json"):
        build_now(tmp_path / "out", keys, model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a b.txt", "ä.txt", ".hidden.txt", "Config.json"])
def test_a_file_that_a_stick_could_not_carry_is_refused(keys: Keys, tmp_path: Path, name: str) -> None:
    model = write_model(tmp_path / "model")
    (model / name).write_text("{}")
    manifest.write(model, name="tiny", origin="a test", licence="none")
    with pytest.raises(CannotBuild, match="can't be carried"):
        build_now(tmp_path / "out", keys, model)


@pytest.mark.parametrize("wanted", [Wanted(name="../up"), Wanted(preset="a/b"), Wanted(engine_version="\x1b[2J")])
def test_a_description_that_nobody_would_accept_is_refused(
    keys: Keys, model: Path, tmp_path: Path, wanted: Wanted
) -> None:
    with pytest.raises(CannotBuild, match="described"):
        build_now(tmp_path / "out", keys, model, wanted)


def test_a_bundle_is_never_changed(keys: Keys, model: Path, bundle: Path) -> None:
    with pytest.raises(CannotBuild, match="exists"):
        build_now(bundle, keys, model)


def test_a_missing_parent_says_to_mount_the_disk(keys: Keys, model: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="mount the disk"):
        build_now(tmp_path / "nowhere/out", keys, model)


def test_an_expired_root_signs_nothing(keys: Keys, model: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="expired"):
        build(tmp_path / "out", keys, model, Wanted(), now=NOW + timedelta(days=4000), lifetime=LIFETIME)


def test_a_full_disk_is_noticed_before_anything_is_copied(
    keys: Keys, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "SPARE_BYTES", 1 << 60)
    with pytest.raises(NotEnoughSpace, match="make room"):
        build_now(tmp_path / "out", keys, model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys"]


@pytest.fixture
def failing_syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The first number is how many syncs succeed before the disk fails; syncs count it down."""
    left, real = [0], os.fsync

    def fail_later(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_later)
    yield left
    monkeypatch.undo()


def test_a_disk_that_fails_at_any_moment_leaves_a_whole_bundle_or_none(
    keys: Keys, model: Path, tmp_path: Path, failing_syncs: list[int]
) -> None:
    out = tmp_path / "out"
    for syncs in range(100):
        failing_syncs[0] = syncs
        try:
            build_now(out, keys, model)
        except OSError:
            assert not (tmp_path / ".out.building").exists()
            if out.exists():  # only the sync after the rename may fail with the bundle in place
                assert manifest.verify(out / "targets/model") == []
                shutil.rmtree(out)
            continue
        break
    assert syncs > 10
    assert (out / "metadata/timestamp.json").exists()


def test_what_a_killed_build_left_is_removed_by_the_next(keys: Keys, model: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.building/targets").mkdir(parents=True)
    (tmp_path / ".out.building/rest").write_text("half")
    build_now(tmp_path / "out", keys, model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metadata", "targets"]


def test_every_refusal_has_a_code() -> None:
    codes = [kind.code for kind in BundleError.__subclasses__()]
    assert len(set(codes)) == len(codes) == 6
