"""The data plane's description against the running gateway: schemathesis sends what it allows, and what it doesn't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from inference.gateway import fields, openapi
from inference.gateway.paths import METHODS, Kind, addresses
from tests.inference.gateway.parts import KEY, Rig

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
EXAMPLES = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, unsupported_method,
]  # fmt: skip

ROOMY = ("/v1/chat/completions", "/v1/completions")


def described() -> dict[str, Any]:
    """The document for a rig with two models: most made-up requests should name one of them. Aliases are left out."""
    own: dict[str, Any] = json.loads(json.dumps(openapi.document()))
    own["paths"] = {path: item for path, item in own["paths"].items() if "$ref" not in item}
    for name in openapi.REQUESTS.values():
        own["components"]["schemas"][name]["properties"]["model"] = {"enum": ["deepseek-fake", "deepseek-fim"]}
    return own


def loaded(mode: GenerationMode) -> Any:
    """The document for requests that it allows, or for others."""
    schema = schemathesis.openapi.from_dict(described())
    schema.config.generation.update(modes=[mode])
    return schema


def check(case: Case[Any], rig: Rig) -> Any:
    """One request: a documented answer, in the documented shape, and never a fault of the server's."""
    base, headers = f"http://127.0.0.1:{rig.port}", {"authorization": f"Bearer {KEY}"}
    response = case.call_and_validate(base_url=base, headers=headers, checks=CHECKS)
    assert response.status_code < 500
    return response


@loaded(GenerationMode.POSITIVE).parametrize()  # type: ignore[untyped-decorator]
@EXAMPLES
def test_what_the_description_allows_is_answered_as_described(case: Case[Any], rig: Rig) -> None:
    answer = check(case, rig)
    if case.operation.path in ROOMY and answer.status_code != 200:
        error = answer.json()["error"]
        sent: Any = case.body
        # Rules between fields: the answer's room, and which prompts and models a suffix goes with.
        assert error["code"] == "context_length_exceeded" or error["param"] == "suffix" or sent.get("suffix"), error


@loaded(GenerationMode.NEGATIVE).parametrize()  # type: ignore[untyped-decorator]
@EXAMPLES
def test_what_it_does_not_allow_is_refused_as_described(case: Case[Any], rig: Rig) -> None:
    answer = check(case, rig)
    if case.operation.path in ROOMY and answer.status_code == 200:
        # What was made up to be wrong may be right by chance.
        name = openapi.REQUESTS[Kind.CHAT if case.operation.path.endswith("chat/completions") else Kind.COMPLETIONS]
        schema = {"$ref": f"#/components/schemas/{name}", "components": described()["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(case.body)


def test_the_published_description_is_the_codes() -> None:
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(openapi.document())), (
        "write it again: python -m inference.gateway.openapi > docs/openapi.json"
    )


def test_it_describes_every_address_and_method() -> None:
    document = openapi.document()
    own = {path: kind for path, kind in addresses("model_id") if kind is not Kind.METRICS}
    assert set(document["paths"]) == set(own)
    for path, kind in own.items():
        item = document["paths"][path]
        methods = set(item if "$ref" not in item else document["paths"][item["$ref"][8:].replace("~1", "/")])
        assert METHODS[kind].decode().lower() in methods


def test_it_describes_every_field_of_the_tables() -> None:
    for endpoint, name in (("chat", "ChatRequest"), ("completions", "CompletionRequest")):
        known = fields.FORWARDED[endpoint] | fields.DROPPED | fields.REFUSED
        assert openapi.document()["components"]["schemas"][name]["properties"].keys() == known
