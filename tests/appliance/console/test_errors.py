"""Errors: JSON for the API's paths, pages in both languages for people, an id to quote."""

from __future__ import annotations

import re

import pytest
from django.db import OperationalError
from django.test import Client

from appliance.console.pages import overview
from tests.appliance.console.cast import Cast


@pytest.mark.parametrize("path", ["/v1/nope", "/v1/", "/v1", "/v1/chat/nope?x=1", "/beta/nope", "/user/nope"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_it_answers_unknown_api_paths_as_openai_does(cast: Cast, path: str, method: str) -> None:
    response = getattr(Client(), method)(path)
    assert response.status_code == 404
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


def test_it_answers_unknown_pages_in_the_readers_language(cast: Cast) -> None:
    client = Client()
    assert "There is no such page" in client.get("/nope/").content.decode()
    client.post("/language/", {"language": "zh-hans", "next": "/login/"})
    page = client.get("/nope/").content.decode()
    assert "页面不存在" in page
    assert 'lang="zh-hans"' in page


def test_it_quotes_an_id_that_the_log_has(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(overview, "facts", broken)
    client = cast.client("operator")
    client.raise_request_exception = False
    response = client.get("/")
    page = response.content.decode()
    assert response.status_code == 500
    assert "a secret detail" not in page
    found = re.search(r"<code>(\w+)</code>", page)
    assert found
    assert found.group(1) in caplog.text


def test_it_says_that_inference_goes_on_when_the_database_is_away(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(overview, "facts", away)
    client = cast.client("operator")
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 503
    assert response["Retry-After"]
    assert "Inference goes on" in response.content.decode()
    assert "connection refused" not in response.content.decode()
