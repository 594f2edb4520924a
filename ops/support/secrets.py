"""What must be in no support bundle: this appliance's own secret values, and whatever looks like a key or a password."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from finetune.data.desensitize.placeholders import PREFIX

SHORTEST = 6  # a shorter value is in every text by chance
SHAPES: Mapping[str, re.Pattern[str]] = {
    "an API key": re.compile(r"sk-cr-[A-Za-z0-9_-]{16,}"),
    "a private key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    "a session": re.compile(r"(?:coderack_session|csrftoken|sessionid)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9]{16,}"),
    "the first password": re.compile(r"Operator\s+\S+\s+password\s+(?!\(set)\S+"),  # as `up` prints it
    "a bearer token": re.compile(r"(?i)bearer\s+[A-Za-z0-9._~+/-]{16,}"),
}
# The password in an address, without the address, which says which server it was.
PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)([^\s/@:\"']*):([^\s/@\"']+)@")
MASKED = "[masked]"
REPLACED = (MASKED, PREFIX)


def of_files(data_dir: Path) -> Iterator[tuple[str, str]]:
    """The secrets that lie in a data directory, each with what it is."""
    for name in ("secret_key", "planted_secret", "conversation_key"):
        yield from ((name, value) for value in _lines(data_dir / name))
    for name in ("first-login.json", "ready.json"):
        try:
            yield from ((name, value) for value in _passwords(json.loads((data_dir / name).read_text())))
        except (OSError, ValueError):
            continue
    for path in sorted((data_dir / "attached").glob("*.key")):
        yield from ((f"attached/{path.name}", line) for line in _lines(path))
    for path in sorted((data_dir / "acceptance").rglob("*.pem")):
        if path.name != "public.pem":
            yield from ((f"acceptance/{path.name}", line) for line in _lines(path) if not line.startswith("-----"))


def of_settings(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Secret settings: the whole value, and in an address the password alone."""
    for name, value in values.items():
        yield name, value
        address = urlsplit(value) if "://" in value else urlsplit("")
        for password in (address.password, *parse_qs(address.query).get("password", [])):
            if password:
                yield from ((name, form) for form in {password, unquote(password)})


def forms(value: str) -> set[str]:
    """How a value may be written in a log, in JSON or in an address."""
    return {value, quote(value, safe=""), json.dumps(value)[1:-1]}


def found(text: str, known: Mapping[str, str]) -> list[str]:
    """What of the secrets is in a text, by name; `known` is from value to name."""
    names = {name for value, name in known.items() if value in text}
    names |= {name for name, shape in SHAPES.items() if shape.search(text)}
    if any(not match[2].startswith(REPLACED) for match in PASSWORD_IN_ADDRESS.finditer(text)):
        names.add("a password in an address")
    return sorted(names)


def by_value(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    """From every form of each value that is long enough to be looked for, to its name; the longest first."""
    all_forms = {form: name for name, value in pairs for form in forms(value) if len(value) >= SHORTEST}
    return dict(sorted(all_forms.items(), key=lambda pair: -len(pair[0])))


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def _passwords(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in {"password", "api_key"} and isinstance(inner, str):
                yield inner
            else:
                yield from _passwords(inner)
