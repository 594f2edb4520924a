"""The walk itself: the steps in their order, each printed and kept as soon as it is done, then the end and the checker."""

from __future__ import annotations

import fcntl
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import openai
import typer
from django.db import Error as DatabaseError

from appliance.env import REPO, Env
from ops.cli.demo import (
    acceptance,
    approval,
    clean,
    files,
    fim,
    limits,
    monitoring,
    proof,
    rest,
    safety,
    tenancy,
    tuning,
    upgrade,
)
from ops.cli.demo.report import Done, Report
from ops.cli.demo.walk import Shown, StepFailed, Walk, digest
from ops.models.errors import ModelError
from ops.slots.errors import SlotError

CHECKER_S = 120.0
# What a step's end looks like when the appliance does not do as it should; anything else is a fault of the demo's own.
FAULTS = (StepFailed, OSError, openai.OpenAIError, DatabaseError, ModelError, SlotError, subprocess.SubprocessError)


@dataclass(frozen=True)
class Step:
    """A step and what it shows, in words."""

    title: str
    action: Callable[[Walk], Shown]


STEPS = (
    Step("Tenants, plans and keys", tenancy.make_tenants),
    Step("A streamed chat is billed as the client was told", tenancy.stream_a_chat),
    Step("A streamed completion, at another plan's prices", tenancy.stream_a_completion),
    Step("The plan's context limit is kept", tenancy.keep_the_context_limit),
    Step("A key's rate is kept", limits.keep_a_rate),
    Step("A client that leaves is billed exactly", tenancy.leave_a_stream),
    Step("A revoked key is refused", tenancy.revoke_a_key),
    Step("A model is added and served beside", fim.serve_a_fim_model),
    Step("Fill in the middle", fim.fill_in_the_middle),
    Step("A suffix is refused by a model without it", fim.refuse_a_suffix),
    Step("A model outside the plan is refused", fim.keep_to_the_plans_models),
    Step("The next version comes in a signed bundle", upgrade.build_a_signed_bundle),
    Step("A bundle with one flipped byte, or other keys, is refused", upgrade.refuse_a_bad_bundle),
    Step("The upgrade is planned", upgrade.plan_an_upgrade),
    Step("Upgraded under load, killed on the way", upgrade.upgrade_under_load),
    Step("Rolled back under load", upgrade.roll_back_under_load),
    Step("A model is withdrawn", fim.withdraw_the_fim_model),
    Step("A malformed line is refused", files.refuse_a_malformed_line),
    Step("An archive that leads outside is refused", files.refuse_an_escaping_archive),
    Step("Private data is cleaned", files.clean_private_data),
    Step("A file stays its tenant's", files.keep_files_to_their_tenant),
    Step("An unknown base model is refused", tuning.refuse_an_unknown_base),
    Step("Another tenant's file is refused", tuning.refuse_anothers_file),
    Step("A fine-tune begins", tuning.begin_a_fine_tune),
    Step("Its worker is killed, and it goes on", tuning.kill_the_worker),
    Step("The fine-tune succeeds", tuning.end_a_fine_tune),
    Step("Its adapter was checked", proof.show_the_checks),
    Step("It knows what the base model doesn't", proof.know_the_facts),
    Step("The adapter stays its tenant's", proof.keep_the_adapter_to_its_tenant),
    Step("It was loaded without a restart", proof.load_without_a_restart),
    Step("A fine-tune for the other tenant", approval.tune_for_south),
    Step("It waits for a second person", approval.wait_for_a_second_person),
    Step("Approved, it answers", approval.approve_and_ask),
    Step("A tenant reads its own usage, costs and balance", rest.read_usage_and_costs),
    Step("Every process shows its metrics", monitoring.show_every_process),
    Step("The contract on two boxes, planned", acceptance.plan_the_contract),
    Step("A minute of acceptance, measured and signed", acceptance.run_an_acceptance),
    Step("Its certificate verifies", acceptance.verify_a_certificate),
    Step("A tampered certificate is refused", acceptance.refuse_a_tampered_certificate),
    Step("A backup is made while it serves", safety.make_a_backup),
    Step("An appliance made of it takes the same keys", safety.restore_and_serve),
    Step("A support bundle holds no secrets", safety.make_a_support_bundle),
    Step("The audit log is whole", safety.verify_the_audit_log),
)


def walk_through(env: Env) -> str | None:
    """Do all steps; None when each showed what it should and the checker agrees, else the step and the reason."""
    folder = env.data_dir / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "another demo is walking; wait for it"
        signal.signal(signal.SIGTERM, _interrupt)
        for library in ("httpx", "httpx2", "openai"):  # a line for each request says nothing to a person
            logging.getLogger(library).setLevel(logging.WARNING)
        report = Report(folder, f"{env.base_url}/v1")
        report.begin()
        return _walk(env, report)


def _walk(env: Env, report: Report) -> str | None:
    walk = Walk(env, lambda line: typer.echo(f"      {line}"))
    title = "Removing the former walk"
    try:
        if removed := clean.remove_former_run(env):
            walk.say(f"removed the former walk's {removed} files and fine-tunes")
        for number, step in enumerate(STEPS, 1):
            title = step.title
            if step.action is tuning.begin_a_fine_tune:
                proof.note_the_engine(walk)
            report.add(_do(step, number, walk))
    except FAULTS as error:
        return _failed(
            report, title, f"{type(error).__name__}: {error}" if not isinstance(error, StepFailed) else str(error)
        )
    except KeyboardInterrupt:
        return _failed(report, title, "interrupted")
    finally:
        typer.echo(f"      closing: {json.dumps(clean.close())}")
    return _check(report)


def _do(step: Step, number: int, walk: Walk) -> Done:
    begin = time.monotonic()
    shown = step.action(walk)
    took_ms = round((time.monotonic() - begin) * 1000)
    typer.echo(f"  ok  {number:2}. {step.title} ({took_ms / 1000:.1f} s)")
    for name, value in shown.measured.items():
        typer.echo(f"          {name.replace('_', ' ')}: {value}")
    return Done(step.action.__name__, step.title, took_ms, digest(shown.put_in), shown.measured, shown.evidence)


def _failed(report: Report, title: str, reason: str) -> str:
    report.end("failed", {"step": title, "reason": reason})
    return f"{title}: {reason}"


def _check(report: Report) -> str | None:
    """Have the other program look for the evidence. It shares no code with the walk."""
    report.verdict = "walked"
    report.write()
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli.demo_check", str(report.path)], cwd=REPO, capture_output=True, text=True,
        check=False, timeout=CHECKER_S,
    )  # fmt: skip
    report.checker = (done.stdout + done.stderr).splitlines()
    for line in report.checker:
        typer.echo(f"      {line}")
    if done.returncode != 0:
        return _failed(report, "The checker", next(iter(done.stderr.splitlines()), f"ended with {done.returncode}"))
    report.end("passed")
    return None


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
