"""A tenant with a key, a rival, a fake gateway, and the batches' process beside the tests' PostgreSQL."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from appliance.env import REPO
from appliance.tenants.keys import mint
from appliance.tenants.models import Plan, Tenant
from tests.appliance.batches.cast import Caller, known
from tests.appliance.training.processes import environment
from tests.fakes.gateway import FakeGateway


@pytest.fixture
def acme(db: None) -> Iterator[Caller]:
    plan = Plan.objects.create(name="standard")
    yield Caller(*mint(Tenant.objects.create(id="acme", name="Acme", plan=plan), "ci"))
    for name in ("files", "batches"):
        shutil.rmtree(Path(settings.ENV.data_dir) / name, ignore_errors=True)


@pytest.fixture
def rivals(acme: Caller) -> Caller:
    return Caller(*mint(Tenant.objects.create(id="rivals", name="Rivals", plan=acme.tenant.plan), "ci"))


@pytest.fixture
def gateway(db: None) -> Iterator[FakeGateway]:
    """It knows the keys that the database knows."""
    gateway = FakeGateway(known)
    gateway.start()
    yield gateway
    gateway.released.set()
    gateway.end()


@pytest.fixture
def start(gateway: FakeGateway, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the batches' process; what still runs at the end is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one() -> subprocess.Popen[bytes]:
        facts = {**environment(), "CODERACK_PORT": str(gateway.port)}
        with (tmp_path / "batches.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "run_batches"], cwd=REPO, env=facts, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(30)
    told = (tmp_path / "batches.log").read_text() if started else ""
    assert "Traceback" not in told, told
