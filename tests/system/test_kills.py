"""What is killed with SIGKILL comes back, and nobody is cut off who need not be."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from typing import Any

import pytest

from ops.runner.sweep import engines_of
from tests.system.appliance import DEMO, Appliance, until
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.timeout(400)]
MESSAGES = [{"role": "user", "content": "hi"}]


def begin_stream(
    appliance: Appliance, key: str, max_tokens: int
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream whose first event has come."""
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=120)
    body = {
        "model": DEMO, "messages": [{"role": "user", "content": "Tell a story."}], "max_tokens": max_tokens,
        "stream": True, "ignore_eos": True,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.readline().startswith(b"data: ")
    return connection, answer


def events(text: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in text.split(b"\n") if line.startswith(b"data: {")]


def test_a_stream_survives_the_supervisors_death_and_the_next_one_adopts_the_engine(
    appliance: Appliance, cast: Cast
) -> None:
    before = appliance.wait_ready()
    connection, answer = begin_stream(appliance, cast.alpha, 150)
    pool = appliance.child_pid("pool")
    os.kill(pool, signal.SIGKILL)
    rest = answer.read()
    connection.close()
    assert rest.rstrip().endswith(b"data: [DONE]")
    assert not any("error" in event for event in events(rest))
    until(lambda: appliance.child_pid("pool"), lambda pid: pid != pool, 15)
    time.sleep(3)  # time for a supervisor that adopts wrongly to act
    after = appliance.wait_ready()
    assert (after["pid"], after["life"]) == (before["pid"], before["life"])


def test_an_engines_death_is_one_error_event_and_the_replica_comes_back(appliance: Appliance, cast: Cast) -> None:
    before = appliance.wait_ready()
    connection, answer = begin_stream(appliance, cast.alpha, 2000)
    os.killpg(os.getpgid(before["pid"]), signal.SIGKILL)
    rest = answer.read()
    connection.close()
    failures = [event for event in events(rest) if "error" in event]
    assert len(failures) == 1
    assert failures[0]["choices"] == []
    assert set(failures[0]["error"]) == {"message", "type", "param", "code"}
    assert events(rest)[-1] is not None
    assert "error" in events(rest)[-1]

    status, headers, body = appliance.request(
        "POST", "/v1/chat/completions", {"model": DEMO, "messages": [{"role": "user", "content": "hi"}]}, key=cast.alpha
    )
    assert status == 503
    assert json.loads(body)["error"]["code"] == "overloaded"
    assert int(headers["retry-after"]) >= 1

    after = until(appliance.replica, lambda r: r["state"] == "ready" and r["life"] != before["life"], 240)
    assert after["pid"] != before["pid"]
    short = {"model": DEMO, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    until(
        lambda: appliance.request("POST", "/v1/chat/completions", short, key=cast.alpha)[0],
        lambda status: status == 200,  # the gateway hears of it a moment after the row says so
        30,
    )


@pytest.mark.parametrize("name", ["redis", "console", "meter", "batches", "gateway", "postgres"])
def test_each_process_comes_back_and_requests_are_answered(appliance: Appliance, cast: Cast, name: str) -> None:
    appliance.wait_ready()
    old = appliance.child_pid(name)
    os.kill(old, signal.SIGKILL)
    until(lambda: appliance.child_pid(name), lambda pid: pid != old, 15)
    body = {"model": DEMO, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}

    def ask() -> int:
        try:
            return appliance.request("POST", "/v1/chat/completions", body, key=cast.alpha)[0]
        except OSError:
            return 0

    until(ask, lambda status: status == 200, 20)
    until(lambda: appliance.request("GET", "/login/")[0], lambda status: status == 200, 20)


def test_a_new_runner_takes_over_from_a_killed_one_and_keeps_the_engine(appliance: Appliance, cast: Cast) -> None:
    before = appliance.wait_ready()
    runner = appliance.cli_json("status")["pid"]
    os.kill(runner, signal.SIGKILL)
    until(lambda: appliance.cli("status").returncode, lambda code: code == 3, 10, 0.2)
    assert (
        appliance.request(
            "POST", "/v1/chat/completions", {"model": DEMO, "messages": MESSAGES, "max_tokens": 2}, cast.alpha
        )[0]
        == 200
    ), "without its runner the appliance goes on"
    started = appliance.cli("start", timeout_s=240)
    assert started.returncode == 0, started.stdout + started.stderr
    after = appliance.wait_ready()
    assert (after["pid"], after["life"]) == (before["pid"], before["life"])


def test_it_starts_again_after_everything_was_killed_at_once(appliance: Appliance, cast: Cast) -> None:
    before = appliance.wait_ready()
    children = [row["pid"] for row in json.loads((appliance.env.run_dir / "processes.json").read_text())]
    engines = engines_of(appliance.env.run_dir)
    os.kill(appliance.cli_json("status")["pid"], signal.SIGKILL)
    for group in (*children, *engines):
        os.killpg(group, signal.SIGKILL)
    started = appliance.cli("start", timeout_s=280)
    assert started.returncode == 0, started.stdout + started.stderr
    after = appliance.wait_ready()
    assert after["life"] != before["life"]
    ended = appliance.sql("SELECT ended_at FROM fleet_enginelife WHERE id = %s", before["life"])
    assert ended[0][0] is not None
    body = {"model": DEMO, "messages": MESSAGES, "max_tokens": 2}
    assert appliance.request("POST", "/v1/chat/completions", body, key=cast.alpha)[0] == 200
