"""Both languages: nothing untranslated, the compiled catalogue in step with the written one, the switch."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest
from babel.messages import pofile

import appliance
from tests.appliance.console.cast import Cast

ROOT = Path(appliance.__file__).parent
CATALOGUE = ROOT / "locale" / "zh_Hans" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def _messages() -> list[tuple[str, str, str]]:
    """Key in the compiled catalogue, English, Chinese."""
    with (CATALOGUE / "django.po").open("rb") as file:
        catalogue = pofile.read_po(file)
    rows = []
    for message in catalogue:
        if not message.id:
            continue
        english = message.id if isinstance(message.id, str) else message.id[0]
        chinese = message.string if isinstance(message.string, str) else message.string[0]
        assert "fuzzy" not in message.flags, english
        rows.append((f"{message.context}\x04{english}" if message.context else english, english, chinese))
    return rows


def test_it_translates_everything() -> None:
    assert [english for _, english, chinese in _messages() if not chinese] == []


def test_it_keeps_every_placeholder() -> None:
    for _, english, chinese in _messages():
        assert sorted(PLACEHOLDER.findall(english)) == sorted(PLACEHOLDER.findall(chinese)), english


def test_it_has_compiled_what_is_written() -> None:
    with (CATALOGUE / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    table: dict[object, str] = compiled._catalog  # type: ignore[attr-defined]
    entries = {key[0] if isinstance(key, tuple) else key: value for key, value in table.items() if key}
    assert entries == {key: chinese for key, _, chinese in _messages()}


def test_it_knows_every_text_of_the_templates() -> None:
    known = {english for _, english, _ in _messages()}
    pattern = re.compile(r"""\{% translate (?:"([^"]*)"|'([^']*)')""")
    used = {
        double or single
        for path in (ROOT / "console" / "templates").rglob("*.html")
        for double, single in pattern.findall(path.read_text())
    }
    assert used - known == set()


@pytest.mark.parametrize(
    "address",
    ["/", "/serving/", "/models/", "/fine-tuning/", "/data/", "/approvals/", "/tenants/", "/tenants/acme/",
     "/tenants/acme/keys/", "/usage/", "/audit/", "/playground/", "/guide/", "/upgrades/", "/acceptance/", "/batches/",
     "/erasures/"],
)  # fmt: skip
def test_it_speaks_chinese_on_every_page(cast: Cast, address: str) -> None:
    client = cast.client("operator")
    client.post("/language/", {"language": "zh-hans", "next": address})
    page = client.get(address).content.decode()
    assert "退出登录" in page
    assert "Log out" not in page


def test_it_switches_back_and_leads_nowhere_else(cast: Cast) -> None:
    client = cast.client("owner")
    response = client.post("/language/", {"language": "en", "next": "https://evil.example/"})
    assert "evil" not in response["Location"]
    assert client.get("/language/").status_code == 405
