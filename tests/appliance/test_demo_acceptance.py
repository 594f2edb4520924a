"""The checker's claims about acceptance: what they accept, and that a changed file or figure is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.acceptance import folder
from ops.acceptance.folder import SIGNATURE
from ops.acceptance.signing import ensure_key, signature
from ops.cli.demo.acceptance import BOXES, _raise_a_figure
from ops.cli.demo_check import acceptance as claims
from ops.cli.demo_check.evidence import Evidence
from tests.ops.acceptance.made import files

RUN = "22222222-0000-0000-0000-000000000000"


class Rows(Evidence):
    """The one row that these claims ask for."""

    def one(self, query: str, *values: object) -> dict[str, Any] | None:
        return {"folder": str(self.data_dir / "acceptance" / RUN)} if values == (RUN,) else None


@pytest.fixture
def evidence(tmp_path: Path) -> Rows:
    key = ensure_key(tmp_path / "acceptance" / "keys")
    made = files()
    folder.publish(folder.prepare(tmp_path / "acceptance", RUN, {**made, SIGNATURE: signature(key, made)}))
    return Rows(None, tmp_path)  # type: ignore[arg-type] - the database is not asked


def copies(evidence: Rows) -> dict[str, str]:
    found = {}
    for name in ("certificate.json", "certificate.html"):
        copy = evidence.data_dir / f"tampered-{name}"
        shutil.copytree(evidence.data_dir / "acceptance" / RUN, copy)
        _raise_a_figure(copy / name)
        found[name] = str(copy)
    return found


def test_the_demos_changed_copies_differ_in_the_file_that_was_named(evidence: Rows) -> None:
    named = {name: f"{name}: was changed: …" for name in ("certificate.json", "certificate.html")}
    shown = {"run": RUN, "copies": copies(evidence)}
    assert list(claims.tampered(named, shown, evidence)) == []
    assert (
        len(list(claims.tampered({**named, "certificate.json": "requests.jsonl: was changed"}, shown, evidence))) == 1
    )
    assert list(claims.tampered(named, {"run": RUN, "copies": {}}, evidence))


def test_a_signature_is_held_against_the_key_and_every_file(evidence: Rows) -> None:
    public = evidence.data_dir / "acceptance" / "keys" / "public.pem"
    shown, measured = {"run": RUN, "public": str(public)}, {"ok": True}
    assert list(claims.verified(measured, shown, evidence)) == []
    (evidence.data_dir / "acceptance" / RUN / "requests.jsonl").write_text("")
    assert "is not what was signed" in next(claims.verified(measured, shown, evidence))
    made = files()
    forged = signature(Ed25519PrivateKey.generate(), made)
    (evidence.data_dir / "acceptance" / RUN / SIGNATURE).write_bytes(forged)
    assert "is not signed by" in next(claims.verified(measured, shown, evidence))


def test_a_plan_that_promises_more_than_the_peak_is_found(evidence: Rows) -> None:
    slow = {"feasible": False, "required_efficiency": 1.12, "binds": "compute"}
    fast = {"feasible": True, "required_efficiency": 0.08, "binds": "compute"}
    names = [f"{hardware} {precision}" for hardware, precision, _ in BOXES]
    assert list(claims.planned(dict(zip(names, (slow, fast), strict=True)), {}, evidence)) == []
    assert len(list(claims.planned(dict(zip(names, (fast, slow), strict=True)), {}, evidence))) == 2
