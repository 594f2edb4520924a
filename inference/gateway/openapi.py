"""The data plane's description as OpenAPI 3.1: its addresses, what they take and every answer they can give.

Written from the same tables that decide (addresses, methods, fields, refusals), so that it can't say anything else. The
control API joins it to its own and serves both; docs/openapi.json is the output of `python -m inference.gateway.openapi`.
"""

from __future__ import annotations

import json
from typing import Any

from inference.gateway import errors, paths
from inference.gateway.errors import ApiError
from inference.gateway.fim import CUT_HEADER
from inference.gateway.openapi_shapes import SHAPES, TEXT, WHOLE, ref
from inference.gateway.paths import METHODS, Kind
from inference.gateway.sessions import MAX_NAME_BYTES

SECURITY = "KeyAuth"
CUT = CUT_HEADER.decode()
JSON, STREAM = "application/json", "text/event-stream"
MODEL_NAME = "model_id"  # the control API's word for it, which describes DELETE at the same address

# What the front says of a request that it can't read, whoever would have answered it.
OF_THE_FRONT: tuple[ApiError, ...] = (
    errors.malformed("no valid request"),
    errors.timed_out(),
    errors.too_large(0),
    errors.address_too_long(),
    errors.expectation_failed(),
    errors.head_too_large("header"),
    errors.internal(),
    errors.overloaded(),
)
OF_MODELS = (errors.invalid_key(), errors.model_not_allowed(), errors.model_not_found())
OF_ENGINES = (
    *OF_MODELS,
    errors.bad_field("a field", "a wrong field"),
    errors.context_too_long(0, "0", 0, "messages"),
    ApiError(429, "rate_limit_exceeded", "a limit is reached"),
    ApiError(429, "insufficient_quota", "a budget is used up"),
    errors.unpaid(ApiError(429, "insufficient_quota", "a budget is used up")),
    errors.engine_failed(),
    errors.engine_lost(),
)
REFUSALS: dict[Kind, tuple[ApiError, ...]] = {
    Kind.CHAT: OF_ENGINES,
    Kind.COMPLETIONS: (*OF_ENGINES, errors.superseded()),
    Kind.MODELS: (errors.invalid_key(),),
    Kind.MODEL: OF_MODELS,
    Kind.EMBEDDINGS: (errors.invalid_key(), errors.model_not_found()),
    Kind.HEALTH: (),
}
SUMMARIES = {
    Kind.CHAT: "Answer a chat, whole or as a stream",
    Kind.COMPLETIONS: "Complete a text, or fill in its middle",
    Kind.MODELS: "The models that the key's plan includes",
    Kind.MODEL: "One model",
    Kind.EMBEDDINGS: "No embedding model is deployed",
    Kind.HEALTH: "Whether the service runs",
}
REQUESTS = {Kind.CHAT: "ChatRequest", Kind.COMPLETIONS: "CompletionRequest"}
ANSWERS = {
    Kind.CHAT: "ChatAnswer",
    Kind.COMPLETIONS: "Completion",
    Kind.MODELS: "ModelList",
    Kind.MODEL: "Model",
    Kind.HEALTH: "Health",
}
CHUNKS = {Kind.CHAT: "ChatEvent", Kind.COMPLETIONS: "CompletionEvent"}
RATES: dict[str, dict[str, Any]] = {
    f"x-ratelimit-{what}-{of}": {
        "description": f"{meaning} of {of} per minute; absent where nothing limits them.",
        "schema": TEXT if what == "reset" else WHOLE,
    }
    for what, meaning in (("limit", "The limit"), ("remaining", "What is left"), ("reset", "Time until all is left"))
    for of in ("requests", "tokens")
}
HEADERS: dict[str, dict[str, Any]] = {
    **RATES,
    "x-request-id": {
        "description": "The request's id in the ledger.",
        "schema": {**TEXT, "pattern": "^req-[0-9a-f]{32}$"},
        "required": True,
    },
    CUT: {
        "description": "Characters cut off around a hole, as `prefix=12, suffix=0`; absent where none were.",
        "schema": TEXT,
    },
    "x-coderack-logged": {
        "description": "true where the tenant has its conversations kept: this prompt and its answer are.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "www-authenticate": {"description": "How to authenticate.", "schema": TEXT, "required": True},
    "allow": {"description": "The methods of this address.", "schema": TEXT, "required": True},
    "retry-after": {"description": "Seconds to wait, where waiting helps.", "schema": WHOLE},
    "retry-after-ms": {"description": "The same in milliseconds, with 429.", "schema": WHOLE},
    "x-should-retry": {"description": "false where waiting does not help.", "schema": TEXT},
}
SESSION: dict[str, Any] = {
    "in": "header",
    "name": "x-session-id",
    "description": "An editor session: a newer request to fill in the middle ends the older one of the same session.",
    "schema": {**TEXT, "maxLength": MAX_NAME_BYTES},
}
OF_STATUS: dict[int, tuple[str, ...]] = {
    400: ("x-should-retry",),
    401: ("www-authenticate",),
    402: ("x-should-retry",),
    405: ("allow",),
    429: ("retry-after", "retry-after-ms", "x-should-retry"),
    503: ("retry-after",),
}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *names)}


