"""Is the appliance ready: waits for the replica, sends the first streamed request, writes and prints the facts."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from appliance.env import Env, reached_at
from appliance.login import FirstLogin, write_private
from ops.runner.errors import RunnerError

PROMPT = "Write a Python function that adds two numbers."


def wait_for_replica(
    model: str, timeout_s: float, keep_going: Callable[[], bool], report: Callable[[str], None]
) -> None:
    """Wait until a replica of `model` serves, reporting each change of state.

    Raises: RunnerError with the engine's last log lines when it failed, or when the time is over.
    """
    from django.db import InterfaceError, OperationalError, connections  # noqa: PLC0415 - after Django's setup

    from appliance.fleet.models import Replica  # noqa: PLC0415

    seen = ""
    deadline = time.monotonic() + timeout_s
    while keep_going() and time.monotonic() < deadline:
        try:
            row = (
                Replica.objects.filter(deployment__name=model, deployment__running=True, deployment__serves=True)
                .order_by("index")
                .first()
            )
        except (OperationalError, InterfaceError):  # the database is being started again
            connections.close_all()
            time.sleep(0.3)
            continue
        state = row.state if row else "waiting for the pool"
        if state != seen:
            report(f"engine for {model}: {state}")
            seen = state
        if state == "ready":
            return
        if row is not None and state == "failed":
            raise RunnerError(failure(model, row.reason))
        time.sleep(0.3)
    raise RunnerError(
        f"the engine for {model} was not ready in {timeout_s:.0f} s (last state: {seen}); see the pool's log"
    )


def failure(model: str, reason: str) -> str:
    """An engine's failure for a person: its last log lines first, so that the reason itself is the last line."""
    exit_line, *rest = reason.splitlines() or ["no reason was recorded"]
    headline = rest[0] if rest else ""
    return "\n".join(
        [*rest[1:], f"the engine for {model} failed to start: {exit_line}{': ' if headline else ''}{headline}"]
    )


def streamed_answer(env: Env, key: str, model: str, timeout_s: float = 120.0) -> str:
    """Ask the gateway as a tenant would and return the streamed text.

    Raises: RunnerError when the answer is not a whole stream.
    """
    host = reached_at(env.host)
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 16, "stream": True}
    connection = http.client.HTTPConnection(host, env.port, timeout=timeout_s)
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
    except OSError as error:
        raise RunnerError(f"the gateway gave no answer: {error}") from None
    finally:
        connection.close()
    if answer.status != 200 or not text.rstrip().endswith("data: [DONE]"):
        raise RunnerError(f"the first request was answered with {answer.status}: {text[-400:]}")
    return "".join(_pieces(text))


def _pieces(text: str) -> list[str]:
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return [c["delta"].get("content") or "" for event in events for c in event["choices"]]


def facts(env: Env, login: FirstLogin | None, models: list[str]) -> dict[str, Any]:
    """What ready.json holds."""
    return {
        "base_url": f"{env.base_url}/v1",
        "console_url": env.base_url,
        "api_key": login.api_key if login else None,
        "models": models,
        "operator": {"name": login.operator, "password": login.password} if login else None,
    }


def write_facts(env: Env, values: dict[str, Any]) -> None:
    """Write ready.json, readable by its owner only; its presence means ready."""
    write_private(env.ready_file, values)


def announcement(values: dict[str, Any]) -> str:
    """What `make up` and `make start` print once a streamed answer came."""
    operator = values["operator"]
    lines = ["", "Coderack is ready.", "", f"  Console   {values['console_url']}"]
    if operator:
        password = operator["password"] or "(set by you)"
        lines.append(f"  Operator  {operator['name']}   password  {password}")
    lines += [f"  API       {values['base_url']}", f"  Models    {', '.join(values['models']) or '–'}"]
    if values["api_key"] and values["models"]:
        lines += ["", f"  API key   {values['api_key']}", "", "Try it:", "", curl_line(values)]
    return "\n".join([*lines, ""])


def curl_line(values: dict[str, Any]) -> str:
    """A line to paste into a shell: a streamed chat request as the first tenant."""
    body = json.dumps({
        "model": values["models"][0], "stream": True, "max_tokens": 128, "messages": [{"role": "user", "content": PROMPT}],
    })  # fmt: skip
    return (
        f"curl -N {values['base_url']}/chat/completions -H 'Authorization: Bearer {values['api_key']}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
