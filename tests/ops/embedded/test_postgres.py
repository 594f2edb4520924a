"""The embedded PostgreSQL, really initialised and started: who runs it, where it lies, that it notifies and keeps its rows."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.embedded import postgres
from ops.embedded.errors import EmbeddedError
from ops.embedded.postgres import Cluster, place, prepare, reachable, wheel_bin_dir

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server changes its user")
FAST_SHUTDOWN = signal.SIGINT


@pytest.fixture
def cluster(open_dir: Path) -> Cluster:
    it = place(open_dir, open_dir / "pg")
    prepare(it)
    return it


@pytest.fixture
def open_root(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where closed-away clusters go: this test's own, so that no test finds or removes another's."""
    root = open_dir / "open-root"
    monkeypatch.setattr(postgres, "OPEN_ROOT", root)
    return root


def connect(cluster: Cluster, **more: Any) -> psycopg.Connection[Any]:
    """The socket is there a moment before connections are served."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return psycopg.connect(
                host=str(cluster.socket_dir), user="coderack", dbname="postgres", autocommit=True, **more
            )
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def socket_of(cluster: Cluster) -> Path:
    return cluster.socket_dir / ".s.PGSQL.5432"


def test_it_answers_on_its_socket_and_not_on_tcp(cluster: Cluster, serve: Any) -> None:
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        told = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("listen_addresses", "fsync", "data_checksums")
        }
    assert told == {"listen_addresses": ("",), "fsync": ("on",), "data_checksums": ("on",)}


def test_it_is_new_enough(cluster: Cluster, serve: Any) -> None:
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        assert connection.info.server_version >= 150000


def test_it_notifies_who_listens(cluster: Cluster, serve: Any) -> None:
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as listener, connect(cluster) as speaker:
        listener.execute("LISTEN coderack_directory")
        speaker.execute("NOTIFY coderack_directory, 'changed'")
        heard = next(listener.notifies(timeout=20))
    assert (heard.channel, heard.payload) == ("coderack_directory", "changed")


def test_it_keeps_committed_rows_when_it_is_killed(cluster: Cluster, serve: Any) -> None:
    first = serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        connection.execute("CREATE TABLE ledger (tokens int)")
        connection.execute("INSERT INTO ledger VALUES (42)")
        first.kill()
        first.wait(10)
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        assert connection.execute("SELECT tokens FROM ledger").fetchone() == (42,)


def test_it_stops_at_once_on_a_fast_shutdown_with_clients_connected(cluster: Cluster, serve: Any) -> None:
    server = serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster):
        server.send_signal(FAST_SHUTDOWN)
        assert server.wait(6) == 0


@only_root
def test_it_never_runs_as_root(cluster: Cluster, serve: Any) -> None:
    server = serve(cluster.argv(), socket_of(cluster), cluster)
    assert cluster.user not in {None, 0}
    assert Path(f"/proc/{server.pid}").stat().st_uid == cluster.user


def test_it_keeps_the_cluster_and_the_socket_to_their_owner(cluster: Cluster) -> None:
    for directory in (cluster.data_dir, cluster.socket_dir):
        facts = directory.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o700
        assert facts.st_uid == (os.geteuid() if cluster.user is None else cluster.user)


def test_it_prepares_a_cluster_once(cluster: Cluster) -> None:
    before = (cluster.data_dir / "PG_VERSION").stat().st_mtime_ns
    prepare(cluster)
    assert (cluster.data_dir / "PG_VERSION").stat().st_mtime_ns == before


def test_it_begins_a_half_made_cluster_again(open_dir: Path, serve: Any) -> None:
    cluster = place(open_dir, open_dir / "pg")
    (cluster.data_dir / "base").mkdir(parents=True)
    (open_dir / "pgdata.begun").touch()
    (cluster.data_dir / "PG_VERSION").write_text("18\n")  # initdb writes it early; a kill after that left this
    prepare(cluster)
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_it_repeats_what_initdb_said_when_it_fails(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = place(open_dir, open_dir / "pg")
    monkeypatch.setattr(postgres, "OWNER", "pg_reserved")  # initdb refuses names that begin with pg_
    with pytest.raises(EmbeddedError, match='superuser name "pg_reserved" is disallowed'):
        prepare(cluster)
    assert (open_dir / "pgdata.begun").exists(), "the next attempt knows that this one was not finished"


def test_it_stays_in_the_data_directory_where_everybody_may_walk(open_dir: Path) -> None:
    assert place(open_dir, open_dir / "pg").data_dir == open_dir / "pgdata"


@only_root
def test_it_moves_out_of_a_closed_directory(tmp_path: Path, open_dir: Path, open_root: Path, serve: Any) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    cluster = place(closed / "var", open_dir / "pg")
    assert cluster.data_dir.parent == open_root
    assert cluster.data_dir != place(closed / "other", open_dir / "pg").data_dir
    prepare(cluster)
    serve(cluster.argv(), socket_of(cluster), cluster)
    with connect(cluster) as connection:
        assert connection.execute("SHOW data_directory").fetchone() == (str(cluster.data_dir),)
    assert not list(closed.iterdir())


@only_root
def test_it_copies_binaries_out_of_a_closed_directory(tmp_path: Path, open_dir: Path, open_root: Path) -> None:
    closed = tmp_path.joinpath("closed", *wheel_bin_dir().parts[-3:])  # package, installation, bin
    closed.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    cluster = place(open_dir, open_dir / "pg", bin_dir=closed)
    assert open_root in cluster.bin_dir.parents
    prepare(cluster)
    assert reachable(cluster.bin_dir / "postgres")
    told = subprocess.run(
        [cluster.bin_dir / "postgres", "--version"], user=cluster.user, check=True, capture_output=True, cwd="/"
    )
    assert told.stdout.startswith(b"postgres (PostgreSQL) ")


def test_it_sees_whether_everybody_may_walk_to_a_place(open_dir: Path) -> None:
    assert reachable(open_dir / "not" / "made" / "yet")
    open_dir.chmod(0o700)
    assert not reachable(open_dir / "not" / "made" / "yet")


def test_it_never_begins_an_empty_database_beside_one_that_holds_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root's cluster moves")
    (tmp_path / "pgdata").mkdir()
    (tmp_path / "pgdata" / "PG_VERSION").write_text("18")
    monkeypatch.setattr("ops.embedded.postgres.reachable", lambda path: path != tmp_path)
    with pytest.raises(EmbeddedError, match="can't be reached"):
        place(tmp_path, tmp_path / "s")


def test_it_touches_no_directory_that_holds_something_else(tmp_path: Path) -> None:
    data = tmp_path / "pgdata"
    data.mkdir()
    (data / "letter.txt").write_text("keep me")
    cluster = Cluster(wheel_bin_dir(), data, tmp_path / "s", None, None)
    with pytest.raises(EmbeddedError, match="something else"):
        prepare(cluster)
    assert (data / "letter.txt").read_text() == "keep me"
