"""Whether a box sees the data directory that belongs to the database: a mark in the one, compared with a row in the other.

A mount that is missing leaves an empty folder, and a wrong one another appliance's files: a worker that went on there would
find no checkpoint and lose what it makes.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from appliance.fleet.errors import StorageRefused
from appliance.fleet.models import Storage
from appliance.fleet.storage_mark import MARK, make_mark, read_mark


def mark_storage(data_dir: Path) -> None:
    """What the home box does at each start: it says which directory is the one. A copy or a restored backup is another one."""
    row, mark = Storage.objects.filter(pk=1).first(), read_mark(data_dir)
    agreed = row.storage_id if row is not None and row.storage_id == mark else make_mark(data_dir)
    values = {"storage_id": agreed, "data_dir": str(data_dir), "release": version("coderack")}
    Storage.objects.update_or_create(pk=1, defaults=values)


def require_storage(data_dir: Path) -> None:
    """Raises: StorageRefused where this is not the database's data directory, or another release's."""
    row = Storage.objects.filter(pk=1).first()
    if row is None:
        raise StorageRefused("the database knows of no data directory: start the home box first (`coderack up`)")
    if row.data_dir != str(data_dir):
        raise StorageRefused(
            f"the home box has its data directory at {row.data_dir}, this one at {data_dir}: mount it at the same path"
        )
    mark = read_mark(data_dir)
    if mark is None:
        raise StorageRefused(f"{data_dir / MARK} is not there: is the shared storage mounted?")
    if mark != row.storage_id:
        raise StorageRefused(
            f"{data_dir} is not the data directory of this database ({MARK} is {mark!r}, the database has "
            f"{row.storage_id!r}): mount the home box's, or set DATABASE_URL to the database that belongs to it"
        )
    if row.release != version("coderack"):
        raise StorageRefused(
            f"the home box runs release {row.release}, this one {version('coderack')}: install the same"
        )
