"""What an answer of the gateway means for its line: kept as a result, kept as an error, or asked again, and when.

Pure; sending and keeping are appliance.batches.work's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

MOST_TRIES = 4  # of a line whose answers are faults of ours
MOST_LOSSES = 6  # of a line whose connection ends without an answer: one that kills what answers it must end, too
WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
FAULTS = frozenset({408, 409, 500, 502, 504})


class Verdict(Enum):
    """What follows from an answer."""

    KEEP = "keep"
    BUSY = "busy"  # the appliance or a limit says later: as often as it takes
    FAULT = "fault"  # a fault of ours: some more tries
    KEY = "key"  # the key is not known yet, or not any more


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Usage:
    """Tokens as the answer tells them."""

    input: int = 0
    cached: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.cached + other.cached, self.output + other.output)


@dataclass(frozen=True)
class Result:
    """A line that is done: what the output or the error file says of it."""

    line: int
    ok: bool
    usage: Usage
    text: bytes


def judge(answer: Answer) -> Verdict:
    """What follows from an answer."""
    if answer.status == 429:
        return Verdict.KEEP if _is_final(answer) else Verdict.BUSY
    if answer.status == 503:
        return Verdict.BUSY
    if answer.status == 401:
        return Verdict.KEY
    return Verdict.FAULT if answer.status in FAULTS else Verdict.KEEP


def _is_final(answer: Answer) -> bool:
    """A budget that is used up, or a request that alone is over a limit: waiting helps neither."""
    return answer.headers.get("x-should-retry") == "false"


def wait_s(answer: Answer | None, tries: int) -> float:
    """How long to wait: what the answer says, else longer with each try."""
    said = None if answer is None else _said_s(answer.headers)
    return min(WAIT_S * 2**tries, LONGEST_WAIT_S) if said is None else said


def _said_s(headers: Mapping[str, str]) -> float | None:
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return min(max(float(headers[name]) * unit_s, 0.0), 3600.0)
        except (KeyError, ValueError):
            continue
    return None


def answered(line: int, custom_id: str, answer: Answer) -> Result:
    """The result of a line that got an answer, whatever its status; one that is no JSON is an error of its own."""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return failed(line, custom_id, "bad_answer", f"The answer with status {answer.status} could not be read.")
    response = {
        "status_code": answer.status, "request_id": answer.headers.get("x-request-id", ""), "body": body,
    }  # fmt: skip
    ok = answer.status == 200
    return Result(line, ok, _usage(body) if ok else Usage(), _text(custom_id, response, None))


def failed(line: int, custom_id: str, code: str, message: str) -> Result:
    """The result of a line that got no answer."""
    return Result(line, False, Usage(), _text(custom_id, None, {"code": code, "message": message}))


def _text(custom_id: str, response: dict[str, Any] | None, error: dict[str, str] | None) -> bytes:
    """OpenAI's line of an output or error file."""
    row = {
        "id": f"batch_req_{secrets.token_hex(12)}", "custom_id": custom_id, "response": response, "error": error,
    }  # fmt: skip
    return msgspec.json.encode(row)


def _usage(body: Any) -> Usage:
    told = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return Usage()
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(_count(told.get("prompt_tokens")), _count(cached), _count(told.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
