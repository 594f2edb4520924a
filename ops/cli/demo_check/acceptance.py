"""Claims about the planner's answers and a signed acceptance run, held against the ledger, the audit log and the files."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ops.cli.demo_check.evidence import Evidence, sha256

ASKED_S = 60.0
FIGURE_TOLERANCE = 0.001  # figures are rounded to three decimals
SIGNED = ("certificate.json", "certificate.html", "requests.jsonl")


def planned(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """What physics forbids is planned as impossible: above 1 the peak itself is not enough."""
    slow, fast = measured["8xH20-96 bf16"], measured["8xH200 fp8"]
    if slow["feasible"] or not slow["required_efficiency"] > 1 or slow["binds"] != "compute":
        yield f"8xH20-96 in bf16 is planned as {slow}"
    if not fast["feasible"] or not 0 < fast["required_efficiency"] < 0.5:
        yield f"8xH200 in fp8 is planned as {fast}"


def accepted(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The run's row, its certificate, its key, the ledger's rows and the engines' counters tell the same."""
    row = evidence.one("SELECT * FROM operations_acceptancerun WHERE id = %s", shown["run"])
    folder = evidence.inside(row["folder"]) if row else None
    if row is None or folder is None:
        yield f"there is no run {shown['run']} with its folder in the data directory"
        return
    yield from _signature_faults(folder, evidence.data_dir / "acceptance" / "keys" / "public.pem")
    certificate = json.loads((folder / "certificate.json").read_bytes())
    if sha256(folder / "certificate.json") != row["certificate_digest"] or certificate["id"] != shown["run"]:
        yield "the certificate is not the one that the row names"
    if (row["verdict"], certificate["verdict"], measured["verdict"]) != ("met", "met", "met"):
        yield f"the verdicts are {row['verdict']}, {certificate['verdict']}, {measured['verdict']}"
    if row["output_tps"] < row["target_output_tps"] or row["input_tps"] < row["target_input_tps"]:
        yield "the target was missed"
    yield from _ledger_faults(row, measured, shown["key"], evidence)
    yield from _request_faults(folder, certificate, measured, shown["key"], evidence)
    yield from _counter_faults(certificate, evidence)
    act = "SELECT 1 FROM audit_auditentry WHERE action = 'acceptance.run' AND details->>'certificate' = %s"
    if evidence.one(act, row["certificate_digest"]) is None:
        yield "the audit log does not know the run"


def _ledger_faults(row: dict[str, Any], measured: dict[str, Any], key: str, evidence: Evidence) -> Iterator[str]:
    sums = evidence.one(
        "SELECT count(*) AS requests, coalesce(sum(prompt_tokens), 0)::bigint AS prompt,"
        " coalesce(sum(completion_tokens), 0)::bigint AS completion FROM ledger_ledgerentry"
        " WHERE key_id = %s AND tenant_id = 'system' AND started_at >= %s AND finished_at <= %s AND exact",
        key, row["started_at"], row["finished_at"],
    )  # fmt: skip
    told = (measured["requests"], measured["prompt_tokens"], measured["completion_tokens"])
    if sums is None or tuple(sums.values()) != told or not told[0]:
        yield f"the ledger sums to {sums}, the run says {told}"
    minted = evidence.one("SELECT * FROM tenants_apikey WHERE id = %s", key)
    if minted is None or not minted["internal"] or minted["tenant_id"] != "system" or minted["revoked_at"] is None:
        yield f"{key} is no revoked key of the appliance's own"


def _request_faults(
    folder: Path, certificate: dict[str, Any], measured: dict[str, Any], key: str, evidence: Evidence
) -> Iterator[str]:
    """Each request as the client saw it is the ledger's, and the output rate follows from them."""
    lines = [json.loads(line) for line in (folder / "requests.jsonl").read_bytes().splitlines()]
    rows = evidence.all("SELECT * FROM ledger_ledgerentry WHERE key_id = %s", key)
    booked = {row["request_id"]: (row["prompt_tokens"], row["completion_tokens"]) for row in rows}
    seen = {line["request_id"]: (line["prompt_tokens"], line["completion_tokens"]) for line in lines}
    if booked != seen or len(lines) != len(seen):
        yield "the client's requests are not the ledger's"
    window = certificate["window_end_s"] - certificate["window_begin_s"]
    if window < ASKED_S:
        yield f"the window was {window} s"
    tokens = sum(line["completion_tokens"] * line["events_in_window"] / line["events"] for line in lines)
    if abs(tokens / window - measured["output_tps"]) > FIGURE_TOLERANCE:
        yield f"the requests make it {tokens / window} output tokens/s, not {measured['output_tps']}"


def _counter_faults(certificate: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Between its two readings each engine's counters rose by what the ledger books on its life."""
    for life in certificate["evidence"]["lives"]:
        before, after = life["before"], life["after"]
        sums = evidence.one(
            "SELECT coalesce(sum(engine_prompt_tokens), 0)::bigint AS prompt,"
            " coalesce(sum(completion_tokens), 0)::bigint AS completion FROM ledger_ledgerentry WHERE life_id = %s"
            " AND finished_at > to_timestamp(%s) AND finished_at <= to_timestamp(%s)",
            life["life_id"], before["at"], after["at"],
        )  # fmt: skip
        rose = (
            after["prompt_tokens"] - before["prompt_tokens"],
            after["generation_tokens"] - before["generation_tokens"],
        )
        if sums is None or tuple(sums.values()) != rose or not rose[1]:
            yield f"the counters of life {life['life_id']} rose by {rose}, the ledger sums to {sums}"


def verified(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The key that was handed over is the box's, and it holds here too."""
    row = evidence.one("SELECT folder FROM operations_acceptancerun WHERE id = %s", shown["run"])
    public = evidence.inside(shown["public"])
    if row is None or public is None or measured["ok"] is not True:
        yield f"run {shown['run']} was not verified"
        return
    if sha256(public) != sha256(evidence.data_dir / "acceptance" / "keys" / "public.pem"):
        yield "another key was handed over"
    yield from _signature_faults(Path(row["folder"]), public)


def tampered(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Each copy differs from the certificate in the one file that its refusal names."""
    row = evidence.one("SELECT folder FROM operations_acceptancerun WHERE id = %s", shown["run"])
    if row is None or sorted(shown["copies"]) != ["certificate.html", "certificate.json"]:
        yield "the two changed copies are not named"
        return
    for name, path in shown["copies"].items():
        copy = evidence.inside(path)
        if copy is None:
            yield f"{path} lies outside the data directory"
            continue
        changed = [file for file in SIGNED if sha256(copy / file) != sha256(Path(row["folder"]) / file)]
        if changed != [name] or not measured[name].startswith(f"{name}: was changed"):
            yield f"{changed} differ in {path}, it was refused with {measured[name]!r}"


def _signature_faults(folder: Path, public: Path) -> Iterator[str]:
    envelope = json.loads((folder / "signature.json").read_bytes())
    key = load_pem_public_key(public.read_bytes())
    signed = {name: envelope[name] for name in ("format", "key", "files")}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    try:
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidSignature
        key.verify(base64.b64decode(envelope["signature"]), text.encode())
    except InvalidSignature:
        yield f"{folder / 'signature.json'} is not signed by {public}"
    for name in SIGNED:
        if sha256(folder / name) != envelope["files"][name]["sha256"]:
            yield f"{folder / name} is not what was signed"
