"""The demo's state and the few things every step does: ask as a tenant, run a command, wait, read the ledger."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai

from appliance.env import REPO, Env, reached_at
from appliance.ledger.models import LedgerEntry

T = TypeVar("T")
LEDGER_S = 15.0
CLI_S = 300.0


class StepFailed(Exception):
    """A step did not show what it should; the message says what came instead."""


@dataclass(frozen=True)
class Shown:
    """What a step showed: what was put in, what was measured, and the ids that prove it."""

    put_in: str
    measured: dict[str, Any]
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it."""

    status: int
    code: str | None
    param: str | None
    message: str
    request_id: str

    def facts(self) -> dict[str, Any]:
        """For the report."""
        return {"status": self.status, "code": self.code, "param": self.param, "request": self.request_id}


@dataclass
class Walk:
    """One walk: the appliance, the tenants' keys, and what steps leave for later ones."""

    env: Env
    say: Callable[[str], None]
    model: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    key_ids: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    tuned: dict[str, str] = field(default_factory=dict)
    engine_pid: int = 0
    acceptance: str = ""

    @property
    def host(self) -> str:
        """Where this machine reaches the gateway."""
        return reached_at(self.env.host)

    def client(self, tenant: str, path: str = "/v1") -> openai.OpenAI:
        """The official client with a tenant's key; what fails is not tried again."""
        return self.client_with(self.keys[tenant], path)

    def client_with(self, key: str, path: str = "/v1") -> openai.OpenAI:
        """The official client with any key."""
        return openai.OpenAI(
            base_url=f"http://{self.host}:{self.env.port}{path}", api_key=key, max_retries=0, timeout=120
        )

    def connection(self) -> http.client.HTTPConnection:
        """A bare connection, for a client that behaves badly."""
        return http.client.HTTPConnection(self.host, self.env.port, timeout=120)

    def cli(self, *arguments: str) -> str:
        """Run `coderack` as an operator does.

        Raises: StepFailed with what it said when it failed.
        """
        done = self.try_cli(*arguments)
        if done.returncode != 0:
            raise StepFailed(f"`coderack {' '.join(arguments)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def cli_json(self, *arguments: str) -> Any:
        """Run `coderack … --json`."""
        return json.loads(self.cli(*arguments, "--json"))

    def try_cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `coderack`, whatever comes of it."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments], cwd=REPO, capture_output=True, text=True, check=False,
            timeout=CLI_S,
        )  # fmt: skip


def refusal_of(call: Callable[[], object]) -> Refusal:
    """The error that a call of the client ends with.

    Raises: StepFailed when it is answered.
    """
    try:
        call()
    except openai.APIStatusError as error:
        return Refusal(
            error.status_code, error.code, error.param, error.message, error.response.headers.get("x-request-id", "")
        )
    raise StepFailed("it was answered, and should have been refused")


def expect(refusal: Refusal, status: int, code: str | None, param: str | None = None) -> Refusal:
    """The refusal itself when it is the documented one.

    Raises: StepFailed.
    """
    if (refusal.status, refusal.code) != (status, code) or (param is not None and refusal.param != param):
        raise StepFailed(f"refused with {refusal.facts()}, documented is {status}, code {code}, param {param}")
    return refusal


def ledger(request_id: str) -> LedgerEntry:
    """A request's row in the ledger, once it is there."""
    return found(
        lambda: LedgerEntry.objects.filter(request_id=request_id).first(), LEDGER_S,
        f"request {request_id} did not reach the ledger",
    )  # fmt: skip


def found(look: Callable[[], T | None], timeout_s: float, otherwise: str, period_s: float = 0.05) -> T:
    """What `look` finds, asked again and again until it is something.

    Raises: StepFailed.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise StepFailed(f"{otherwise} within {timeout_s:.0f} s")
        time.sleep(period_s)


def ms_since(begin: float) -> int:
    """Whole milliseconds since a reading of the monotonic clock."""
    return round((time.monotonic() - begin) * 1000)


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
