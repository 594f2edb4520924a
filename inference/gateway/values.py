"""What single fields of a request may hold: numbers, flags, texts and lists, each with its bound. The description of the
API is written from these tables.

Bounds are the engine's where it has some, so that a request it would refuse costs nobody a place in the queue; lists and
grammars, for which it has none, are bounded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from inference.gateway.errors import bad_field

MAX_N = 16
MAX_LOGPROBS = 20
MAX_STOP = 16  # DeepSeek's; the pool's engines are started with as many
MAX_LOGIT_BIAS = 1024
MAX_GRAMMAR_BYTES = 64 * 1024
MAX_TOKEN_ID = 2**31 - 1
INT64 = 2**63 - 1


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; to JSON, and to engines, 2.0 is one. A boolean is none."""
    return type(value) is int or (type(value) is float and value.is_integer())


def is_token_id(value: Any) -> bool:
    """Whether a value can be a token's id; whether the model has that token is the engine's to say."""
    return is_whole(value) and 0 <= value <= MAX_TOKEN_ID


@dataclass(frozen=True)
class Number:
    """Bounds of a number; `above` leaves `low` itself out."""

    low: float
    high: float | None = None
    whole: bool = True
    above: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is such a number."""
        if not is_whole(value) and (self.whole or type(value) is not float):
            return False
        return (value > self.low if self.above else value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        low = f"above {self.low}" if self.above else f"of at least {self.low}"
        if self.high is None:
            return f"{kind} {low}"
        return f"{kind} {low} and at most {self.high}" if self.above else f"{kind} from {self.low} to {self.high}"


@dataclass(frozen=True)
class Items:
    """A list of at most so many texts, objects, or token ids."""

    most: int
    kind: type

    def holds(self, value: Any) -> bool:
        """Whether a value is such a list; a text in it isn't empty."""
        return isinstance(value, list) and len(value) <= self.most and all(self._holds(item) for item in value)

    def _holds(self, item: Any) -> bool:
        if self.kind is int:
            return is_token_id(item)
        return type(item) is self.kind and item != ""

    def __str__(self) -> str:
        names = {str: "non-empty strings", int: "token ids", dict: "objects"}
        return f"a list of at most {self.most} {names[self.kind]}"


NUMBERS: dict[str, Number] = {
    "n": Number(1, MAX_N),
    "best_of": Number(1, MAX_N),
    "max_tokens": Number(1),
    "min_tokens": Number(0),
    "temperature": Number(0, 2, whole=False),
    "top_p": Number(0, 1, whole=False, above=True),
    "top_k": Number(-1, MAX_TOKEN_ID),
    "min_p": Number(0, 1, whole=False),
    "frequency_penalty": Number(-2, 2, whole=False),
    "presence_penalty": Number(-2, 2, whole=False),
    "repetition_penalty": Number(0, whole=False, above=True),
    "seed": Number(-INT64 - 1, INT64),
    "prompt_logprobs": Number(0, MAX_LOGPROBS),
    "truncate_prompt_tokens": Number(-1, INT64),
    "thinking_token_budget": Number(0, INT64),
}
OF_CHAT: dict[str, Number] = {"max_completion_tokens": Number(1), "top_logprobs": Number(0, MAX_LOGPROBS)}
OF_COMPLETIONS: dict[str, Number] = {"max_tokens": Number(0), "logprobs": Number(0, MAX_LOGPROBS)}
FLAGS = (
    "stream", "echo", "ignore_eos", "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens",
    "add_special_tokens", "return_token_ids", "return_tokens_as_token_ids", "parallel_tool_calls", "include_reasoning",
    "add_generation_prompt", "continue_final_message",
)  # fmt: skip
LISTS: dict[str, Items] = {
    "stop_token_ids": Items(128, int),
    "allowed_token_ids": Items(8192, int),
    "bad_words": Items(128, str),
    "tools": Items(128, dict),
    "documents": Items(128, dict),
}
OBJECTS = ("response_format", "structured_outputs", "repetition_detection")
GRAMMARS = ("response_format", "structured_outputs")


def numbers_of(endpoint: str) -> dict[str, Number]:
    """The bounded numbers of an endpoint's fields."""
    return {**NUMBERS, **(OF_CHAT if endpoint == "chat" else OF_COMPLETIONS)}


_NUMBERS_OF = {endpoint: numbers_of(endpoint) for endpoint in ("chat", "completions")}


def check_values(body: dict[str, Any], endpoint: str) -> None:
    """Types and bounds of what is set; null means unset. Whole numbers become integers.

    Raises: ApiError 400 with the field in param.
    """
    bounds = _NUMBERS_OF[endpoint]
    for name, value in body.items():
        if value is None:
            continue
        if name in bounds:
            _require(bounds[name].holds(value), name, bounds[name])
            if bounds[name].whole:
                body[name] = int(value)
        elif name in FLAGS or (name == "logprobs" and endpoint == "chat"):
            _require(isinstance(value, bool), name, "a boolean")
        elif name in LISTS:
            _require(LISTS[name].holds(value), name, LISTS[name])
        elif name in OBJECTS:
            _require(isinstance(value, dict), name, "an object")
        if name in _OTHERS:
            _OTHERS[name](value)


def _require(held: bool, name: str, what: object) -> None:
    if not held:
        raise bad_field(name, f"{name} must be {what}.")


def _check_stop(value: Any) -> None:
    listed = [value] if isinstance(value, str) else value
    _require(Items(MAX_STOP, str).holds(listed), "stop", f"a non-empty string or a list of at most {MAX_STOP} of them")


def _check_logit_bias(value: Any) -> None:
    bias = Number(-100, 100, whole=False)
    held = isinstance(value, dict) and len(value) <= MAX_LOGIT_BIAS
    if not held or not all(name.isdecimal() and len(name) < 10 and bias.holds(item) for name, item in value.items()):
        what = f"an object of at most {MAX_LOGIT_BIAS} entries, token ids with numbers from -100 to 100"
        raise bad_field("logit_bias", f"logit_bias must be {what}.")


def _check_tool_choice(value: Any) -> None:
    _require(isinstance(value, str | dict), "tool_choice", "a string or an object")


def _check_tools(value: list[dict[str, Any]]) -> None:
    for tool in value:
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict) or not function.get("name"):
            raise bad_field("tools", "Each of tools must be a function with a name.")
        if not isinstance(function["name"], str) or not isinstance(function.get("parameters"), dict | None):
            raise bad_field("tools", "A tool's name must be a string and its parameters an object.")


def _check_side(value: Any) -> None:
    _require(value in ("left", "right"), "truncation_side", "left or right")


def _check_effort(value: Any) -> None:
    _require(isinstance(value, str), "reasoning_effort", "a string")


def _check_stream_options(value: Any) -> None:
    held = isinstance(value, dict) and isinstance(value.get("include_usage"), bool | None)
    _require(held, "stream_options", "an object whose include_usage is a boolean")


_OTHERS = {
    "stop": _check_stop,
    "logit_bias": _check_logit_bias,
    "tool_choice": _check_tool_choice,
    "tools": _check_tools,
    "truncation_side": _check_side,
    "reasoning_effort": _check_effort,
    "stream_options": _check_stream_options,
}


def check_grammars(body: dict[str, Any]) -> None:
    """A grammar is compiled by the engine before anything is made: it has a size.

    Raises: ApiError 400 with the field in param.
    """
    for name in GRAMMARS:
        if body.get(name) and len(msgspec.json.encode(body[name])) > MAX_GRAMMAR_BYTES:
            raise bad_field(name, f"{name} is over the limit of {MAX_GRAMMAR_BYTES} bytes.")
