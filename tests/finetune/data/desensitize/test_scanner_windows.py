"""What the scanner has to read: little of ordinary code, and every line with a key."""

from __future__ import annotations

import pytest

from finetune.data.desensitize import scanner, scanner_windows, scanner_words
from finetune.data.desensitize.scanner_windows import worth_scanning
from finetune.data.measure.pages import pages
from tests.finetune.data.archives import code

KEY = "ghp_1234567890abcdefghijABCDEFGHIJ123456"


def test_the_words_are_those_of_the_installed_library() -> None:
    words = scanner_words.words_of_rules()
    assert words is not None
    pattern = words.pattern
    for word in ("ghp_", "akia", "secret", "token", "ltai", "xoxb"):
        assert pattern.search(f"a {word} b"), word
    assert not pattern.search("def add(one, two): return one + two")


@pytest.mark.parametrize(
    "configuration",
    ["", "[[rules]]\nid = 'few'\n", '[[rules]]\nid = "a"\nkeywords = ["a"]\n' * 120 + '[[rules]]\nid = "without"\n'],
)
def test_without_knowing_every_rules_words_the_scanner_reads_everything(
    configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scanner_words.words(configuration) == frozenset()
    monkeypatch.setattr(scanner_words, "words_of_rules", lambda: None)
    assert list(worth_scanning("plain words")) == ["plain words"]


def test_ordinary_code_is_not_read_and_a_key_with_its_neighbours_is() -> None:
    plain = code("one") * 20
    assert sum(map(len, worth_scanning(plain))) == 0
    text = f"{plain}first = 1\nkey = (\n    '{KEY}'\n)\n{plain}"
    (part,) = worth_scanning(text)
    assert "first = 1\nkey = (\n" in part
    assert KEY in part
    assert len(part) < 400


@pytest.mark.parametrize(
    "text",
    [
        "curl -X POST \\\n  -u admin:lettersonly \\\n  example",
        "kind: Secret\nmetadata:\n  name: x\n  labels:\n    a: b\n    c: d\ndata:\n  one: bGV0dGVycw==\n",
        "İ " + KEY,
    ],
)
def test_what_tells_of_a_key_from_afar_is_read_with_many_lines(text: str) -> None:
    assert text in "\n".join(worth_scanning(f"{text}\n"))


def test_reading_only_the_windows_finds_what_reading_everything_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [page.text for page in pages(7, 48)]
    some = {(found.index, found.value) for found in scanner.scan(texts)}
    monkeypatch.setattr(scanner, "worth_scanning", lambda text: [text])
    everything = {(found.index, found.value) for found in scanner.scan(texts)}
    assert len(everything) > 40
    assert everything == some


@pytest.mark.parametrize("form", ["%%%02x", "\\u%04x", "\\\\u%04x", "U+%04X "])
def test_a_key_in_another_spelling_is_found_as_by_reading_everything(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["key = '" + "".join(form % ord(letter) for letter in KEY) + "'\n"]
    some = list(scanner.scan(texts))
    monkeypatch.setattr(scanner, "worth_scanning", lambda text: [text])
    assert some == list(scanner.scan(texts)) != []


def test_windows_that_touch_are_one_and_keep_their_order() -> None:
    text = "\n".join(f"value_{number} = 'a1b2c3d4e5f6{number}' # token" for number in range(9))
    assert list(worth_scanning(text)) == [text]
    assert scanner_windows.NEAR_LINES == 2
