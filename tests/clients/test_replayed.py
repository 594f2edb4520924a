"""Requests as editors' plug-ins send them, replayed unchanged: what each client reads of the answer is there.

A fixture says which client and endpoint, what that client reads, and the request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.inference.gateway.parts import Rig

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    fixture: dict[str, Any] = json.loads(path.read_text())
    return fixture


def replay(rig: Rig, request: dict[str, Any]) -> tuple[int, bytes]:
    body = request.get("body")
    headers = {name.replace("-", "_"): value for name, value in request.get("headers", {}).items()}
    status, _, answer = rig.call(request["method"], request["path"], body, content_type="application/json", **headers)
    return status, answer


def events(answer: bytes) -> list[Any]:
    """A stream as a client's parser sees it: `data:` lines up to [DONE]."""
    lines = [line.removeprefix("data: ") for line in answer.decode().splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def read(value: Any, path: str) -> Any:
    """`choices[0].text` of a value; None where it isn't there."""
    for step in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, list):
            value = dict(enumerate(value)).get(int(step))
        elif value is not None:
            value = value.get(step)
    return value


def test_every_client_has_its_requests() -> None:
    clients = {path.name.split("-")[0] for path in FIXTURES}
    assert clients == {"continue", "tabby", "cline", "twinny", "minuet"}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_it_answers_a_request_with_what_the_client_reads(rig: Rig, path: Path) -> None:
    fixture = load(path)
    status, answer = replay(rig, fixture["request"])
    assert status == 200, answer
    body = fixture["request"].get("body") or {}
    if not body.get("stream"):
        assert read(json.loads(answer), fixture["reads"])
        return
    seen = events(answer)
    assert all(isinstance(event["choices"], list) for event in seen), "Tabby needs choices in every event"
    assert [found for found in (read(event, fixture["reads"]) for event in seen) if found]
    texts = [event for event in seen if event["choices"]]
    assert [event["choices"][0]["finish_reason"] for event in texts][-1] in ("length", "stop")
    assert all(event["choices"][0]["finish_reason"] is None for event in texts[:-1])
    asked = (body.get("stream_options") or {}).get("include_usage")
    assert any(event.get("usage") for event in seen) == bool(asked)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_its_prompt_reaches_the_engine_as_the_client_meant_it(rig: Rig, path: Path) -> None:
    body = load(path)["request"].get("body") or {}
    if "prompt" not in body:
        return
    replay(rig, load(path)["request"])
    sent = rig.engines["fim"].bodies[-1]
    begin, hole, end = ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>")
    written = begin + body["prompt"] + hole + body["suffix"] + end if body.get("suffix") else body["prompt"]
    assert sent["prompt"] == written
    assert sent["stop"] == body["stop"] if "stop" in body else True


def fills(path: Path) -> bool:
    """Whether a fixture asks for a file's middle."""
    return "print(add(1, 2))" in str(load(path)["request"].get("body")) and "chat" not in path.stem


@pytest.mark.parametrize("path", [path for path in FIXTURES if fills(path)], ids=lambda path: path.stem)
def test_a_large_file_is_cut_around_the_hole_for_each_client(rig: Rig, path: Path) -> None:
    request = load(path)["request"]
    before = "def f(a, b):\n    return a\n" * 2000
    request["body"]["prompt"] = request["body"]["prompt"].replace("def add(a, b):", before + "def add(a, b):")
    status, answer = replay(rig, request)
    assert status == 200, answer
    sent = rig.engines["fim"].bodies[-1]["prompt"]
    begin, rest = sent[:15], sent.partition(">")[2]
    assert begin.startswith("<\uff5cfim\u2581begin")
    assert rest.startswith(("def f(a, b):\n", "    return a\n"))
    assert "def add(a, b):\n    <\uff5cfim\u2581hole\uff5c>\n\nprint(add(1, 2))\n<\uff5cfim\u2581end\uff5c>" in sent
    assert len(sent.split()) <= 4096


@pytest.mark.parametrize("path", [path for path in FIXTURES if "models" not in path.stem], ids=lambda path: path.stem)
def test_each_client_gets_a_stream_that_breaks_with_choices_in_its_last_event(rig: Rig, path: Path) -> None:
    request = load(path)["request"]
    body = request["body"]
    if "prompt" in body:
        body["prompt"] = "tokens=9 error=2 " + body["prompt"]
        body.pop("suffix", None)
    else:
        body["messages"] = [{"role": "user", "content": "tokens=9 error=2"}]
    status, answer = replay(rig, request)
    last = json.loads(answer.decode().rstrip().splitlines()[-1].removeprefix("data: "))
    assert (status, last["choices"], last["error"]["code"]) == (200, [], "engine_error")
