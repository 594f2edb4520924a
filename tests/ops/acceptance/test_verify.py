"""A certificate holds as it was signed, and whatever is changed in it is refused by its file's name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.acceptance import folder
from ops.acceptance.certificate import canonical, page
from ops.acceptance.errors import CertificateRefused
from ops.acceptance.folder import HTML, JSON, REQUESTS, SIGNATURE
from ops.acceptance.requests import encode
from ops.acceptance.signing import signature
from ops.acceptance.verify import verify
from tests.ops.acceptance.made import files, requests

KEY = Ed25519PrivateKey.generate()


def published(root: Path, made: dict[str, bytes], key: Ed25519PrivateKey = KEY) -> Path:
    return folder.publish(folder.prepare(root, "run", {**made, SIGNATURE: signature(key, made)}))


def faults(path: Path, key: Ed25519PrivateKey = KEY) -> list[str]:
    with pytest.raises(CertificateRefused) as refused:
        verify(path, key.public_key())
    return list(refused.value.faults)


def test_a_certificate_holds_by_its_folder_and_by_each_of_its_files(tmp_path: Path) -> None:
    made = published(tmp_path, files())
    for path in (made, *(made / name for name in (JSON, HTML, REQUESTS, SIGNATURE))):
        assert verify(path, KEY.public_key()).facts["verdict"] == "met"


@pytest.mark.parametrize("name", [JSON, HTML, REQUESTS])
def test_a_changed_file_is_named(tmp_path: Path, name: str) -> None:
    made = published(tmp_path, files())
    content = (made / name).read_bytes()
    (made / name).write_bytes(content.replace(b"10", b"11", 1))
    (fault,) = faults(made)
    assert fault.startswith(f"{name}: was changed")
    (made / name).unlink()
    (fault,) = faults(made)
    assert fault.startswith(f"{name}: can't be read")


@pytest.mark.parametrize("change", [(b'"bytes":', b'"bytes":1'), (b'"sha256":"', b'"sha256":"0'), (b"{", b"[")])
def test_a_changed_signature_is_named(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    made = published(tmp_path, files())
    (made / SIGNATURE).write_bytes((made / SIGNATURE).read_bytes().replace(*change, 1))
    assert faults(made)[0].startswith(f"{SIGNATURE}: was changed")


def test_an_unknown_signer_is_refused_with_the_way_to_name_one(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    (fault,) = faults(published(tmp_path, files(), other))
    assert "--key PUBLIC.pem" in fault


def test_a_stranger_who_puts_our_keys_id_over_a_forgery_is_refused(tmp_path: Path) -> None:
    forged = json.loads(signature(Ed25519PrivateKey.generate(), files()))
    forged["key"] = json.loads(signature(KEY, files()))["key"]
    made = published(tmp_path, files())
    (made / SIGNATURE).write_bytes(canonical(forged))
    assert faults(made) == [f"{SIGNATURE}: was changed: the signature does not hold"]


def test_a_signer_whose_verdict_does_not_follow_is_refused(tmp_path: Path) -> None:
    made = files()
    facts = json.loads(made[JSON]) | {"verdict": "not_met"}
    (fault,) = faults(published(tmp_path, {**made, JSON: canonical(facts), HTML: page(facts)}))
    assert fault == f"{JSON}: says not_met, its own figures say met (nothing speaks against it)"


def test_a_signer_whose_figures_do_not_follow_is_refused(tmp_path: Path) -> None:
    made = files()
    facts = json.loads(made[JSON])
    facts["measured"]["output_tps"] = 99.0
    (fault,) = faults(published(tmp_path, {**made, JSON: canonical(facts), HTML: page(facts)}))
    assert fault == f"{JSON}: output_tps do not follow from {REQUESTS}"


def test_a_page_with_another_figure_is_refused_even_when_it_is_signed(tmp_path: Path) -> None:
    made = files()
    shown = made[HTML].replace(b'data-fact="measured.output_tps">10.0<', b'data-fact="measured.output_tps">90.0<')
    assert shown != made[HTML]
    (fault,) = faults(published(tmp_path, {**made, HTML: shown}))
    assert fault == f"{HTML}: does not show the {JSON}'s measured.output_tps"


def test_requests_of_another_run_are_refused(tmp_path: Path) -> None:
    (fault,) = faults(published(tmp_path, {**files(), REQUESTS: encode(requests()[:5])}))
    assert fault == f"{REQUESTS}: is not the one that {JSON} was made from"


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"format":2}', b'{"format":1}', b"\xff"])
def test_a_signed_file_that_is_no_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    assert faults(published(tmp_path, {**files(), JSON: content}))[0].startswith(f"{JSON}: ")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "is no certificate" in faults(tmp_path)[0]


def test_the_page_escapes_what_devices_call_themselves_and_needs_nothing_from_outside() -> None:
    text = files(name="<script>alert(1)</script>")[HTML].decode()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "://" not in text


def test_a_cpu_box_says_that_it_is_no_server() -> None:
    assert "This box has no accelerator" in files()[HTML].decode()
    assert "This box has no accelerator" not in files(kind="nvidia")[HTML].decode()


def test_the_same_facts_are_the_same_bytes() -> None:
    assert files() == files()
    facts = json.loads(files()[JSON])
    assert canonical(facts) == files()[JSON]
    assert hashlib.sha256(files()[REQUESTS]).hexdigest() == facts["requests_sha256"]
