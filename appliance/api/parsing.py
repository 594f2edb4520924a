"""Request bodies as JSON that the database can hold, and what is said of those that are not."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.errors import ValidationError
from ninja.parser import Parser

from appliance.training.errors import Refused

UNREADABLE = Refused("The body is not JSON that can be read: UTF-8, no NUL characters, no NaN, moderate nesting.")


class StrictParser(Parser):
    """JSON without what PostgreSQL can't store: NUL, halves of surrogate pairs, NaN."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Ninja: the body's value; what is raised here ends as its 400, see UNREADABLE."""
        body = json.loads(request.body, parse_constant=_refuse_constant)
        if not storable(body):
            raise ValueError("a text can't be stored")
        return body

    def parse_querydict(self, data: MultiValueDict, list_fields: list[str], request: HttpRequest) -> dict[str, Any]:  # type: ignore[type-arg]
        """Ninja: a query's values. Lists may also be written `name[]=…`, as OpenAI's clients do."""
        lists = {name: data.getlist(name) + data.getlist(f"{name}[]") for name in list_fields}
        single = {name: data[name] for name in data if name not in lists}
        return single | {name: values for name, values in lists.items() if values}


def storable(value: object) -> bool:
    """Whether all texts in a JSON value can be stored."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return all(storable(key) and storable(inner) for key, inner in value.items())
    return all(storable(inner) for inner in value) if isinstance(value, list) else True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def first_fault(error: ValidationError) -> Refused:
    """The refusal of a request whose fields are wrong: the first one by its path, as OpenAI's `param`."""
    fault = error.errors[0]
    source, *path = fault["loc"]
    if source == "body":
        path = path[1:]  # the name of our own function's argument
    elif source == "query":
        path = [part for part in path if isinstance(part, str)][-1:]  # queries are flat
    param = ".".join(str(part) for part in path) or None
    said = str(fault["msg"]).removeprefix("Value error, ")
    return Refused(f"{param}: {said}" if param else f"The body is missing or not an object: {said}", param)
