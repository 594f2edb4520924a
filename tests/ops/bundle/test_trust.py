from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ops.bundle.errors import BundleRefused, NoTrust
from ops.bundle.keys import Keys
from ops.bundle.layout import TIMESTAMP
from ops.bundle.trust import TrustStore
from ops.bundle.verify import accept, verify_for
from tests.ops.bundle.conftest import LIFETIME, NOW, Build, resign, write_keys


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    return TrustStore(tmp_path / "data/trust")


def kept(store: TrustStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.directory.iterdir() if path.name != ".lock"}


def test_without_a_root_nothing_is_accepted(store: TrustStore, bundle: Path) -> None:
    with pytest.raises(NoTrust, match="--root"):
        accept(store, bundle, None, NOW)
    assert not store.directory.exists()


def test_the_first_import_installs_the_root_it_was_given(store: TrustStore, bundle: Path, keys: Keys) -> None:
    accept(store, bundle, keys.root, NOW)
    assert store.root() == keys.root
    accept(store, bundle, None, NOW)


def test_a_refused_bundle_installs_nothing(store: TrustStore, bundle: Path, keys: Keys) -> None:
    (bundle / "targets/model/config.json").write_text("{}")
    with pytest.raises(BundleRefused):
        accept(store, bundle, keys.root, NOW)
    assert not store.directory.exists()


def test_a_root_once_installed_is_not_replaced_by_another(
    store: TrustStore, bundle: Path, keys: Keys, tmp_path: Path
) -> None:
    accept(store, bundle, keys.root, NOW)
    with pytest.raises(NoTrust, match="another root"):
        accept(store, bundle, write_keys(tmp_path / "strangers").root, NOW)
    assert store.root() == keys.root


def test_an_older_bundle_is_refused_after_a_newer_one(
    store: TrustStore, bundle: Path, keys: Keys, next_bundle: Build
) -> None:
    accept(store, bundle, keys.root, NOW)
    accept(store, next_bundle("newer"), None, NOW)
    with pytest.raises(BundleRefused, match="timestamp version 1 is older than 2") as refused:
        accept(store, bundle, None, NOW)
    assert len(refused.value.faults) == 3
    with pytest.raises(BundleRefused, match="a downgrade or a replay"):
        verify_for(store, bundle, None, NOW)


def test_a_replayed_timestamp_on_a_newer_bundle_is_refused(
    store: TrustStore, bundle: Path, keys: Keys, next_bundle: Build
) -> None:
    newer = next_bundle("newer")
    accept(store, newer, keys.root, NOW)
    shutil.copy(bundle / TIMESTAMP, newer / TIMESTAMP)
    with pytest.raises(BundleRefused):
        accept(store, newer, None, NOW)


def test_a_bundle_kept_back_until_it_expired_is_refused(store: TrustStore, bundle: Path, keys: Keys) -> None:
    accept(store, bundle, keys.root, NOW)
    with pytest.raises(BundleRefused, match="expired"):
        accept(store, bundle, None, NOW + LIFETIME + timedelta(days=1))


def test_two_different_bundles_of_one_version_are_not_both_accepted(
    store: TrustStore, bundle: Path, keys: Keys
) -> None:
    accept(store, bundle, keys.root, NOW)
    resign(bundle, keys, version=1, expires=NOW + timedelta(days=1))
    with pytest.raises(BundleRefused, match="another bundle with timestamp version 1"):
        accept(store, bundle, None, NOW)


def test_each_model_has_versions_of_its_own(store: TrustStore, bundle: Path, keys: Keys, next_bundle: Build) -> None:
    accept(store, next_bundle("other", name="other"), keys.root, NOW)
    accept(store, bundle, None, NOW)
    assert set(json.loads(kept(store)["seen.json"])["lines"]) == {"model/other", "model/tiny"}


def test_accepting_twice_changes_nothing(store: TrustStore, bundle: Path, keys: Keys) -> None:
    accept(store, bundle, keys.root, NOW)
    before = {p.name: p.stat().st_mtime_ns for p in store.directory.iterdir()}
    contents = kept(store)
    accept(store, bundle, keys.root, NOW)
    assert kept(store) == contents
    assert {p.name: p.stat().st_mtime_ns for p in store.directory.iterdir()} == before


def test_verifying_remembers_under_the_installed_root_only(
    store: TrustStore, bundle: Path, keys: Keys, next_bundle: Build
) -> None:
    newer = next_bundle("newer")
    verify_for(store, newer, keys.root, NOW)
    assert not store.directory.exists()
    accept(store, bundle, keys.root, NOW)
    verify_for(store, newer, None, NOW)
    with pytest.raises(BundleRefused, match="older"):
        accept(store, bundle, None, NOW)


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"format": 2, "lines": {}}', '{"format": 1, "lines": {"model/tiny": 1}}']
)
def test_a_damaged_memory_lets_nothing_in(store: TrustStore, bundle: Path, keys: Keys, damage: str) -> None:
    accept(store, bundle, keys.root, NOW)
    (store.directory / "seen.json").write_text(damage)
    with pytest.raises(NoTrust, match="damaged"):
        accept(store, bundle, None, NOW)


def test_a_damaged_root_lets_nothing_in(store: TrustStore, bundle: Path, keys: Keys) -> None:
    accept(store, bundle, keys.root, NOW)
    (store.directory / "root.json").write_bytes(keys.root[:-1])
    with pytest.raises(BundleRefused, match="the trusted root"):
        accept(store, bundle, None, NOW)
