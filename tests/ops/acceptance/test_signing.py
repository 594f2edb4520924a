"""The box's key: made once, read by its owner only, refused otherwise."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ops.acceptance.errors import BadSigningKey
from ops.acceptance.folder import clear, prepare, publish
from ops.acceptance.signing import PRIVATE, PUBLIC, ensure_key, key_id, load_public, pem_of


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = ensure_key(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys" / PRIVATE).stat().st_mode) == 0o600
    assert pem_of(ensure_key(tmp_path / "keys").public_key()) == pem_of(key.public_key())
    assert key_id(load_public(tmp_path / "keys" / PUBLIC)) == key_id(key.public_key())


def test_a_lost_public_key_is_written_anew(tmp_path: Path) -> None:
    key = ensure_key(tmp_path)
    (tmp_path / PUBLIC).unlink()
    ensure_key(tmp_path)
    assert (tmp_path / PUBLIC).read_bytes() == pem_of(key.public_key())


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ensure_key(tmp_path)
    (tmp_path / PRIVATE).chmod(0o640)
    with pytest.raises(BadSigningKey, match="chmod 600"):
        ensure_key(tmp_path)


def test_what_is_no_key_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / PRIVATE).touch(mode=0o600)
    with pytest.raises(BadSigningKey, match="restore it"):
        ensure_key(tmp_path)
    assert (tmp_path / PRIVATE).read_bytes() == b""


def test_a_private_key_is_no_public_one(tmp_path: Path) -> None:
    ensure_key(tmp_path)
    for path in (tmp_path / PRIVATE, tmp_path / "absent.pem"):
        with pytest.raises(BadSigningKey, match="acceptance key"):
            load_public(path)


def test_what_a_killed_run_left_is_cleared_and_what_is_published_stays(tmp_path: Path) -> None:
    whole = publish(prepare(tmp_path, "whole", {"a": b"1"}))
    prepare(tmp_path, "half", {"a": b"1"})
    assert clear(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]
