"""The API guide has an example of each of its routes, with the right method."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
# In the sections' own tables "`METHOD /path`", in the first one a path and its method in two columns.
WHOLE = re.compile(r"^\| `(GET|POST|DELETE) (/[^`]+)` \|", re.MULTILINE)
IN_COLUMNS = re.compile(r"^\| `(/[^`]+)` \| [^|]+ \| (GET|POST) \|", re.MULTILINE)
# For the scraper on the machine itself, described in Monitoring.
LEFT_OUT = {("GET", "/metrics"), ("GET", "/metrics/{process}")}


def routes() -> set[tuple[str, str]]:
    return {*WHOLE.findall(GUIDE), *((method, path) for path, method in IN_COLUMNS.findall(GUIDE))} - LEFT_OUT


def examples() -> Iterator[tuple[str, str]]:
    """Method and path of each curl command."""
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
        for command in re.split(r"^curl ", block, flags=re.MULTILINE)[1:]:
            address = re.search(r'"\$(URL|HOST)(/[^"?]*)', command)
            assert address, command
            given = re.search(r"-X (\w+)", command)
            method = given[1] if given else "POST" if re.search(r" -[dF] ", command) else "GET"
            yield method, ("/v1" if address[1] == "URL" else "") + address[2]


def test_it_lists_routes_of_every_kind() -> None:
    found = {path.split("/")[2] for _, path in routes() if path.startswith("/v1/")}
    assert {"chat", "completions", "models", "embeddings", "files", "batches", "fine_tuning", "organization"} <= found


@pytest.mark.parametrize(("method", "path"), sorted(routes()))
def test_a_route_has_an_example(method: str, path: str) -> None:
    pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
    assert any(one == method and pattern.fullmatch(address) for one, address in examples()), f"{method} {path}"
