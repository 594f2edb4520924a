"""`coderack preflight`: what speaks for or against an upgrade, before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.bundle.errors import BundleRefused
from ops.cli.bundles import RootFile
from ops.cli.database import rows
from ops.cli.printing import AsJson, Exit, out, show_json
from ops.cli.upgrades import Interrupt, TrustDirectory, WithoutAdapters, read, trust_of, upgrading

SIGNS = {"ok": "ok     ", "warning": "warning", "refused": "refused"}


def preflight(
    path: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Default: what holds for any upgrade.")
    ] = None,
    root: RootFile = None,
    trust: TrustDirectory = None,
    interrupt: Interrupt = False,
    without_adapters: WithoutAdapters = False,
    as_json: AsJson = False,
) -> None:
    """Look whether an upgrade can be done here and now; nothing is changed."""
    with rows(), upgrading():
        from appliance.operations import upgrades  # noqa: PLC0415 - after Django's setup
        from ops.upgrade.preflight import Allowed, Finding, Verdict  # noqa: PLC0415

        allowed = Allowed(interrupt, without_adapters)
        try:
            found = upgrades.preflight(path, trust_of(trust), read(root), allowed)
        except BundleRefused as error:
            found = [
                Finding("bundle", Verdict.REFUSED, fault, "ask its signer for another one") for fault in error.faults
            ]
        else:
            if path is not None:
                found.insert(0, Finding("bundle", Verdict.OK, "whole and signed by trusted keys"))
    refused = any(finding.verdict == "refused" for finding in found)
    if as_json:
        show_json({"ok": not refused, "findings": [vars(finding) for finding in found]})
    else:
        for finding in found:
            out.print(f"{SIGNS[finding.verdict]}  {finding.line}", markup=False)
    if refused:
        raise typer.Exit(int(Exit.FAILED))
