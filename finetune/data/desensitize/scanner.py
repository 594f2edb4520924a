"""Asks Betterleaks for secrets in many texts at once. Values only, no places: where they stand is looked up afterwards.

It never validates a finding: that would send the secret to its issuer.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import unquote

from pybetterleaks import Finding, scan_text

from finetune.data.desensitize import scanner_groups
from finetune.data.desensitize.scanner_windows import worth_scanning

# Comments that tell the scanner to look away: what is allowed in a repository isn't allowed in a model.
ALLOW = re.compile(r"(gitleaks|betterleaks)(:)(?=allow)", re.IGNORECASE)
ALLOWED = "leaks:allow"
ENCODED = re.compile(r"[A-Za-z0-9+/=_%-]{12,}")
# A text with more different secrets than this is no text to learn from; looking for all of them would take too long.
MAX_SEARCHES = 2000
# Between two texts, so that no rule reads across.
SEPARATOR = "\n\n.\n\n"
# vendor_keys does these more carefully: this rule takes code between two marks for a key.
IGNORED_RULES = frozenset(("private-key",))


class ScanFailed(RuntimeError):
    """Betterleaks reported an error, so the texts count as unscanned and must not be used."""


@dataclass(frozen=True)
class Found:
    """A secret in the text number `index`. `value` is None when it can't be located there."""

    index: int
    rule: str
    value: str | None


def scan(texts: Sequence[str]) -> Iterator[Found]:
    """Secrets by text.

    Raises: ScanFailed; a text that couldn't be scanned is never taken for clean.
    """
    parts = [list(worth_scanning(_not_allowed(text))) for text in texts]
    locator = _Locator(texts)
    for group in scanner_groups.of({index: some for index, some in enumerate(parts) if some}):
        yield from _scan_together([(index, part) for index in group for part in parts[index]], locator)


def _not_allowed(text: str) -> str:
    return ALLOW.sub(r"\1_", text) if ALLOWED in text.lower() else text


def _scan_together(parts: list[tuple[int, str]], locator: _Locator) -> Iterator[Found]:
    result = scan_text(SEPARATOR.join(part for _, part in parts), redact=False, validation=False)
    if result.errors:
        raise ScanFailed(f"Betterleaks failed: {result.errors[0].code}")
    starts = _first_lines([part for _, part in parts])
    for finding in result.findings:
        if finding.secret and finding.rule_id not in IGNORED_RULES:
            index = max(0, bisect_right(starts, finding.line or 0) - 1)
            yield from locator.locate(parts[index][0], finding)


def _first_lines(texts: Sequence[str]) -> list[int]:
    starts, line = [], 0
    for text in texts:
        starts.append(line)
        line += text.count("\n") + SEPARATOR.count("\n")
    return starts


class _Words:
    """The encoded words of one text with their readings, decoded once however many secrets are looked for."""

    def __init__(self, text: str) -> None:
        self._tokens = sorted(set(ENCODED.findall(text)))
        readings = [_decoded(token) for token in self._tokens]
        self._starts = [0, *accumulate(len(reading) + 1 for reading in readings)]
        self._all = "\x00".join(readings)

    def holding(self, secret: str) -> Iterator[str]:
        place = self._all.find(secret)
        while place >= 0:
            number = bisect_right(self._starts, place) - 1
            yield self._tokens[number]
            place = self._all.find(secret, self._starts[number + 1])


class _Locator:
    """Looks up where the findings of one batch stand. Several may name the same secret: it is looked for once."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._words: dict[int, _Words] = {}
        self._done: set[tuple[int, str]] = set()
        self._searches: Counter[int] = Counter()

    def locate(self, index: int, finding: Finding) -> Iterator[Found]:
        """Every finding yields something: a secret that can't be located has the value None."""
        secret = finding.secret or ""
        if (index, secret) in self._done:
            return
        self._done.add((index, secret))
        values: list[str | None] = list(
            self._values(index, secret, any(tag.startswith("decoded") for tag in finding.tags))
        )
        yield from (Found(index, finding.rule_id, value) for value in values or [None])

    def _values(self, index: int, secret: str, encoded: bool) -> Iterator[str]:
        self._searches[index] += 1
        if self._searches[index] > MAX_SEARCHES:
            return
        if secret in self._texts[index]:
            yield secret
        if encoded:
            if index not in self._words:
                self._words[index] = _Words(self._texts[index])
            yield from self._words[index].holding(secret)


def _decoded(token: str) -> str:
    """All readings of an encoded word, one layer deep."""
    readings = [unquote(token)]
    padded = token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4)
    for decode in (base64.b64decode, base64.urlsafe_b64decode, bytes.fromhex):
        try:
            readings.append(decode(padded if decode is not bytes.fromhex else token).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            continue
    return "\n".join(readings)
