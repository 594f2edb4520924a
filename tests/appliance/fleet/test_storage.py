"""A worker elsewhere goes on only in the data directory that belongs to its database."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.fleet.errors import StorageRefused
from appliance.fleet.models import Storage
from appliance.fleet.storage import mark_storage, require_storage
from appliance.fleet.storage_mark import MARK, make_mark, read_mark

pytestmark = pytest.mark.usefixtures("db")


def test_the_home_boxs_directory_is_the_one_and_stays_it(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    first = read_mark(tmp_path)
    require_storage(tmp_path)
    mark_storage(tmp_path)
    assert read_mark(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_before_the_home_box_was_started_nothing_is_the_one(tmp_path: Path) -> None:
    with pytest.raises(StorageRefused, match="start the home box first"):
        require_storage(tmp_path)


def test_a_missing_mount_is_refused(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    (tmp_path / MARK).unlink()
    with pytest.raises(StorageRefused, match="is the shared storage mounted"):
        require_storage(tmp_path)


def test_another_appliances_directory_is_refused(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    make_mark(tmp_path)
    with pytest.raises(StorageRefused, match="not the data directory of this database"):
        require_storage(tmp_path)


def test_the_same_directory_at_another_path_is_refused(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    (there := tmp_path / "elsewhere").mkdir()
    (there / MARK).write_bytes((tmp_path / MARK).read_bytes())
    with pytest.raises(StorageRefused, match="mount it at the same path"):
        require_storage(there)


def test_another_release_is_refused(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    Storage.objects.update(release="0.0.1")
    with pytest.raises(StorageRefused, match=r"release 0\.0\.1"):
        require_storage(tmp_path)


def test_a_restored_copy_becomes_another_directory_at_the_home_boxs_start(tmp_path: Path) -> None:
    mark_storage(tmp_path)
    first = read_mark(tmp_path)
    (tmp_path / MARK).unlink()
    mark_storage(tmp_path)
    require_storage(tmp_path)
    assert read_mark(tmp_path) != first
