"""What counts as a secret in a support bundle, in the forms in which logs and JSON have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.support.secrets import by_value, forms, found, of_files, of_settings

KEY = "sk-cr-" + "a1B2c3D4" * 5  # put together here: scanners of this repository should find nothing


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: {KEY}",
        "-----BEGIN " + "PRIVATE KEY-----\nabc\n-----END " + "PRIVATE KEY-----",
        "Cookie: coderack_session=" + "x1" * 16,
        "postgresql://rack:" + "hunter22@db/coderack",
        "  Operator  operator   password  " + "Zw3kP0qLm4",
        "BEARER " + "abcdefghijklmnop1234",
    ],
)
def test_what_looks_like_a_secret_is_found(text: str) -> None:
    assert found(f"before {text} after", {})


@pytest.mark.parametrize(
    "text",
    [
        "sk-cr-a1B2c",
        "postgresql://coderack@/coderack?host=/run",
        "http://127.0.0.1:8080/v1",
        "Operator op password  (set by you)",
    ],
)
def test_what_only_resembles_one_is_not(text: str) -> None:
    assert not found(text, {})


def test_known_values_are_found_in_every_form() -> None:
    value = 'p@ss/"wörd"'
    known = by_value(iter([("DATABASE_URL", value)]))
    assert {value, "p%40ss%2F%22w%C3%B6rd%22", json.dumps(value)[1:-1]} == forms(value) == set(known)
    for form in known:
        assert found(f"x{form}y", known) == ["DATABASE_URL"]


def test_the_longest_value_comes_first_and_short_ones_are_not_looked_for() -> None:
    known = by_value(iter([("short", "abc"), ("one", "abcdef"), ("more", "abcdefghi")]))
    assert list(known) == ["abcdefghi", "abcdef"]


def test_the_files_of_an_appliance_give_their_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("the-secret\n")
    (tmp_path / "first-login.json").write_text(
        json.dumps({"operator": "o", "password": "first-pass", "api_key": "key-1"})
    )
    (tmp_path / "ready.json").write_text(json.dumps({"operator": {"name": "operator", "password": "second-pass"}}))
    (tmp_path / "acceptance").mkdir()
    (tmp_path / "acceptance" / "key.pem").write_text("-----BEGIN X-----\nMC4CAQ\n-----END X-----\n")
    values = {value for _, value in of_files(tmp_path)}
    assert values == {"the-secret", "first-pass", "key-1", "second-pass", "MC4CAQ"}


def test_a_damaged_or_absent_file_gives_none(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text("{")
    assert not list(of_files(tmp_path))


def test_an_address_gives_its_password_as_well() -> None:
    values = {value for _, value in of_settings({"DATABASE_URL": "postgresql://rack:a%2Fb%2Fc%2Fd@db/x"})}
    assert values == {"postgresql://rack:a%2Fb%2Fc%2Fd@db/x", "a%2Fb%2Fc%2Fd", "a/b/c/d"}
    address = "postgresql://db/x?user=rack&password=in-the-query"
    assert {value for _, value in of_settings({"DATABASE_URL": address})} == {address, "in-the-query"}
