"""Bad input of every kind against the real gateway: the documented error, no engine bothered, nobody else held up."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.metering.journal import UsageRecord
from tests.inference.gateway.parts import KEY, OTHER_KEY, Rig
from tests.inference.gateway.test_refusals import error
from tests.waiting import wait_until

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HUGE = 10**300
USER = {"role": "user", "content": "hello"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MIB = 1024 * 1024


def chat_json(**raw: str) -> bytes:
    """A chat's body of which some values are written as given."""
    fields = {"model": '"deepseek-fake"', "messages": json.dumps([USER]), **raw}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


BODIES = {
    "invalid UTF-8": b'{"model":"deepseek-fake","messages":[{"role":"user","content":"\xc3\x28"}]}',
    "half a surrogate pair": chat_json(messages='[{"role":"user","content":"\\ud800"}]'),
    "a surrogate in UTF-8": b'{"model":"deepseek-fake","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "UTF-16": '{"model":"deepseek-fake"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + chat_json(),
    "a name twice": b'{"model":"deepseek-away",' + chat_json()[1:],
    "a name twice, once escaped": b'{"m\\u006fdel":"deepseek-away",' + chat_json()[1:],
    "a name twice, a colon hidden": chat_json(user='"a:b"', metadata='{"a":":\\u003a","a":1}'),
    "a name twice, a colon hidden in capitals": chat_json(metadata='{"a":":\\u003A","a":1}'),
    "a name twice, spaced": chat_json(user='{"a" : 1, "a"\n:2}'),
    "a name twice inside": chat_json(messages='[{"role":"system","role":"user","content":"x"}]'),
    "NaN": chat_json(temperature="NaN"),
    "Infinity": chat_json(temperature="-Infinity"),
    "a number beyond floats": chat_json(temperature="1e400"),
    "a number of many digits": chat_json(seed="9" * 5000),
    "a comment": chat_json() + b"//",
    "a comma at the end": chat_json()[:-1] + b",}",
    "a control character in a text": chat_json(user='"\x01"'),
    "nesting": chat_json(tools="[" * 65 + "]" * 65),
    "much nesting": chat_json(tools="[" * 100_000 + "]" * 100_000),
    "many lists": chat_json(user="[" + "[]," * 65_536 + "0]"),
    "nesting without an end": chat_json(tools='{"a":' * 100_000),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_it_refuses_a_body_that_is_no_proper_json(rig: Rig, body: bytes) -> None:
    with nothing_for_engines(rig):
        status, _, answer = rig.call("POST", CHAT, body)
    assert (status, error(answer)["type"], error(answer)["param"]) == (400, "invalid_request_error", None)


FIELDS: list[tuple[str, dict[str, Any]]] = [
    *((name, {name: value}) for name, value in [
        ("max_tokens", -HUGE), ("max_completion_tokens", 0.5), ("n", HUGE), ("n", 1.5), ("best_of", 17), ("logprobs", 1),
        ("top_logprobs", 21), ("prompt_logprobs", HUGE), ("temperature", 2.1), ("temperature", "hot"), ("temperature", True),
        ("top_p", 0), ("top_p", 1.5), ("top_k", 1.5), ("top_k", HUGE), ("min_p", -0.1), ("frequency_penalty", 3),
        ("presence_penalty", -3), ("repetition_penalty", 0), ("seed", HUGE), ("min_tokens", -1), ("truncate_prompt_tokens", -2),
        ("thinking_token_budget", -1), ("stop", ""), ("stop", [""]), ("stop", ["a"] * 17), ("stop", {"a": 1}),
        ("stop_token_ids", [HUGE]), ("stop_token_ids", [-1]), ("stop_token_ids", list(range(129))),
        ("allowed_token_ids", ["a"]), ("allowed_token_ids", [1] * 8193), ("bad_words", ["x"] * 129), ("bad_words", "x"),
        ("logit_bias", {"x": 1}), ("logit_bias", {"1": 1000}), ("logit_bias", [1]),
        ("logit_bias", {str(number): 1 for number in range(1025)}),
        ("echo", "yes"), ("ignore_eos", 1), ("parallel_tool_calls", "no"), ("truncation_side", "middle"),
        ("response_format", "json"), ("response_format", {"type": "json_schema", "json_schema": {"a": "x" * 70_000}}),
        ("structured_outputs", {"regex": "a" * 70_000}), ("tools", {"a": 1}), ("tools", [{"type": "web_search"}]),
        ("tools", [{"type": "function", "function": {}}]), ("tools", [{"type": "function", "function": {"name": "f"}}] * 129),
        ("tool_choice", 5), ("documents", ["x"]), ("documents", [{}] * 129), ("reasoning_effort", 5), ("stream_options", []),
        ("messages", "hello"), ("messages", {}), ("messages", [[]]), ("messages", ["hello"]), ("messages", [{}]),
        ("messages", [{"content": "x"}]), ("messages", [{"role": "user"}]), ("messages", [{"role": "user", "content": None}]),
        ("messages", [{"role": "User", "content": "x"}]), ("messages", [{"role": "", "content": "x"}]),
        ("messages", [{"role": "tool"}]), ("messages", [{"role": "user", "content": [None]}]),
        ("messages", [{"role": "user", "content": {"type": "text", "text": "x"}}]), ("messages", [USER] * 10_000),
        ("messages", [{**USER, "content": [""] * 9_000}] * 2),
        ("messages", [{**USER, "role": "assistant", "tool_calls": "x"}]),
        ("messages", [{"role": "assistant", "tool_calls": [CALL] * 129}]),
        ("messages", [{"role": "assistant", "tool_calls": [{**CALL, "function": {"arguments": "{}"}}]}]),
        ("messages", [{"role": "assistant", "tool_calls": [{**CALL, "type": "x"}]}]),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("param", "fields"), FIELDS, ids=[f"{param}-{number}" for number, (param, _) in enumerate(FIELDS)]
)
def test_it_names_the_field_that_is_out_of_bounds(rig: Rig, param: str, fields: dict[str, Any]) -> None:
    with nothing_for_engines(rig):
        status, _, answer = rig.call("POST", CHAT, {**rig.chat(), **fields})
    assert (status, error(answer)["param"], error(answer)["code"]) == (400, param, None)
    assert len(error(answer)["message"]) < 300


@pytest.mark.parametrize("prompt", [[2**31], [HUGE], [[1], "a", 5], [["a"]], [[[1]]], [None], True, 5])
def test_it_names_a_prompt_that_is_none(rig: Rig, prompt: Any) -> None:
    with nothing_for_engines(rig):
        status, _, answer = rig.call("POST", COMPLETIONS, {"model": "deepseek-fake", "prompt": prompt})
    assert (status, error(answer)["param"]) == (400, "prompt")


@pytest.mark.parametrize(("num_prompts", "n", "param"), [(65, 2, "n"), (9, 16, "n")])
def test_it_refuses_more_answers_than_one_request_may_have(rig: Rig, num_prompts: int, n: int, param: str) -> None:
    body = {"model": "deepseek-fake", "prompt": ["tokens=1"] * num_prompts, "n": n, "max_tokens": 1}
    with nothing_for_engines(rig):
        status, _, answer = rig.call("POST", COMPLETIONS, body)
    assert (status, error(answer)["param"]) == (400, param)
    assert f"{num_prompts} prompts with n {n} are {num_prompts * n} answers" in error(answer)["message"]
    assert rig.call("POST", COMPLETIONS, {**body, "prompt": body["prompt"][: 128 // n]})[0] == 200


def test_it_says_that_a_huge_answer_has_no_room(rig: Rig) -> None:
    for asked in (10**9, HUGE):
        status, _, answer = rig.call("POST", CHAT, rig.chat(max_tokens=asked))
        assert (status, error(answer)["code"]) == (400, "context_length_exceeded")
        assert error(answer)["param"] == "max_tokens"


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": ""}]},
        {"messages": [{"role": role, "content": []} for role in ("developer", "system", "user", "function")]},
        {"messages": [{"role": "user", "content": ":" * 2000}], "stop": None, "temperature": 0, "top_p": 1, "n": 1.0},
        {"temperature": 2, "top_k": -1, "seed": -(2**63), "logit_bias": {"7": -100}, "stop": ["\n"], "logprobs": True},
    ],
)
def test_it_takes_what_is_odd_and_right(rig: Rig, fields: dict[str, Any]) -> None:
    assert rig.call("POST", CHAT, {**rig.chat(), **fields})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("HEAD", "/v1/models", 200, None), ("HEAD", "/v1/models/deepseek-fake", 200, None), ("HEAD", "/healthz", 200, None),
        ("HEAD", CHAT, 405, "POST"), ("OPTIONS", CHAT, 405, "POST"), ("OPTIONS", "/v1/models", 405, "GET, HEAD"),
        ("PATCH", "/v1/models/deepseek-fake", 405, "GET, HEAD, DELETE"), ("TRACE", CHAT, 405, "POST"),
        ("PROPFIND", "/healthz", 405, "GET, HEAD"), ("PURGE", COMPLETIONS, 405, "POST"), ("BREW", CHAT, 400, None),
        ("OPTIONS", "*", 404, None), ("HEAD", "/v1/models/unknown", 404, None), ("GET", "/v1/../v1/models", 404, None),
    ],
)  # fmt: skip
def test_it_answers_every_method(rig: Rig, method: str, path: str, status: int, allow: str | None) -> None:
    connection = rig.connect()
    connection.request(method, path, headers={"authorization": f"Bearer {KEY}"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert (response.status, response.headers["allow"]) == (status, allow)
    assert response.headers["x-request-id"].startswith("req-")
    if method == "HEAD":
        assert not body
        assert int(response.headers["content-length"]) > 0
    elif status != 200:
        error(body)


@contextmanager
def nothing_for_engines(rig: Rig) -> Iterator[None]:
    before = [len(engine.bodies) for engine in rig.engines.values()]
    yield
    assert [len(engine.bodies) for engine in rig.engines.values()] == before


@contextmanager
def neighbour(rig: Rig) -> Iterator[list[int]]:
    """Another tenant, who goes on asking all the while; the statuses of its answers."""
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        body = {"model": "deepseek-fim", "messages": [{"role": "user", "content": "tokens=2"}]}
        while not done.is_set():
            statuses.append(rig.call("POST", CHAT, body, authorization=f"Bearer {OTHER_KEY}")[0])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()
    assert set(statuses) == {200}


def worker_bytes(rig: Rig) -> int:
    """What the gateway's processes hold in memory."""
    assert rig.process is not None
    pid = rig.process.pid
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    found = [line for one in pids for line in Path(f"/proc/{one}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in found if line.startswith("VmRSS:"))


def test_heavy_bad_input_leaves_memory_and_neighbours_alone(rig: Rig) -> None:
    nested = b'{"model":"deepseek-fake","messages":' + b"[" * 900_000
    objects = b'{"model":"deepseek-fake","messages":[' + b'{"role":"user","content":""},' * 30_000
    cut = chat_json(user=json.dumps("x" * 900_000))[:-1]
    heavy = [nested, objects + b"0]}", cut, b"\xff" * 900_000, b" " * 3 * MIB]
    with nothing_for_others(rig), neighbour(rig) as statuses:
        for body in heavy:
            rig.call("POST", CHAT, body)
        before = worker_bytes(rig)
        for body in heavy * 10:
            assert rig.call("POST", CHAT, body)[0] in (400, 413)
        assert worker_bytes(rig) - before < 64 * MIB
        wait_until(lambda: len(statuses) > 20)


@contextmanager
def nothing_for_others(rig: Rig) -> Iterator[None]:
    """No chat of the first model reaches its engines."""
    before = [len(rig.engines[name].bodies) for name in ("one", "two")]
    yield
    assert [len(rig.engines[name].bodies) for name in ("one", "two")] == before


def test_a_client_that_reads_byte_by_byte_is_paused_then_ended_and_billed(rig: Rig) -> None:
    def made() -> int:
        return sum(engine.generation_tokens for name, engine in rig.engines.items() if name in ("one", "two"))

    before, memory = made(), worker_bytes(rig)
    body = json.dumps(rig.chat("tokens=3000 pad=50000", stream=True, max_tokens=4000)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    known = {record.request_id for record in rig.records()}

    def ended() -> list[UsageRecord]:
        return [one for one in rig.records() if one.request_id not in known and one.tenant_id == "owner"]

    with socket.socket() as client, neighbour(rig) as statuses:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", rig.port))
        client.sendall(head.encode() + body)
        assert client.recv(1) == b"H"

        def read_on() -> list[UsageRecord]:
            with contextlib.suppress(ConnectionError):
                client.recv(1)
            return ended()

        records = wait_until(read_on, timeout_s=60)
        assert statuses, "others were served meanwhile"
        assert worker_bytes(rig) - memory < 64 * MIB
    assert [record.outcome for record in records] == ["aborted"]
    assert records[0].completion_tokens == made() - before < 1000, "what nobody takes isn't made"
