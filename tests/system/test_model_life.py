"""A served model on the running appliance: a canary, a restart, an editor that goes on typing."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ops.models import manifest
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.system.appliance import CACHE_DIR, Appliance, until
from tests.system.conftest import Cast, slot_python
from tests.system.test_tokens_agree import assert_agreement, at_engines

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.timeout(1800)]
COMPLETIONS = "/v1/completions"
UPGRADE_S = 900  # two engines that start beside one that answers, on two cores


@contextmanager
def asked_all_along(appliance: Appliance, model: str, key: str) -> Iterator[list[tuple[int, dict[str, str]]]]:
    """The statuses and headers of requests that follow each other meanwhile, each with a prompt of its own."""
    over = threading.Event()
    answers: list[tuple[int, dict[str, str]]] = []

    def ask() -> None:
        while not over.wait(0.2):
            body = {"model": model, "prompt": f"def number_{len(answers)}(", "max_tokens": 2}
            answers.append(appliance.request("POST", COMPLETIONS, body, key)[:2])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join()


def test_a_newer_request_of_an_editors_session_ends_the_older_one_and_all_of_it_is_billed(
    appliance: Appliance, deepseek: str, cast: Cast
) -> None:
    window = {"x-session-id": "window"}
    older: list[bytes] = []

    def type_first() -> None:
        hole = {"model": deepseek, "prompt": "def add(a, b):\n", "suffix": "\n", "stream": True}
        body = hole | {"max_tokens": 1900, "ignore_eos": True}
        older.append(appliance.request("POST", COMPLETIONS, body, cast.alpha, window)[2])

    first = threading.Thread(target=type_first)
    until(lambda: at_engines(appliance), lambda found: not found, 60)
    first.start()
    try:
        until(lambda: at_engines(appliance), bool, 60, 0.01)
        body = {"model": deepseek, "prompt": "def add(a, b):\n    r", "suffix": "\n", "max_tokens": 4}
        status, _, answer = appliance.request("POST", COMPLETIONS, body, cast.alpha, window)
    finally:
        first.join()
    assert status == 200
    assert json.loads(answer)["usage"]["completion_tokens"] <= 4
    assert older[0].count(b'"superseded"') == 1
    assert b"[DONE]" not in older[0]
    assert_agreement(appliance, deepseek)


def test_what_is_installed_already_is_left_as_it_is(appliance: Appliance) -> None:
    (before,) = appliance.cli_json("engine", "list")
    appliance.cli_json("engine", "install", before["flavour"])
    assert appliance.cli_json("engine", "list") == [before]


@pytest.mark.long
def test_a_restart_that_may_interrupt_answers_503_until_the_engine_is_back(
    appliance: Appliance, deepseek: str, cast: Cast
) -> None:
    before = appliance.replica(deepseek)
    with asked_all_along(appliance, deepseek, cast.alpha) as answers:
        until(lambda: len(answers), lambda num: num > 2, 60)
        done = appliance.cli("model", "restart", deepseek, "--interrupt")
        assert done.returncode == 0, done.stderr
        until(lambda: answers[-1][0], lambda status: status == 503, 120)
        until(lambda: answers[-1][0], lambda status: status == 200, 600)
    assert {status for status, _ in answers} == {200, 503}
    assert all(int(headers["retry-after"]) > 0 for status, headers in answers if status == 503)
    after = appliance.replica(deepseek)
    assert (after["state"], after["restarts"]) == ("ready", 0)
    assert after["life"] != before["life"]


def next_version(appliance: Appliance, name: str, folder: Path) -> None:
    """Plan an upgrade to the same weights with another word in the configuration, as a canary of one minute first."""
    shutil.copytree(ensure_tiny_deepseek(CACHE_DIR, slot_python(appliance)), folder / "model")
    config = json.loads((folder / "model/config.json").read_text())
    (folder / "model/config.json").write_text(json.dumps(config | {"version_of_a_test": 2}))
    manifest.write(folder / "model", name=name, origin="a test", licence="none")
    for arguments in (
        ("bundle", "keygen", str(folder / "keys")),
        ("bundle", "build", str(folder / "stick"), "--keys", str(folder / "keys"), "--model", str(folder / "model"),
         "--name", name, "--max-model-len", "2048", "--fim"),
        ("upgrade", "plan", str(folder / "stick"), "--root", str(folder / "keys/root.json"),
         "--trust", str(folder / "trust"), "--canary", "50", "--canary-minutes", "1"),
    ):  # fmt: skip
        done = appliance.cli(*arguments, timeout_s=120)
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_next_version_gets_its_share_of_the_requests_first_then_the_name_and_gives_it_back(
    appliance: Appliance, deepseek: str, cast: Cast, tmp_path: Path
) -> None:
    next_version(appliance, deepseek, tmp_path)
    before = appliance.replica(deepseek)
    shown: list[list[dict[str, Any]]] = []

    def is_over() -> bool:
        if appliance.sql("SELECT 1 FROM fleet_deployment WHERE canary_share > 0"):
            looked = appliance.cli("model", "canary", deepseek, "--json")
            if looked.returncode == 0:  # or it is over by now
                shown.append(json.loads(looked.stdout))
        return not applying.is_alive()

    applied: list[CompletedProcess[str]] = []
    applying = threading.Thread(target=lambda: applied.append(appliance.cli("upgrade", "apply", timeout_s=UPGRADE_S)))
    with asked_all_along(appliance, deepseek, cast.alpha) as answers:
        applying.start()
        until(is_over, bool, UPGRADE_S, 5)
    assert applied[0].returncode == 0, applied[0].stderr
    assert {status for status, _ in answers} == {200}
    assert appliance.replica(deepseek)["life"] != before["life"]
    present, canary = shown[-1]
    assert (present["share"], canary["share"]) == (50, 50)
    assert present["requests"] > 0
    assert canary["requests"] > 0
    assert present["digest"] != canary["digest"]
    with asked_all_along(appliance, deepseek, cast.alpha) as answers:
        done = appliance.cli("rollback", deepseek, timeout_s=UPGRADE_S)
    assert done.returncode == 0, done.stderr
    assert {status for status, _ in answers} == {200}
