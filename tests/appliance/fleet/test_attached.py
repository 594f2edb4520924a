"""Servers that the pool did not start, from the command line to the gateway's views, watched by the pool's own threads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from typer.testing import CliRunner

from appliance.audit.models import AuditEntry
from appliance.first_rows import register_model, register_slot
from appliance.fleet import deployments
from appliance.fleet.attached_store import AttachedRows
from appliance.fleet.models import AttachedServer, EngineLife
from appliance.fleet.store import DatabaseStore
from appliance.ledger.meter import entry
from appliance.ledger.models import LedgerEntry
from appliance.ledger.reconcile import reconcile
from inference.engines import engine_kind
from inference.gateway.directory import Snapshot
from inference.gateway.directory_feed import load_snapshot
from inference.metering.journal import UsageRecord
from inference.pool.attached_watch import AttachedWatch
from inference.pool.settings import PoolSettings
from ops.cli.main import app
from ops.support.secrets import of_files
from tests.fakes.outside import OutsideServer, make_ca
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")
MODEL = "deepseek-outside"
KEY = "sk-inner-secret-0123456789"


@pytest.fixture(autouse=True)
def known_model(db: None) -> None:
    register_model(MODEL, Path("/m/outside"), "a" * 64, "", 4096, True)


@pytest.fixture
def servers() -> Iterator[list[OutsideServer]]:
    started: list[OutsideServer] = []
    yield started
    for server in started:
        server.stop()
    for path in (settings.ENV.data_dir / "attached").glob("*"):
        path.unlink()


@pytest.fixture
def server(servers: list[OutsideServer]) -> OutsideServer:
    return started(servers, OutsideServer(MODEL, key=KEY))


def started(servers: list[OutsideServer], one: OutsideServer) -> OutsideServer:
    one.start()
    servers.append(one)
    return one


class Journal:
    def __init__(self) -> None:
        self.records: list[UsageRecord] = []

    def append(self, record: UsageRecord) -> None:
        self.records.append(record)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """What the watch books, while it watches."""
    env, found = settings.ENV, Journal()
    quick = PoolSettings(
        env.data_dir, env.run_dir, env.journal_dir, tick_s=0.05, scrape_s=0.1, canary_timeout_s=2.0,
        attached_canary_period_s=0.2,
    )  # fmt: skip
    watch = AttachedWatch(AttachedRows(DatabaseStore(tmp_path / "stopping")), found, engine_kind("vllm"), quick)
    watch.start()
    yield found
    watch.leave(10)


def command(*arguments: str, code: int = 0, input: str | None = None) -> str:
    done = CliRunner().invoke(app, list(arguments), input=input)
    assert done.exit_code == code, done.output
    return done.output


def attach(server: OutsideServer, *more: str, code: int = 0) -> str:
    return command(
        "engine", "attach", server.url, "--model", MODEL, "--api-key-file", "-", *more, code=code, input=server.key
    )


def attach_openly(server: OutsideServer, *more: str, code: int = 0) -> str:
    return command("engine", "attach", server.url, "--model", MODEL, *more, code=code)


def snapshot() -> Snapshot:
    async def read() -> Snapshot:
        async with await psycopg.AsyncConnection.connect(dsn(), autocommit=True) as connection:
            return await load_snapshot(connection)

    return asyncio.run(read())


def dsn() -> str:
    from django.db import connection

    return f"{settings.ENV.database_dsn()}&dbname={connection.settings_dict['NAME']}"


def state() -> str:
    return AttachedServer.objects.get().state


def test_an_attached_server_becomes_a_replica_with_what_it_can_do(server: OutsideServer, journal: Journal) -> None:
    facts = json.loads(attach(server, "--max-sequences", "8", "--json"))
    assert (facts["state"], facts["context"], facts["priority"], facts["aborts"]) == ("starting", 4096, True, True)
    wait_until(lambda: state() == "ready")
    found = snapshot()
    [replica] = found.replicas[MODEL]
    assert replica.attached is not None
    assert (replica.replica_id, replica.max_sequences, replica.attached.url) == (facts["id"], 8, server.url)
    assert (found.models[MODEL].max_model_len, found.models[MODEL].path) == (4096, Path("/m/outside"))
    assert found.models[MODEL].fim
    wait_until(lambda: journal.records)
    assert (journal.records[0].tenant_id, journal.records[0].model, journal.records[0].life_id) == (
        "system", MODEL, replica.life_id,
    )  # fmt: skip
    [shown] = json.loads(command("engine", "list", "--attached", "--json"))
    assert (shown["url"], shown["state"]) == (server.url, "ready")
    assert "ready" in command("engine", "list", "--attached")


def test_its_key_stands_in_a_private_file_only(server: OutsideServer) -> None:
    told = attach(server, "--json")
    row = AttachedServer.objects.get()
    path = settings.ENV.data_dir / "attached" / f"{row.pk}.key"
    assert (path.read_text(), path.stat().st_mode & 0o777) == (KEY, 0o600)
    [act] = AuditEntry.objects.filter(action="engine.attach")
    rows = json.dumps(list(AttachedServer.objects.values()), default=str) + json.dumps(act.details)
    assert KEY not in told + rows
    assert KEY in {value for _, value in of_files(settings.ENV.data_dir)}
    assert act.details["url"] == server.url


def test_a_dead_server_leaves_the_routing_and_comes_back_by_itself(
    server: OutsideServer, servers: list[OutsideServer], journal: Journal
) -> None:
    attach(server)
    wait_until(lambda: state() == "ready")
    server.stop()
    wait_until(lambda: state() == "unreachable")
    assert "Connection refused" in AttachedServer.objects.get().reason
    assert MODEL not in snapshot().replicas
    assert MODEL in snapshot().models, "the name is still known: callers are told to try again"
    status = CliRunner().invoke(app, ["status", "--json"])
    assert "Connection refused" in status.output or status.exit_code == 3
    before = AttachedServer.objects.get().life_id
    servers.append(server.revived())
    wait_until(lambda: state() == "ready")
    wait_until(lambda: AttachedServer.objects.get().life_id != before)
    assert EngineLife.objects.get(pk=before).end_reason == "its counters began anew"


def test_a_server_that_answers_with_faults_is_unreachable(server: OutsideServer, journal: Journal) -> None:
    attach(server)
    wait_until(lambda: state() == "ready")
    server.sick = True
    wait_until(lambda: state() == "unreachable")
    server.sick = False
    wait_until(lambda: state() == "ready")
    server.base = "another"
    wait_until(lambda: state() == "unreachable")
    assert "another" in AttachedServer.objects.get().reason
    server.base, server.key = MODEL, "changed"
    wait_until(lambda: "key is missing or refused" in AttachedServer.objects.get().reason)


def test_detaching_drains_and_forgets(server: OutsideServer, journal: Journal) -> None:
    attach(server)
    wait_until(lambda: state() == "ready")
    command("engine", "detach", server.url)
    assert MODEL not in snapshot().models
    assert MODEL not in snapshot().replicas
    refused = attach(server, code=1)
    assert "is being detached" in refused
    wait_until(lambda: not AttachedServer.objects.exists())
    assert not list((settings.ENV.data_dir / "attached").iterdir())
    assert EngineLife.objects.exclude(ended_at=None).count() == 1
    assert [one.action for one in AuditEntry.objects.order_by("seq")][-2:] == ["engine.attach", "engine.detach"]
    command("engine", "detach", server.url, code=5)


def test_what_it_makes_is_held_against_the_ledger(server: OutsideServer, journal: Journal) -> None:
    server.prompt_tokens, server.generation_tokens = 1000, 5000  # of its past, which is nobody's here
    attach(server)
    wait_until(lambda: state() == "ready")
    wait_until(lambda: len(journal.records) >= 2)
    command("engine", "detach", server.url)
    wait_until(lambda: not AttachedServer.objects.exists())
    book(journal.records)
    report = reconcile(settings.ENV.journal_dir, 7)
    [books] = report.lives
    assert books.engine == books.ledger
    assert books.engine.completion == len(journal.records)
    assert (books.overbilled, books.attached_url) == (report.unattributed, server.url)


def book(records: list[UsageRecord]) -> None:
    LedgerEntry.objects.bulk_create([entry(record) for record in records])


def test_the_report_says_what_a_server_cannot_tell(servers: list[OutsideServer], journal: Journal) -> None:
    server = started(servers, OutsideServer(MODEL, "priority", "cache_salt", "usage", "aborts", "metrics"))
    told = attach_openly(server)
    assert "not: priority, cache_salt, usage, aborts" in told
    wait_until(lambda: state() == "ready")
    told = command("ledger", "reconcile")
    assert "shows no counters" in told
    assert "billed by delivered events" in told
    [life] = json.loads(command("ledger", "reconcile", "--json"))["lives"]
    assert (life["attached"], life["counters_known"], life["counts_aborted"]) == (server.url, False, False)


def test_it_joins_a_name_that_a_deployment_serves(servers: list[OutsideServer], journal: Journal) -> None:
    slot = register_slot("cpu-1", "cpu", "1.0", Path("/s/cpu-1"), "a" * 64)
    deployments.serve(deployments.version_to_serve(MODEL), slot, (), 1, 1)
    short = started(servers, OutsideServer(MODEL, context=512))
    assert "has 512" in attach_openly(short, code=1)
    attach_openly(started(servers, OutsideServer(MODEL)))
    wait_until(lambda: state() == "ready")
    found = snapshot()
    assert [model.name for model in found.models.values()] == [MODEL]
    assert len(found.replicas[MODEL]) == 1


def test_a_server_over_tls_is_verified(servers: list[OutsideServer], journal: Journal, tmp_path: Path) -> None:
    ca, context = make_ca(tmp_path)
    server = started(servers, OutsideServer(MODEL, tls=context))
    assert "certificate is not trusted" in attach_openly(server, code=1)
    attach_openly(server, "--ca-file", str(ca))
    wait_until(lambda: state() == "ready")
    command("engine", "detach", str(AttachedServer.objects.get().pk))
    wait_until(lambda: not AttachedServer.objects.exists())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ftp://h"], 2, "begins with"),
        (["http://user:pw@h"], 2, "no user"),
        (["http://h/?a=1"], 2, "before `?`"),
        (["http://127.0.0.1:1"], 1, "Connection refused"),
        (["unix:/nonexistent.sock"], 1, "No such file"),
        (["{url}"], 1, "401"),
        (["{url}", "--api-key", "wrong"], 1, "401"),
        (["{url}", "--api-key", KEY, "--engine-model", "other"], 1, "--engine-model"),
        (["{url}", "--api-key", KEY, "--model", "nobody-knows"], 1, "--tokenizer-dir"),
        (["{url}", "--api-key", KEY, "--like", "nobody-knows"], 1, "--tokenizer-dir"),
        (["{url}", "--api-key", KEY, "--ca-file", "/dev/null"], 2, "no certificate"),
    ],
)  # fmt: skip
def test_what_cannot_be_attached_is_told(server: OutsideServer, arguments: list[str], code: int, message: str) -> None:
    given = ["--model", MODEL] if "--model" not in arguments else []
    told = command("engine", "attach", *(one.replace("{url}", server.url) for one in arguments), *given, code=code)
    assert message in told
    assert KEY not in told
    assert not AttachedServer.objects.exists()
    assert not list((settings.ENV.data_dir / "attached").glob("*"))


def test_a_server_is_attached_once(server: OutsideServer) -> None:
    attach(server)
    assert "is attached already" in attach(server, code=1)


def test_a_hostile_server_costs_the_one_who_attaches_it_a_moment(server: OutsideServer) -> None:
    server.garbage = b"HTTP/1.1 200 OK\r\nx-endless: " + b"a" * 600_000
    begun = time.monotonic()
    assert "can't be read" in attach(server, code=1)
    server.garbage = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    assert "nobody follows" in attach(server, code=1)
    assert time.monotonic() - begun < 60


def test_the_gateways_role_sees_no_more_of_it_than_the_views(server: OutsideServer) -> None:
    from django.db import connection

    attach(server)
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('coderack_gateway', 'fleet_attachedserver', 'SELECT')")
        assert cursor.fetchone() == (False,)
        cursor.execute("SELECT has_table_privilege('coderack_gateway', 'gateway_replicas', 'SELECT')")
        assert cursor.fetchone() == (True,)
