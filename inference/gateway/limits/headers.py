"""What a client is told of its limits: the headers of every answer, and the wording of each refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inference.gateway.errors import ApiError
from inference.gateway.limits.gates import Gate, Kind
from inference.gateway.limits.outcome import Left, Refused

# A used-up budget does not come back by waiting a little: openai-python is told not to try again.
BUDGETS = {Kind.DAY: "tokens per day", Kind.MONTH: "tokens per month", Kind.SPEND: "budget of this month"}
RATES = {Kind.REQUESTS: "requests per minute", Kind.MINUTE: "tokens per minute", Kind.RUNNING: "requests at once"}
NAMES = {Kind.REQUESTS: "requests", Kind.MINUTE: "tokens"}
_HEADERS = {
    kind: (b"x-ratelimit-limit-%b" % name, b"x-ratelimit-remaining-%b" % name, b"x-ratelimit-reset-%b" % name)
    for kind, name in ((kind, name.encode()) for kind, name in NAMES.items())
}


def duration(seconds: float) -> str:
    """A duration as OpenAI's headers have it: `12ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 10) / 10:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def headers_of(gates: Sequence[Gate], left: Sequence[Left]) -> tuple[tuple[str, str], ...]:
    """`x-ratelimit-*` of the tightest gate of each kind."""
    return tuple((name.decode(), value.decode()) for name, value in header_bytes(gates, left))


def header_bytes(gates: Sequence[Gate], left: Sequence[Left]) -> list[tuple[bytes, bytes]]:
    """The same, as every answer has them."""
    tightest: dict[Kind, tuple[int, int, float]] = {}
    for (_, kind, limit, _, _), (remaining, reset_s) in zip(gates, left, strict=True):
        if kind in NAMES:
            found = (remaining, limit, reset_s)
            if kind not in tightest or found < tightest[kind]:
                tightest[kind] = found
    out: list[tuple[bytes, bytes]] = []
    for kind, (of_limit, of_remaining, of_reset) in _HEADERS.items():
        if kind in tightest:
            remaining, limit, reset_s = tightest[kind]
            out += (
                (of_limit, b"%d" % limit),
                (of_remaining, b"%d" % remaining),
                (of_reset, duration(reset_s).encode()),
            )
    return out


def refusal(gates: Sequence[Gate], refused: Refused) -> ApiError:
    """429 that names the limit; `insufficient_quota` for a budget, which is not to be tried again."""
    gate = gates[refused.index]
    common = headers_of(gates, refused.left)
    if gate.kind in BUDGETS:
        return _quota(gate, refused, common)
    if refused.retry_s is None:
        limit = _limit(gate, RATES[gate.kind])
        message = (
            f"This request may need {gate.amount} tokens, and {limit} never allows that. Ask for fewer with max_tokens."
        )
        headers = (("x-should-retry", "false"), *common)
        return ApiError(429, "rate_limit_exceeded", message, kind="tokens", headers=headers)
    wait_s = max(refused.retry_s, 0.001)
    message = f"{_limit(gate, RATES[gate.kind])} is reached. Try again in {duration(wait_s)}."
    waits = (("retry-after-ms", str(math.ceil(wait_s * 1000))), ("retry-after", str(math.ceil(wait_s))))
    return ApiError(
        429, "rate_limit_exceeded", message, kind=NAMES.get(gate.kind, "requests"), headers=(*waits, *common)
    )


def _quota(gate: Gate, refused: Refused, common: tuple[tuple[str, str], ...]) -> ApiError:
    what = _limit(gate, BUDGETS[gate.kind])
    when = "" if refused.retry_s is None else f" It is renewed in {duration(refused.retry_s)}."
    says = "would be exceeded by this request" if refused.left[refused.index].remaining else "is used up"
    headers = (("x-should-retry", "false"), *common)
    return ApiError(429, "insufficient_quota", f"{what} {says}.{when}", kind="insufficient_quota", headers=headers)


def _limit(gate: Gate, what: str) -> str:
    if gate.kind is Kind.SPEND:
        return f"{gate.whose}'s {what}"
    return f"{gate.whose}'s limit of {gate.limit} {what}"