def document() -> dict[str, Any]:
    """The data plane's own document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Coderack tenant API: the data plane", "version": "1"},
        "paths": _paths(),
        "components": {
            "schemas": SHAPES,
            "headers": HEADERS,
            "securitySchemes": {SECURITY: {"type": "http", "scheme": "bearer"}},
        },
    }


def joined(control: dict[str, Any]) -> dict[str, Any]:
    """The data plane's and the control API's description in one. Neither describes what the other does."""
    own = document()
    addresses = {path: {**own["paths"].get(path, {}), **item} for path, item in control["paths"].items()}
    parts = {name: {**own["components"].get(name, {}), **part} for name, part in control["components"].items()}
    return {**control, "paths": {**own["paths"], **addresses}, "components": parts}


def _paths() -> dict[str, Any]:
    """Each kind of address once; its other addresses refer to that."""
    first: dict[Kind, str] = {}
    items: dict[str, Any] = {}
    for path, kind in paths.addresses(MODEL_NAME):
        if kind in first:
            items[path] = {"$ref": "#/paths/" + first[kind].replace("/", "~1")}
        elif kind in SUMMARIES:
            first[kind] = path
            items[path] = _item(kind, path)
    return items


def _item(kind: Kind, path: str) -> dict[str, Any]:
    method = METHODS[kind].decode().lower()
    item = {method: _operation(kind, f"{method}_{path.strip('/').replace('/', '_')}", body=True)}
    if method == "get":
        item["head"] = _operation(kind, f"head_{path.strip('/').replace('/', '_')}", body=False)
    if kind is Kind.MODEL:
        for operation in item.values():
            operation["parameters"] = [{"in": "path", "name": MODEL_NAME, "schema": TEXT, "required": True}]
    return item


def _operation(kind: Kind, name: str, *, body: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": name.replace("{", "").replace("}", ""), "summary": SUMMARIES[kind]}
    if kind in REQUESTS:
        schema = ref(REQUESTS[kind])
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if kind is Kind.COMPLETIONS:
        operation["parameters"] = [SESSION]
    operation["responses"] = _responses(kind, body)
    operation["security"] = [] if kind is Kind.HEALTH else [{SECURITY: []}]
    return operation


def _responses(kind: Kind, body: bool) -> dict[str, Any]:
    rates = (*RATES, "x-coderack-logged") if kind in REQUESTS else ()
    if kind is Kind.COMPLETIONS:
        rates = (*rates, CUT)
    responses: dict[str, Any] = {}
    if kind in ANSWERS:
        content: dict[str, Any] = {JSON: {"schema": ref(ANSWERS[kind])}}
        if kind in REQUESTS:
            content[STREAM] = {"schema": ref(CHUNKS[kind])}
        responses["200"] = {
            "description": "OK",
            "headers": _headers(*rates),
            **({"content": content} if body else {}),
        }
    refusals = (*OF_THE_FRONT, *REFUSALS[kind], errors.wrong_method(""))
    for status in sorted({error.status for error in refusals}):
        codes = sorted({f"`{error.code}`" for error in refusals if error.status == status and error.code})
        limits = rates if status in (400, 402, 429, 502, 503) else ()
        responses[str(status)] = {
            "description": " or ".join(codes) or next(e.message for e in refusals if e.status == status),
            "headers": _headers(*OF_STATUS.get(status, ()), *limits),
            **({"content": {JSON: {"schema": ref("Error")}}} if body else {}),
        }
    return responses


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))  # noqa: T201
