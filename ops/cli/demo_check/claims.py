"""Every step the demo must have shown, in order, and the claim that its evidence has to bear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ops.cli.demo_check import (
    acceptance,
    adapters,
    data,
    jobs,
    limits,
    monitoring,
    requests,
    rest,
    safety,
    tenants,
    upgrade,
)
from ops.cli.demo_check.evidence import Evidence

FORMAT = 1
VERDICTS = ("walked", "passed")


Claim = Callable[[dict[str, Any], dict[str, Any], Evidence], Iterator[str]]

CLAIMS: dict[str, Claim] = {
    "make_tenants": tenants.made,
    "stream_a_chat": requests.billed,
    "stream_a_completion": requests.billed,
    "keep_the_context_limit": requests.over_the_limit,
    "keep_a_rate": limits.rate_kept,
    "leave_a_stream": requests.left,
    "revoke_a_key": tenants.revoked,
    "serve_a_fim_model": requests.served_beside,
    "fill_in_the_middle": requests.filled,
    "refuse_a_suffix": requests.not_billed,
    "keep_to_the_plans_models": requests.outside_the_plan,
    "build_a_signed_bundle": upgrade.built,
    "refuse_a_bad_bundle": upgrade.refused,
    "plan_an_upgrade": upgrade.planned,
    "upgrade_under_load": upgrade.upgraded,
    "roll_back_under_load": upgrade.rolled_back,
    "withdraw_the_fim_model": requests.withdrawn,
    "refuse_a_malformed_line": data.refused,
    "refuse_an_escaping_archive": data.refused,
    "clean_private_data": data.cleaned,
    "keep_files_to_their_tenant": data.kept_apart,
    "refuse_an_unknown_base": jobs.one_job_only,
    "refuse_anothers_file": jobs.one_job_only,
    "begin_a_fine_tune": jobs.begun,
    "kill_the_worker": jobs.went_on,
    "end_a_fine_tune": jobs.ended,
    "show_the_checks": adapters.checked,
    "know_the_facts": adapters.knows,
    "keep_the_adapter_to_its_tenant": adapters.kept_apart,
    "load_without_a_restart": adapters.same_engine,
    "tune_for_south": jobs.ended,
    "wait_for_a_second_person": adapters.waited,
    "approve_and_ask": adapters.approved,
    "read_usage_and_costs": rest.own_books,
    "show_every_process": monitoring.shown,
    "plan_the_contract": acceptance.planned,
    "run_an_acceptance": acceptance.accepted,
    "verify_a_certificate": acceptance.verified,
    "refuse_a_tampered_certificate": acceptance.tampered,
    "make_a_backup": safety.backed_up,
    "restore_and_serve": safety.restored,
    "make_a_support_bundle": safety.bundled,
    "verify_the_audit_log": safety.audited,
}


def faults_of(report: dict[str, Any], evidence: Evidence) -> list[str]:
    """Everything in a report that the database or the files do not bear out."""
    if report.get("format") != FORMAT or report.get("verdict") not in VERDICTS or report.get("failure") is not None:
        return [f"the report is of a walk that did not end well (verdict {report.get('verdict')!r})"]
    steps = report.get("steps") or []
    names = [step.get("name") for step in steps]
    if names != list(CLAIMS):
        odd = sorted(set(map(str, names)) ^ set(CLAIMS))
        return [f"the report does not have the demo's steps, each once and in order: {', '.join(odd) or 'wrong order'}"]
    faults = [f"{step['name']}: {fault}" for step in steps for fault in _faults(step, evidence)]
    return faults + [f"closing: {fault}" for fault in tenants.closed(evidence)]


def _faults(step: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    try:
        yield from CLAIMS[step["name"]](step["measured"], step["evidence"], evidence)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a report is anybody's to write
        yield f"the report lacks what the claim needs: {type(error).__name__}: {error}"
