"""pg_dump and pg_restore: which ones fit a server, and how they are run. A password goes by the environment, never by argv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ops.backup.errors import DatabaseTool
from ops.embedded.errors import EmbeddedError
from ops.embedded.postgres import wheel_bin_dir

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
HINT = "install Debian's postgresql-client in that version or a newer one"
SETS_TIMEOUT = 17  # from this version on, pg_restore begins with `SET transaction_timeout`, which older servers refuse


def major(server_version: int) -> int:
    """The major version of a number as `server_version_num` has it."""
    return server_version // 10000


def needs_newer_server(tool_version: int, server_version: int) -> bool:
    """Whether what such a pg_dump wrote, or such a pg_restore sends, is refused by this server."""
    return major(server_version) < SETS_TIMEOUT <= tool_version


def find(name: str, embedded: bool, at_least: int, below: int | None = None) -> tuple[Path, int]:
    """The tool and its major version: the embedded server's own, else the one in PATH, else the wheel's.

    Raises: DatabaseTool when there is none, or none that is new enough and older than `below`.
    """
    candidates = [] if embedded else [shutil.which(name)]
    seen = []
    for candidate in [*candidates, _of_the_wheel(name)]:
        version = _version(candidate) if candidate else None
        if candidate and version is not None:
            if version >= at_least and (below is None or version < below):
                return Path(candidate), version
            seen.append(f"{candidate} is version {version}")
    reason = "; ".join(seen) or "there is none"
    hint = HINT if below is None else f"install Debian's postgresql-client-{at_least}"
    raise DatabaseTool(f"{name} for PostgreSQL {at_least} is needed ({reason}): {hint}")


def dump(tool: Path, dsn: str, snapshot: str, target: Path) -> None:
    """Write the database as that snapshot sees it, in pg_dump's custom format.

    Raises: DatabaseTool with its own words.
    """
    target.touch(mode=0o600)
    _run(tool, dsn, "--format=custom", "--no-password", f"--snapshot={snapshot}", f"--file={target}")


def restore(tool: Path, dsn: str, source: Path, with_grants: bool) -> None:
    """Fill an empty database from a dump, wholly or not at all.

    Raises: DatabaseTool with its own words.
    """
    grants = () if with_grants else ("--no-acl",)
    _run(tool, dsn, "--no-owner", *grants, "--no-password", "--exit-on-error", "--single-transaction", str(source))


def connection(dsn: str) -> tuple[str, dict[str, str]]:
    """A connection string that everybody may see, and the environment that holds its password.

    libpq's own variables (PGSSLMODE, PGPASSFILE and so on) are passed on: the appliance connects by them as well.
    """
    words = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    password = words.pop("password", None)
    return make_conninfo("", **words), dict(os.environ) | ({"PGPASSWORD": password} if password else {})


def _run(tool: Path, dsn: str, *options: str) -> None:
    shown, environment = connection(dsn)
    done = subprocess.run(
        [str(tool), f"--dbname={shown}", *options], env=environment, capture_output=True, text=True, errors="replace",
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        raise DatabaseTool(f"{tool.name} ended with {done.returncode}: {done.stderr.strip()[-800:]}")


def _of_the_wheel(name: str) -> str | None:
    try:
        path = wheel_bin_dir() / name
    except EmbeddedError:
        return None
    return str(path) if path.exists() else None


def _version(tool: str) -> int | None:
    try:
        told = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(told)
    return int(match[1]) if match else None
