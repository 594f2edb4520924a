"""What is taken out of logs and rows before they go into a support bundle, and what stays readable."""

from __future__ import annotations

from ops.support.masking import Masker
from ops.support.secrets import found
from tests.ops.support.test_secrets import KEY


def masker() -> Masker:
    return Masker({"planted-value-1": "planted_secret"}, {"salaries.jsonl": "file-1", "salaries": "[suffix]"})


def test_secrets_people_and_tenants_names_go_and_the_rest_stays() -> None:
    text = (
        "12:00:01 INFO gateway worker 17 has started\n"
        f"12:00:02 ERROR key {KEY} and planted-value-1\n"
        "12:00:03 ERROR postgresql://rack:hunter22@db.internal/coderack refused\n"
        "12:00:04 WARNING cleaning salaries.jsonl for jo@" + "northwind.com failed\n"
        "12:00:05 INFO life 3: adapter ft:smollm2:acme:salaries:1a2b is loaded\n"
        "12:00:06 INFO Received request cmpl-1: prompt: 'the board meets on'\n"
    )
    clean = masker().text(text)
    first, *_, fifth, last = clean.splitlines()
    assert first == "12:00:01 INFO gateway worker 17 has started"
    assert fifth == "12:00:05 INFO life 3: adapter [adapter] is loaded"
    assert last == "[left out: a prompt]"
    for word in (KEY, "planted-value", "hunter22", "salaries", "northwind", "board", "acme"):
        assert word not in clean
    assert "db.internal/coderack refused" in clean
    assert not found(clean, {"planted-value-1": "planted_secret"})


def test_values_keep_their_shape_and_their_digests() -> None:
    digest = "0123456789abcdef" * 4
    value = masker().value(
        {"digest": digest, "n": 3, "reason": f"it said {KEY}", "list": [None, True, "planted-value-1"]}
    )
    assert (value["digest"], value["n"], value["list"]) == (digest, 3, [None, True, "[masked]"])
    assert KEY not in value["reason"]


def test_names_go_as_addresses_write_them_too() -> None:
    clean = Masker({}, {"工资 2026.jsonl": "file-1"}).text(
        "GET /files?name=%E5%B7%A5%E8%B5%84%202026.jsonl\nread 工资 2026.jsonl\n"
    )
    assert clean == "GET /files?name=file-1\nread file-1\n"


def test_lines_stay_lines() -> None:
    assert masker().text("one\ntwo\n\nfour") == "one\ntwo\n\nfour\n"
    assert masker().text("") == ""
