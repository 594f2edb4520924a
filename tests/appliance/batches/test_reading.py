"""Input files: what is found wrong, in which line, and that a file is never read as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.batches.lines import read
from appliance.batches.reading import FAULTS_KEPT, MAX_NUMBERED, check_file, numbered
from tests.appliance.batches.cast import CHAT, jsonl, request

BYTES = 4096


def checked(tmp_path: Path, data: bytes, **limits: int) -> Any:
    path = tmp_path / "input.jsonl"
    path.write_bytes(data)
    return check_file(path, CHAT, **{"max_line_bytes": BYTES, **limits})


def test_a_file_that_is_right_has_its_number_of_lines_and_its_model(tmp_path: Path) -> None:
    data = b"\n" + jsonl(request("一")) + b"  \r\n" + jsonl(request("b"))[:-1] + b"\r\n\n" + jsonl(request("c"))[:-1]
    found = checked(tmp_path, data)
    assert (found.num_lines, found.model, found.faults) == (3, "tiny-coder", ())


def without(name: str) -> dict[str, Any]:
    line = request("a")
    del line[name]
    return line


def body(**fields: Any) -> dict[str, Any]:
    return {**request("a"), "body": {"model": "tiny-coder", "messages": [], **fields}}


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        (b"[" * 3000, "invalid_json_line", None),
        (b'{"custom_id": NaN}', "invalid_json_line", None),
        (b'{"custom_id": 7, ' + json.dumps(request("a")).encode()[1:], "invalid_json_line", None),
        (without("custom_id"), "missing_required_parameter", "custom_id"),
        ({**request("a"), "custom_id": 7}, "invalid_request", "custom_id"),
        ({**request("a"), "custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({**request("a"), "custom_id": "x" * 513}, "invalid_custom_id", "custom_id"),
        ({**request("a"), "custom_id": "a\nb"}, "invalid_custom_id", "custom_id"),
        (without("method"), "missing_required_parameter", "method"),
        ({**request("a"), "method": "GET"}, "invalid_method", "method"),
        (without("url"), "missing_required_parameter", "url"),
        ({**request("a"), "url": "/v1/completions"}, "invalid_url", "url"),
        (without("body"), "missing_required_parameter", "body"),
        ({**request("a"), "body": []}, "invalid_request", "body"),
        (body(stream=True), "unsupported_parameter", "body.stream"),
        (body(model=None), "missing_required_parameter", "body.model"),
        (body(model="another"), "mismatched_model", "body.model"),
        (request("first"), "duplicate_custom_id", "custom_id"),
        (b" " * 10 + b"x" * BYTES, "line_too_long", None),
    ],
)
def test_a_line_that_is_wrong_is_named_with_its_number(
    tmp_path: Path, line: bytes | dict[str, Any], code: str, param: str | None
) -> None:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    found = checked(tmp_path, jsonl(request("first")) + b"\n" + raw + b"\n" + jsonl(request("last")))
    assert [(fault.code, fault.line, fault.param) for fault in found.faults] == [(code, 3, param)]


def test_a_stream_that_is_not_asked_for_is_none(tmp_path: Path) -> None:
    assert checked(tmp_path, jsonl(body(stream=False))).faults == ()


@pytest.mark.parametrize("data", [b"", b"\n\n  \n"])
def test_a_file_without_a_request_is_empty(tmp_path: Path, data: bytes) -> None:
    assert [fault.code for fault in checked(tmp_path, data).faults] == ["empty_file"]


def test_a_file_with_too_many_requests_is_refused(tmp_path: Path) -> None:
    data = jsonl(*(request(str(number)) for number in range(4)))
    assert checked(tmp_path, data, max_lines=4).faults == ()
    assert [fault.code for fault in checked(tmp_path, data, max_lines=3).faults] == ["too_many_tasks"]


def test_blank_lines_without_end_are_not_read(tmp_path: Path) -> None:
    assert checked(tmp_path, b"\n" * (MAX_NUMBERED - 1) + jsonl(request("a"))).faults == ()
    found = checked(tmp_path, b"\n" * MAX_NUMBERED + jsonl(request("a")))
    assert [(fault.code, fault.line) for fault in found.faults] == [("too_many_tasks", None)]


def test_so_many_faults_are_kept(tmp_path: Path) -> None:
    assert len(checked(tmp_path, b"{\n" * (FAULTS_KEPT + 50)).faults) == FAULTS_KEPT


def test_of_a_line_without_end_only_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"x" * 100_000 + b"\n" + b"{}")
    found = list(numbered(path, 100))
    assert [number for number, _ in found] == [1, 2]
    assert len(found[0][1]) <= 102
    assert found[1][1] == b"{}"


def test_a_body_stays_byte_for_byte_what_was_written() -> None:
    raw = b'{"custom_id":"a","method":"POST","url":"/x","body": {"b" : 1.50, "b": 1e2 , "u":"\\u4e00"}}'
    assert bytes(read(raw).body) == b'{"b" : 1.50, "b": 1e2 , "u":"\\u4e00"}'
