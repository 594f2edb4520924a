"""The data plane's requests and answers as JSON Schema, written from the tables that check them."""

from __future__ import annotations

from typing import Any

from inference.gateway import values
from inference.gateway.body import MAX_PROMPTS
from inference.gateway.fields import (
    DROPPED,
    FORWARDED,
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOOL_CALLS,
    REFUSED,
    ROLES,
    STRUCTURED,
)
from inference.gateway.values import Items, Number

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
TOKEN_IDS: Schema = {"type": "array", "items": {**WHOLE, "minimum": 0, "maximum": values.MAX_TOKEN_ID}, "minItems": 1}


def ref(name: str) -> Schema:
    """A shape by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object; what isn't optional is always there."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _number(bound: Number) -> Schema:
    schema: Schema = {"type": "integer" if bound.whole else "number"}
    schema["exclusiveMinimum" if bound.above else "minimum"] = bound.low
    return schema if bound.high is None else {**schema, "maximum": bound.high}


def _items(bound: Items) -> Schema:
    kinds: dict[type, Schema] = {
        str: {**TEXT, "minLength": 1},
        int: TOKEN_IDS["items"],
        dict: {"type": "object"},
    }
    return {"type": "array", "items": kinds[bound.kind], "maxItems": bound.most}


_STOP = {**TEXT, "minLength": 1}
_PROMPT = {**TEXT, "minLength": 1}
_OTHERS: dict[str, Schema] = {
    "model": {**TEXT, "minLength": 1, "description": "An id of /v1/models."},
    "stop": {"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": values.MAX_STOP}]},
    "logit_bias": {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]{1,9}$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "maxProperties": values.MAX_LOGIT_BIAS,
        "description": "Token ids and what is added to their scores.",
    },
    "tools": {"type": "array", "items": ref("Tool"), "maxItems": values.LISTS["tools"].most},
    "tool_choice": {"anyOf": [TEXT, {"type": "object"}]},
    "structured_outputs": {
        "type": "object",
        "properties": {name: {} for name in sorted(STRUCTURED)},
        "additionalProperties": False,
    },
    "truncation_side": {"enum": ["left", "right"]},
    "reasoning_effort": TEXT,
    "stream_options": {
        "type": "object",
        "properties": {"include_usage": {"type": ["boolean", "null"], "description": "A last chunk with usage."}},
    },
    "messages": {"type": "array", "items": ref("Message"), "minItems": 1, "maxItems": MAX_MESSAGES},
    "prompt": {
        "anyOf": [
            _PROMPT,
            TOKEN_IDS,
            {"type": "array", "items": {"anyOf": [_PROMPT, TOKEN_IDS]}, "minItems": 1, "maxItems": MAX_PROMPTS},
        ],
        "description": "Special tokens in it are the model's own. With a suffix: one text, which may be empty.",
    },
    "suffix": {**TEXT, "description": "The text behind the hole; for models that fill in the middle."},
}
_NEVER_NULL = frozenset({"model", "messages", "prompt"})


def _request(endpoint: str) -> Schema:
    numbers = values.numbers_of(endpoint)
    properties: dict[str, Schema] = {}
    for name in sorted(FORWARDED[endpoint] | {"stream_options", "best_of"}):
        if name in numbers:
            schema = _number(numbers[name])
        elif name in values.FLAGS or name == "logprobs":
            schema = {"type": "boolean"}
        elif name in _OTHERS:
            schema = _OTHERS[name]
        elif name in values.LISTS:
            schema = _items(values.LISTS[name])
        else:
            schema = {"type": "object"}
        properties[name] = schema if name in _NEVER_NULL else or_null(schema)
    for name in sorted(DROPPED - properties.keys()):
        properties[name] = {"description": "Accepted and dropped."}
    for name in sorted(REFUSED):
        properties[name] = {"enum": [None, False], "description": "Refused when set."}
    needed = ["model", "messages" if endpoint == "chat" else "prompt"]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": True}


_CONTENT: Schema = {
    "anyOf": [TEXT, {"type": "array", "items": {"anyOf": [TEXT, ref("TextPart")]}, "maxItems": MAX_PARTS}]
}
_CALLS: Schema = or_null({"type": "array", "items": ref("ToolCall"), "maxItems": MAX_TOOL_CALLS})
_FINISH: Schema = or_null({**TEXT, "description": "stop, length, tool_calls, or abort."})
_USAGE_DETAILS = obj({"cached_tokens": WHOLE})


def _choice(content: dict[str, Schema]) -> Schema:
    return obj({"index": WHOLE, **content, "finish_reason": _FINISH})


def _answer(kind: str, choice: Schema, optional: tuple[str, ...] = (), **more: Schema) -> Schema:
    choices: Schema = {"type": "array", "items": choice}
    return obj(
        {"id": TEXT, "object": {"const": kind}, "created": WHOLE, "model": TEXT, "choices": choices, **more},
        optional=optional,
    )


def _event(chunk: str) -> Schema:
    """One server-sent event."""
    json = {**TEXT, "contentMediaType": "application/json"}
    shapes = [{"const": "[DONE]"}, *({**json, "contentSchema": ref(name)} for name in (chunk, "StreamError"))]
    return {**obj({"data": {"anyOf": shapes}}), "description": "The last event is [DONE], or an error."}


_REPLY = obj({"role": {"const": "assistant"}, "content": or_null(TEXT), "tool_calls": _CALLS}, optional=("tool_calls",))
_DELTA = {"type": "object", "properties": {"role": TEXT, "content": or_null(TEXT), "tool_calls": {"type": "array"}}}
_USAGE_NAMES = (
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens",
)  # fmt: skip

_ERROR = obj({"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": or_null(TEXT)})

SHAPES: dict[str, Schema] = {
    "ChatRequest": _request("chat"),
    "CompletionRequest": _request("completions"),
    "Message": {
        "oneOf": [
            {
                "type": "object",
                "properties": {
                    "role": {"enum": sorted(ROLES - {"assistant"})},
                    "content": _CONTENT,
                    "tool_calls": _CALLS,
                },
                "required": ["role", "content"],
            },
            {
                "type": "object",
                "properties": {"role": {"const": "assistant"}, "content": or_null(_CONTENT), "tool_calls": _CALLS},
                "required": ["role"],
            },
        ]
    },
    "TextPart": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"type": {"const": kind}, kind: TEXT, "cache_control": {}},
                "required": ["type", kind],
                "additionalProperties": False,
            }
            for kind in ("text", "refusal")
        ]
    },
    "Tool": obj(
        {
            "type": {"const": "function"},
            "function": obj(
                {"name": {**TEXT, "minLength": 1}, "parameters": {"type": ["object", "null"]}}, optional=("parameters",)
            ),
        },
        optional=("type",),
    ),
    "ToolCall": obj(
        {
            "type": {"const": "function"},
            "function": obj(
                {"name": TEXT, "arguments": {"type": ["string", "object", "null"]}}, optional=("arguments",)
            ),
        },
        optional=("type",),
    ),
    "Usage": obj({**dict.fromkeys(_USAGE_NAMES, WHOLE), "prompt_tokens_details": _USAGE_DETAILS}),
    "ChatAnswer": _answer("chat.completion", _choice({"message": _REPLY}), usage=ref("Usage")),
    "ChatChunk": _answer("chat.completion.chunk", _choice({"delta": _DELTA}), ("usage",), usage=ref("Usage")),
    "Completion": _answer("text_completion", _choice({"text": TEXT}), usage=ref("Usage")),
    "CompletionChunk": _answer("text_completion", _choice({"text": TEXT}), ("usage",), usage=ref("Usage")),
    "ChatEvent": _event("ChatChunk"),
    "CompletionEvent": _event("CompletionChunk"),
    "Model": obj(
        {"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT, "max_model_len": WHOLE}
    ),
    "ModelList": obj({"object": {"const": "list"}, "data": {"type": "array", "items": ref("Model")}}),
    "Health": obj({"status": {"enum": ["ok", "draining"]}, "models": WHOLE, "ready_replicas": WHOLE}),
    "Error": obj({"error": _ERROR}),
    "StreamError": obj({"error": _ERROR, "choices": {"type": "array", "maxItems": 0}}),
}
