"""One acceptance run on its way: idle readings, a key of its own, the load, the books, and what is kept of it.

That only one is on its way at a time is the caller's to see to.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction
from django.utils import timezone

from appliance.audit import actor
from appliance.audit.record import record
from appliance.env import Env, reached_at
from appliance.operations.acceptance_facts import Served, Watch, box, entries, lives_of, utc_text
from appliance.operations.models import AcceptanceRun
from appliance.tenants.keys import mint, revoke
from appliance.tenants.models import ApiKey, Tenant
from ops.acceptance import folder, requests
from ops.acceptance.certificate import Run, canonical, page, payload
from ops.acceptance.errors import CannotRun
from ops.acceptance.evidence import Evidence, book, evidence
from ops.acceptance.judge import Judgement, adds_up, judge
from ops.acceptance.load import REQUEST_S, Gateway, Loaded, put_on
from ops.acceptance.measure import Measured, measure
from ops.acceptance.prompts import Prompts, cutter
from ops.acceptance.signing import signature
from ops.acceptance.workload import Target, Workload

KEY_NAME = "acceptance run"
IDLE_S = 30.0
READINGS = 6
BOOKS_S = 40.0
BOOKS_POLL_S = 0.5
LOOK_BACK_S = 60.0  # requests that ended this shortly before the run can't be on their way at its readings
KEY_SPARE_S = 300.0
KNOWN_S = 10.0
OTHER_WORKERS_S = 1.0  # every worker of the gateway knows a key by then
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """A run as somebody asked for it."""

    workload: Workload
    target: Target


def root_of(env: Env) -> Path:
    """Where certificates and the signing key lie."""
    return env.data_dir / "acceptance"


class Running:
    """One run on its way."""

    def __init__(self, env: Env, asked: Asked, say: Say, found: Served, tenant: Tenant) -> None:
        self._env, self._asked, self._say, self._found, self._tenant = env, asked, say, found, tenant
        self._id = uuid.uuid4()
        self._started_at = timezone.now()
        self._before = Watch(tuple(found.lives))
        self._after = Watch(tuple(found.lives))

    def go(self, signing_key: Ed25519PrivateKey) -> AcceptanceRun:
        """From the first reading to the row."""
        work = self._asked.workload
        prompts = Prompts(work.seed, work.input_tokens, work.hit_rate, cutter(self._found.model_path))
        self._wait_until_idle()
        with self._key() as (row, key):
            gateway = self._reach(key)
            self._before.look()
            self._say(
                f"{work.concurrency} streams, {work.input_tokens} tokens in and {work.output_tokens} out, "
                f"{work.warm_up_s:g} s of warm-up, then {work.duration_s:g} s"
            )
            loaded = put_on(gateway, work, prompts.prompt)
        self._say(f"{len(loaded.requests)} requests; waiting for the ledger and the engines' counters")
        books = self._books(str(row.pk), loaded)
        return self._keep(loaded, books, signing_key)

    def _wait_until_idle(self) -> None:
        """Some readings of each life, so that a probe on its way at one of them does not spoil all."""
        self._say("waiting until the engines are idle")
        if not self._before.wait(lambda: all(len(self._before.of(i)) >= READINGS for i in self._found.lives), IDLE_S):
            raise CannotRun(f"the engines were not idle for {IDLE_S:.0f} s: others use {self._asked.workload.model}")

    @contextmanager
    def _key(self) -> Iterator[tuple[ApiKey, str]]:
        """A key that outlives the run by a little at most."""
        work = self._asked.workload
        lasts = work.warm_up_s + work.duration_s + 2 * REQUEST_S + KEY_SPARE_S
        row, key = mint(self._tenant, KEY_NAME, expires_at=timezone.now() + timedelta(seconds=lasts), internal=True)
        try:
            yield row, key
        finally:
            revoke(row)

    def _reach(self, key: str) -> Gateway:
        """The gateway, once it knows the key.

        Raises: CannotRun when it does not answer, or does not know the key in time.
        """
        host = reached_at(self._env.host)
        deadline = time.monotonic() + KNOWN_S
        while (status := self._status(host, key)) != 200:
            if time.monotonic() > deadline:
                raise CannotRun(f"the gateway at {host}:{self._env.port} answers {status}: see `coderack status`")
            time.sleep(0.1)
        time.sleep(OTHER_WORKERS_S)
        return Gateway(host, self._env.port, key)

    def _status(self, host: str, key: str) -> int | str:
        connection = http.client.HTTPConnection(host, self._env.port, timeout=KNOWN_S)
        try:
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
            return connection.getresponse().status
        except OSError as error:
            return f"nothing ({error})"
        finally:
            connection.close()

    def _books(self, key_id: str, loaded: Loaded) -> Evidence:
        """Ledger and counters, as soon as they are complete; what is not after a while stays so and is judged."""
        deadline = time.monotonic() + BOOKS_S
        while True:
            self._after.look()
            found = self._evidence(key_id, loaded)
            if not found.num_disagreeing and all(adds_up(life) for life in found.lives):
                return found
            if time.monotonic() > deadline:
                return found
            time.sleep(BOOKS_POLL_S)

    def _evidence(self, key_id: str, loaded: Loaded) -> Evidence:
        rows = entries(tuple(self._found.lives), key_id, self._started_at - timedelta(seconds=LOOK_BACK_S))
        books = []
        for life_id, (replica, devices) in self._found.lives.items():
            books.append(book(life_id, replica, devices, (self._before.of(life_id), self._after.of(life_id)), rows))
        now = tuple(lives_of(self._found.deployment))
        return evidence(key_id, loaded.requests, rows, (tuple(self._found.lives), now), books)

    def _keep(self, loaded: Loaded, books: Evidence, signing_key: Ed25519PrivateKey) -> AcceptanceRun:
        lines = requests.encode(loaded.requests)
        measured = measure(requests.decode(lines), loaded.window_s, loaded.cpu_share)
        judgement = judge(self._asked.workload, self._asked.target, measured, books)
        finished_at = timezone.now()
        facts = payload(self._run(loaded, measured, books, lines, finished_at), judgement)
        files = {folder.JSON: canonical(facts), folder.HTML: page(facts), folder.REQUESTS: lines}
        fresh = folder.prepare(
            root_of(self._env), str(self._id), {**files, folder.SIGNATURE: signature(signing_key, files)}
        )
        with transaction.atomic():
            row = self._row(measured, judgement, hashlib.sha256(files[folder.JSON]).hexdigest(), finished_at)
            record(
                "acceptance.run",
                row.model_name,
                details={"id": str(row.pk), "verdict": row.verdict, "certificate": row.certificate_digest},
            )
            folder.publish(fresh)  # last: a row that is there has its folder
        return row

    def _run(self, loaded: Loaded, measured: Measured, books: Evidence, lines: bytes, finished_at: datetime) -> Run:
        return Run(
            id=str(self._id),
            by=actor.current(),
            started_at=utc_text(self._started_at),
            load_began_at=utc_text(loaded.began_at),
            finished_at=utc_text(finished_at),
            window_begin_s=loaded.window_s[0],
            window_end_s=loaded.window_s[1],
            requests_sha256=hashlib.sha256(lines).hexdigest(),
            box=box(self._found),
            workload=self._asked.workload,
            target=self._asked.target,
            measured=measured,
            evidence=books,
        )

    def _row(self, measured: Measured, judgement: Judgement, digest: str, finished_at: datetime) -> AcceptanceRun:
        model, target = self._found.deployment.model, self._asked.target
        return AcceptanceRun.objects.create(
            id=self._id,
            model_name=model.name,
            model_digest=model.digest,
            started_at=self._started_at,
            finished_at=finished_at,
            target_input_tps=target.input_tps,
            target_output_tps=target.output_tps,
            input_tps=measured.input_tps,
            output_tps=measured.output_tps,
            requests=measured.requests,
            failed_requests=measured.failed_requests,
            verdict=judgement.verdict,
            reasons=list(judgement.reasons),
            folder=str(root_of(self._env) / str(self._id)),
            certificate_digest=digest,
            created_by=actor.current(),
        )
