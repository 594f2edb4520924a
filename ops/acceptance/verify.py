"""Checks a certificate: who signed it, every file, that the page shows the figures, and that figures and verdict follow.

An erasure's has no measurement: its figures follow from its own lists.

Everything is read anew from the files and worked out again; nothing that a certificate says about itself is believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ops.acceptance import certificate, requests
from ops.acceptance.errors import CertificateRefused
from ops.acceptance.evidence import Evidence
from ops.acceptance.folder import HTML, JSON, REQUESTS, SIGNATURE, SIGNED
from ops.acceptance.judge import judge
from ops.acceptance.measure import Measured, measure
from ops.acceptance.signing import KEY_HINT, is_signed, key_id
from ops.acceptance.workload import Target, Workload
from ops.erasure import certificate as erasure

MAX_FILE_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True)
class Verified:
    """A certificate that held."""

    folder: Path
    key: str
    facts: Mapping[str, Any]


def verify(path: Path, key: Ed25519PublicKey) -> Verified:
    """Check a certificate's folder, given by itself or by one of its files.

    Raises: CertificateRefused with every fault that was found.
    """
    folder = path if path.is_dir() else path.parent
    envelope = _envelope(folder, path)
    if envelope.get("key") != key_id(key):
        raise CertificateRefused([
            f"{SIGNATURE}: signed by an unknown key, {str(envelope.get('key'))[:16]}…; trusted here is {key_id(key)[:16]}…: "
            f"pass the signer's public key with --key PUBLIC.pem ({KEY_HINT})"
        ])  # fmt: skip
    if not is_signed(key, envelope):
        raise CertificateRefused([f"{SIGNATURE}: was changed: the signature does not hold"])
    files, faults = _signed_files(folder, envelope)
    if faults:
        raise CertificateRefused(faults)
    facts, faults = _contents(files)
    if faults:
        raise CertificateRefused(faults)
    return Verified(folder, key_id(key), facts)


def _envelope(folder: Path, path: Path) -> dict[str, Any]:
    try:
        content = (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise CertificateRefused(
            [f"{path} is no certificate: {folder / SIGNATURE} can't be read ({error.strerror})"]
        ) from None
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise CertificateRefused([f"{SIGNATURE}: was changed: it is no JSON object"]) from None


def _signed_files(folder: Path, envelope: Mapping[str, Any]) -> tuple[dict[str, bytes], list[str]]:
    """The signed files, and what is wrong with any."""
    files: dict[str, bytes] = {}
    faults = []
    for name in SIGNED if REQUESTS in envelope["files"] else (JSON, HTML):
        try:
            if (folder / name).stat().st_size > MAX_FILE_BYTES:
                raise CertificateRefused([f"{name}: was changed: it has more than {MAX_FILE_BYTES} bytes"])
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            faults.append(f"{name}: can't be read: {error.strerror}")
            continue
        found, signed = hashlib.sha256(files[name]).hexdigest(), (envelope["files"].get(name) or {}).get("sha256")
        if found != signed:
            faults.append(f"{name}: was changed: its SHA-256 is {found[:16]}…, {str(signed)[:16]}… was signed")
    return files, faults


def _contents(files: Mapping[str, bytes]) -> tuple[dict[str, Any], list[str]]:
    try:
        facts = msgspec.json.decode(files[JSON], type=dict[str, Any])
        if facts.get("kind") == erasure.KIND and facts.get("format") == erasure.FORMAT:
            return facts, [*_erasure_faults(facts), *_page_faults(erasure.page_facts(facts), files[HTML])]
        if facts.get("format") != certificate.FORMAT:
            raise CertificateRefused([f"{JSON}: format {facts.get('format')!r} is not known to this version"])
        return facts, [
            *_figure_faults(facts, files[REQUESTS]),
            *_page_faults(certificate.page_facts(facts), files[HTML]),
        ]
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise CertificateRefused([f"{JSON}: lacks what a certificate has: {type(error).__name__}: {error}"]) from None


def _figure_faults(facts: Mapping[str, Any], lines: bytes) -> Iterator[str]:
    """Measure and judge again."""
    if hashlib.sha256(lines).hexdigest() != facts["requests_sha256"]:
        yield f"{REQUESTS}: is not the one that {JSON} was made from"
        return
    said = msgspec.convert(facts["measured"], Measured)
    window = (facts["window_begin_s"], facts["window_end_s"])
    again = measure(requests.decode(lines), window, said.generator_cpu)
    odd = [name for name, value in asdict(again).items() if value != asdict(said)[name]]
    if odd:
        yield f"{JSON}: {', '.join(odd)} do not follow from {REQUESTS}"
    verdict = judge(
        msgspec.convert(facts["workload"], Workload),
        msgspec.convert(facts["target"], Target),
        again,
        msgspec.convert(facts["evidence"], Evidence),
    )
    if (verdict.verdict, list(verdict.reasons)) != (facts["verdict"], facts["reasons"]):
        why = "; ".join(verdict.reasons) or "nothing speaks against it"
        yield f"{JSON}: says {facts['verdict']}, its own figures say {verdict.verdict} ({why})"


def _erasure_faults(facts: Mapping[str, Any]) -> Iterator[str]:
    for fault in erasure.faults(facts):
        yield f"{JSON}: {fault}"


def _page_faults(wanted: Mapping[str, str], page: bytes) -> Iterator[str]:
    """The page has to show what the payload says."""
    parser = _Page()
    parser.feed(page.decode(errors="replace"))
    if odd := sorted(name for name, text in wanted.items() if parser.facts.get(name) != {text}):
        yield f"{HTML}: does not show the {JSON}'s {', '.join(odd)}"


class _Page(HTMLParser):
    """The texts of the elements that name a fact."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, set[str]] = {}
        self._name: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A fact is a span without others inside it."""
        if tag == "span":
            self._name, self._text = dict(attrs).get("data-fact"), ""

    def handle_data(self, data: str) -> None:
        """Its text."""
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        if tag == "span" and self._name is not None:
            self.facts.setdefault(self._name, set()).add(self._text)
            self._name = None
