"""The command line speaks to PostgreSQL itself: a console that answers nobody stops no operator and no tenant."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from ops.cli.printing import Exit
from tests.system.appliance import DEMO, Appliance, until
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine]
LISTS = ("plan list", "tenant list", "user list", "model list", "engine list", "job list", "adapter list", "audit list")


@pytest.fixture(scope="module")
def console(appliance: Appliance) -> Iterator[int]:
    """The console's processes, stopped: they are there and answer nobody."""
    appliance.wait_ready()
    pid = appliance.child_pid("console")
    os.killpg(pid, signal.SIGSTOP)
    yield pid
    os.killpg(pid, signal.SIGCONT)
    until(lambda: appliance.request("GET", "/login/")[0], lambda status: status == 200, 30)


@pytest.mark.parametrize("command", LISTS)
def test_it_lists_what_there_is(appliance: Appliance, console: int, command: str) -> None:
    assert isinstance(appliance.cli_json(*command.split()), list)


def test_it_tells_what_runs_and_that_the_audit_log_is_whole(appliance: Appliance, console: int) -> None:
    told = appliance.cli_json("status")
    assert told["running"]
    assert ("ready", DEMO) in {(replica["state"], replica["model"]) for replica in told["replicas"]}
    assert appliance.cli_json("audit", "verify")["ok"]


def test_it_makes_and_revokes_keys_that_the_gateway_heeds(appliance: Appliance, console: int, cast: Cast) -> None:
    made = appliance.cli_json("key", "create", "alpha")
    assert appliance.request("GET", "/v1/models", key=made["key"])[0] == 200
    assert appliance.cli_json("key", "revoke", made["id"])["revoked"]
    until(lambda: appliance.request("GET", "/v1/models", key=made["key"])[0], lambda status: status == 401, 20)


def test_it_suspends_and_resumes_a_tenant(appliance: Appliance, console: int, cast: Cast) -> None:
    assert not appliance.cli_json("tenant", "suspend", "beta")["active"]
    try:
        until(lambda: appliance.request("GET", "/v1/models", key=cast.beta)[0], lambda status: status == 401, 20)
    finally:
        assert appliance.cli_json("tenant", "resume", "beta")["active"]
    until(lambda: appliance.request("GET", "/v1/models", key=cast.beta)[0], lambda status: status == 200, 20)


def test_the_doctor_names_the_console_and_nothing_else(appliance: Appliance, console: int) -> None:
    told = appliance.cli("doctor", "--json")
    assert told.returncode == Exit.FAILED
    findings = json.loads(told.stdout)["findings"]
    assert [finding["check"] for finding in findings if finding["result"] == "failed"] == ["console"]
    assert {"PostgreSQL", "Redis", "port", f"replicas of {DEMO}"} <= {
        finding["check"] for finding in findings if finding["result"] == "ok"
    }
