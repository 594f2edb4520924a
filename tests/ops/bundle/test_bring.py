from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bundle import copying
from ops.bundle.bring import bring
from ops.bundle.errors import CannotImport, NotEnoughSpace
from ops.bundle.keys import Keys
from ops.bundle.verify import Bundle, verify
from ops.models import manifest
from tests.ops.bundle.conftest import NOW, Build

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture
def verified(bundle: Path, keys: Keys) -> Bundle:
    return verify(bundle, keys.root, lambda line: None, NOW)


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock"))


def test_the_model_lies_under_its_name_and_digest(verified: Bundle, model: Path, tmp_path: Path) -> None:
    path = bring(verified, tmp_path / "cache")
    assert path == tmp_path / "cache/models" / f"tiny-{manifest.read(model).digest[:12]}"
    assert manifest.verify(path) == []
    assert manifest.read(path) == manifest.read(model)
    assert names(tmp_path / "cache") == [path.name]


def test_importing_twice_changes_nothing(verified: Bundle, tmp_path: Path) -> None:
    path = bring(verified, tmp_path / "cache")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert bring(verified, tmp_path / "cache") == path
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_a_damaged_model_in_its_place_is_named_and_not_replaced(verified: Bundle, tmp_path: Path) -> None:
    path = bring(verified, tmp_path / "cache")
    (path / "config.json").write_text("{}")
    with pytest.raises(CannotImport, match=r"config\.json"):
        bring(verified, tmp_path / "cache")
    assert (path / "config.json").read_text() == "{}"


def test_a_link_in_its_place_is_refused(verified: Bundle, model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache/models").mkdir(parents=True)
    (tmp_path / "cache/models" / verified.about.directory_name).symlink_to(model)
    with pytest.raises(CannotImport, match="a link"):
        bring(verified, tmp_path / "cache")


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "model.safetensors"])
def test_a_disk_that_changes_after_it_was_verified_brings_nothing(verified: Bundle, tmp_path: Path, name: str) -> None:
    path = verified.path / "targets/model" / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CannotImport, match="changed while it was copied"):
        bring(verified, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_a_link_put_there_after_it_was_verified_is_not_followed(verified: Bundle, tmp_path: Path) -> None:
    path = verified.path / "targets/model/config.json"
    path.rename(tmp_path / "config.json")
    path.symlink_to(tmp_path / "config.json")
    with pytest.raises(OSError, match="symbolic links"):
        bring(verified, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_a_full_disk_is_noticed_before_anything_is_copied(
    verified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "SPARE_BYTES", 1 << 60)
    with pytest.raises(NotEnoughSpace):
        bring(verified, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_a_newer_version_lies_beside_the_older_one(
    verified: Bundle, keys: Keys, next_bundle: Build, tmp_path: Path
) -> None:
    other = verify(next_bundle("other", name="second"), keys.root, lambda line: None, NOW)
    assert bring(verified, tmp_path / "cache") != bring(other, tmp_path / "cache")
    assert len(names(tmp_path / "cache")) == 2


def test_a_kill_at_any_sync_leaves_nothing_or_the_whole_model(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.ops.bundle.killed_imports", str(bundle), str(keys.directory / "root.json"),
         str(tmp_path / "data"), str(tmp_path / "cache"), NOW.isoformat()],
        cwd=REPO, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    report = json.loads(told.stdout)
    assert report["status"] == 0, told.stderr
    *killed, last = report["left"]
    assert len(killed) >= 8
    first_whole = next((n for n, left in enumerate(killed) if left), len(killed))
    assert first_whole >= len(killed) - 1, "only the sync after the rename finds the model in place"
    assert len(last) == 1
    assert manifest.verify(tmp_path / "cache/models" / last[0]) == []
    assert names(tmp_path / "cache") == last, "the last import removed what the killed ones left"
