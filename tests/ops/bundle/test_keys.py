from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ops.bundle.errors import BadKeys
from ops.bundle.keys import load_keys, load_signer, take_version
from ops.bundle.metadata import load_root
from tests.ops.bundle.conftest import write_keys


def test_private_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys", root_keys=2, threshold=2)
    found = sorted(path.relative_to(tmp_path / "keys") for path in (tmp_path / "keys").rglob("*.pem"))
    assert [str(path) for path in found] == [
        "offline/root-1.pem", "offline/root-2.pem", "snapshot.pem", "targets.pem", "timestamp.pem",
    ]  # fmt: skip
    assert {stat.S_IMODE((tmp_path / "keys" / path).stat().st_mode) for path in found} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys", tmp_path / "keys/offline")} == {0o700}


def test_the_root_names_one_key_per_role_and_the_threshold(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", root_keys=3, threshold=2)
    root = load_root("root.json", keys.root)
    assert {name: (len(role.keyids), role.threshold) for name, role in root.roles.items()} == {
        "root": (3, 2), "targets": (1, 1), "snapshot": (1, 1), "timestamp": (1, 1),
    }  # fmt: skip
    assert len(root.keys) == 6
    assert {key.scheme for key in root.keys.values()} == {"ed25519"}


def test_a_build_does_without_the_roots_own_keys(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys")
    shutil.rmtree(tmp_path / "keys/offline")
    assert set(load_keys(tmp_path / "keys").online) == {"targets", "snapshot", "timestamp"}


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    before = write_keys(tmp_path / "keys").root
    with pytest.raises(BadKeys, match="exists"):
        write_keys(tmp_path / "keys")
    assert load_keys(tmp_path / "keys").root == before


@pytest.mark.parametrize(("root_keys", "threshold"), [(1, 2), (1, 0), (0, 0), (10, 1)])
def test_a_threshold_that_cannot_be_met_is_refused(tmp_path: Path, root_keys: int, threshold: int) -> None:
    with pytest.raises(BadKeys, match="threshold"):
        write_keys(tmp_path / "keys", root_keys, threshold)
    assert not (tmp_path / "keys").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys")
    (tmp_path / "keys/targets.pem").chmod(0o640)
    with pytest.raises(BadKeys, match="chmod 600"):
        load_keys(tmp_path / "keys")


def test_a_key_of_another_role_or_kind_is_refused(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys")
    shutil.copy(tmp_path / "keys/snapshot.pem", tmp_path / "keys/targets.pem")
    with pytest.raises(BadKeys, match="not the key that root"):
        load_keys(tmp_path / "keys")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "keys/targets.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BadKeys, match="no Ed25519 key"):
        load_signer(tmp_path / "keys/targets.pem")


def test_versions_only_grow(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    assert [take_version(keys) for _ in range(3)] == [1, 2, 3]
    assert take_version(load_keys(tmp_path / "keys")) == 4


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"last": "x"}', None])
def test_a_lost_or_damaged_record_of_versions_stops_the_build(tmp_path: Path, damage: str | None) -> None:
    keys = write_keys(tmp_path / "keys")
    path = tmp_path / "keys/versions.json"
    path.unlink() if damage is None else path.write_text(damage)
    with pytest.raises(BadKeys, match="no version may be used twice"):
        take_version(keys)
