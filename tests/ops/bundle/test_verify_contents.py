"""What a signer gets wrong, or a thief of keys tries: signed all the same, and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.bundle.keys import Keys
from ops.bundle.signing import Target, sign_targets
from ops.models import manifest
from ops.slots.files import sha256_of
from tests.ops.bundle.conftest import LIFETIME, NOW, resign, write_metadata
from tests.ops.bundle.verifying import faults


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/outside.txt", "model/../../x.txt", "model//x.txt", ".x", "model/a\\b"]
)
def test_a_name_that_leads_out_of_the_bundle_is_refused_though_it_is_signed(
    bundle: Path, keys: Keys, name: str
) -> None:
    (bundle / "outside.txt").write_text("x")
    bad = Target(name, 1, sha256_of(bundle / "outside.txt"))
    (bundle / "outside.txt").unlink()
    write_metadata(bundle, sign_targets([bad], keys.online, 1, NOW + LIFETIME))
    assert faults(bundle, keys.root) == (
        f"metadata/1.targets.json: {name!r}: not a plain relative path of letters, digits and . _ + -",
    )


def pickle(model: Path) -> None:
    (model / "weights.pkl").write_bytes(b"\x80\x04.")


def code(model: Path) -> None:
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.X"}}')


def no_weights(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x80\x04pickle")


def write_manifest(model: Path) -> None:
    """A manifest over whatever lies there: manifest.write itself would refuse."""
    path = model / manifest.FILE_NAME
    names = sorted(str(p.relative_to(model)) for p in model.rglob("*") if p.is_file() and p != path)
    files = [{"path": n, "size_bytes": (model / n).stat().st_size, "sha256": sha256_of(model / n)} for n in names]
    path.write_text(json.dumps({"format": 1, "name": "tiny", "origin": "", "licence": "", "files": files}))


@pytest.mark.parametrize(
    ("spoil", "said"), [(pickle, "weights.pkl"), (code, "auto_map"), (no_weights, "not a safetensors file")]
)
def test_signed_files_that_could_run_code_are_refused(
    bundle: Path, keys: Keys, spoil: Callable[[Path], None], said: str
) -> None:
    model = bundle / "targets/model"
    spoil(model)
    write_manifest(model)
    about = json.loads((bundle / "targets/bundle.json").read_text()) | {"digest": sha256_of(model / manifest.FILE_NAME)}
    (bundle / "targets/bundle.json").write_text(json.dumps(about))
    resign(bundle, keys)
    [fault] = faults(bundle, keys.root)
    assert said in fault


def test_signed_files_that_the_manifest_does_not_name_are_refused(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/more.txt").write_text("x")
    resign(bundle, keys)
    assert "not those of the model's manifest.json" in faults(bundle, keys.root)[0]


def test_a_signed_file_beside_the_model_is_refused(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/install.sh").write_text("x")
    resign(bundle, keys)
    assert faults(bundle, keys.root) == ("targets/install.sh: neither bundle.json nor part of the model",)


def test_a_description_of_another_model_is_refused(bundle: Path, keys: Keys) -> None:
    about = json.loads((bundle / "targets/bundle.json").read_text()) | {"digest": "0" * 64}
    (bundle / "targets/bundle.json").write_text(json.dumps(about))
    resign(bundle, keys)
    assert "names another model" in faults(bundle, keys.root)[0]


@pytest.mark.parametrize("missing", ["targets/bundle.json", "targets/model"])
def test_a_signed_bundle_without_a_model_or_a_description_is_refused(bundle: Path, keys: Keys, missing: str) -> None:
    path = bundle / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    resign(bundle, keys)
    assert faults(bundle, keys.root)


def test_all_changed_files_are_named_at_once(bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/config.json").write_text("{}")
    (bundle / "targets/model/nested/merges.txt").write_text("b a\n")
    assert [fault.split(":")[0] for fault in faults(bundle, keys.root)] == [
        "targets/model/config.json",
        "targets/model/nested/merges.txt",
    ]
