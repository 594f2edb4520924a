"""Asks Betterleaks for secrets in many texts at once. Values only, no places: where they stand is looked up afterwards.

It never validates a finding: that would send the secret to its issuer.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pybetterleaks import Finding, scan_text

# Comments that tell the scanner to look away: what is allowed in a repository isn't allowed in a model.
ALLOW = re.compile(r"(gitleaks|betterleaks)(:)(?=allow)", re.IGNORECASE)
ENCODED = re.compile(r"[A-Za-z0-9+/=_%-]{12,}")
# Between two texts, so that no rule reads across.
SEPARATOR = "\n\n.\n\n"
# vendor_keys does these more carefully: this rule takes code between two marks for a key.
IGNORED_RULES = frozenset(("private-key",))


class ScanFailed(RuntimeError):
    """Betterleaks reported an error, so the texts count as unscanned and must not be used."""


@dataclass(frozen=True)
class Found:
    """A secret in the text number `index`. `value` is None when the text holds it in an encoding that can't be undone."""

    index: int
    rule: str
    value: str | None


def scan(texts: Sequence[str]) -> Iterator[Found]:
    """Secrets by text.

    Raises: ScanFailed; a text that couldn't be scanned is never taken for clean.
    """
    joined = SEPARATOR.join(ALLOW.sub(r"\1_", text) for text in texts)
    result = scan_text(joined, redact=False, validation=False)
    if result.errors:
        raise ScanFailed(f"Betterleaks failed: {result.errors[0].code}")
    starts = _first_lines(texts)
    for finding in result.findings:
        if finding.secret and finding.rule_id not in IGNORED_RULES:
            index = bisect_right(starts, finding.line or 0) - 1
            yield from _located(texts, index, finding)


def _first_lines(texts: Sequence[str]) -> list[int]:
    starts, line = [], 0
    for text in texts:
        starts.append(line)
        line += text.count("\n") + SEPARATOR.count("\n")
    return starts


def _located(texts: Sequence[str], index: int, finding: Finding) -> Iterator[Found]:
    secret = finding.secret or ""
    if any(tag.startswith("decoded") for tag in finding.tags):
        tokens = [token for token in ENCODED.findall(texts[index]) if secret in _decoded(token)]
        yield from (Found(index, finding.rule_id, token) for token in tokens)
        if not tokens and secret not in texts[index]:
            yield Found(index, finding.rule_id, None)
    if secret in texts[index]:
        yield Found(index, finding.rule_id, secret)


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
