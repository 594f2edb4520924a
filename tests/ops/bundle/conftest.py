"""A few kilobytes of model, the keys to sign it with, and bundles that a signer with those keys could also get wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.bundle import layout
from ops.bundle.build import Wanted, build
from ops.bundle.keys import Keys, load_keys, make_keys
from ops.bundle.signing import Target, sign_targets
from ops.models import manifest
from ops.slots.files import sha256_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(days=90)
Build = Callable[..., Path]


def write_model(directory: Path, name: str = "tiny", seed: int = 1) -> Path:
    """A model directory as the appliance takes them: real safetensors of 1 KB, settings, a nested text."""
    (directory / "nested").mkdir(parents=True)
    header = json.dumps({"weight": {"dtype": "F32", "shape": [16, 16], "data_offsets": [0, 1024]}}).encode()
    weights = bytes((i * 7 + seed) % 256 for i in range(1024))
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights)
    (directory / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "nested/merges.txt").write_text("a b\n")
    manifest.write(directory, name=name, origin="a test", licence="none")
    return directory


def write_keys(directory: Path, root_keys: int = 1, threshold: int = 1) -> Keys:
    make_keys(directory, root_keys=root_keys, threshold=threshold, root_expires=NOW + timedelta(days=3650))
    return load_keys(directory)


def resign(bundle: Path, keys: Keys, version: int = 9, expires: datetime = NOW + LIFETIME) -> None:
    """Sign what lies in a bundle now, as a signer would who looked at nothing."""
    for path in (bundle / layout.METADATA).iterdir():
        if not path.name.endswith(".root.json"):
            path.unlink()
    top = bundle / layout.TARGETS
    found = [path for path in sorted(top.rglob("*")) if path.is_file()]
    targets = [Target(str(path.relative_to(top)), path.stat().st_size, sha256_of(path)) for path in found]
    write_metadata(bundle, sign_targets(targets, keys.online, version, expires))


def write_metadata(bundle: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (bundle / path).write_bytes(content)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, keys and a bundle, made once; tests that change something take a copy."""
    root = tmp_path_factory.mktemp("made")
    write_model(root / "model")
    keys = write_keys(root / "keys")
    build(root / "bundle", keys, root / "model", Wanted(preset="tiny-preset", fim=True), now=NOW, lifetime=LIFETIME)
    return root


@pytest.fixture
def model(made: Path) -> Path:
    return made / "model"


@pytest.fixture
def keys(made: Path, tmp_path: Path) -> Keys:
    shutil.copytree(made / "keys", tmp_path / "keys")
    return load_keys(tmp_path / "keys")


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "bundle", tmp_path / "bundle"))


@pytest.fixture
def next_bundle(keys: Keys, model: Path, tmp_path: Path) -> Build:
    """Build a bundle with the next version of the same keys."""

    def make(out: str, **wanted: str) -> Path:
        build(tmp_path / out, keys, model, Wanted(**wanted), now=NOW, lifetime=LIFETIME)
        return tmp_path / out

    return make
