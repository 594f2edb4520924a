"""Upgrades of a model: planned from a signed bundle, applied step by step, resumed after a crash, rolled back.

An upgrade's row says where it is, its steps' rows how far; `alone` says whether somebody is at it. A row that is `running`
while nobody holds the lock was interrupted: nothing else may begin until it was resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from appliance.audit import actor
from appliance.audit.record import record
from appliance.fleet.deployments import lock_name
from appliance.operations import facts
from appliance.operations.alone import alone
from appliance.operations.errors import NoSuchUpgrade, UpgradeRefused
from appliance.operations.models import UPGRADE_MOVES, Upgrade, UpgradeState, UpgradeStep
from appliance.operations.row_ledger import RowLedger
from appliance.operations.upgrade_steps import STEPS, names_for
from appliance.operations.upgrade_steps.base import PREFLIGHT, RowStep
from appliance.operations.upgrade_steps.canary import Canary
from appliance.registry.models import ModelVersion
from ops.bundle.trust import TrustStore
from ops.bundle.verify import Bundle, accept, verify_for
from ops.upgrade.preflight import (
    INSTEAD,
    Allowed,
    Finding,
    Offer,
    findings,
    machine_findings,
    refusals,
    strategy,
)  # fmt: skip
from ops.upgrade.run import Outcome, advance, turn_back

S = UpgradeState
_ENDS = {Outcome.DONE: S.DONE, Outcome.UNDONE: S.UNDONE, Outcome.FAILED: S.FAILED}
_STALE = "replaced by a newer plan"


@dataclass(frozen=True)
class Trial:
    """A share of the requests, in percent, for the new version before it gets all of them, and for how long."""

    share: int
    minutes: int


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes: `moved` of each step's move, `tell` what a step waits for."""

    moved: Callable[[UpgradeStep], None] = lambda step: None
    tell: Callable[[str], None] = lambda line: None


def preflight(source: Path | None, trust: Path, root: bytes | None, allowed: Allowed) -> list[Finding]:
    """What speaks for or against an upgrade from this bundle, or without one, what speaks against any.

    Raises: BundleError when the bundle does not verify.
    """
    if source is None:
        return list(machine_findings(facts.machine()))
    bundle = verify_for(TrustStore(trust), source, root, datetime.now(UTC))
    return _findings(facts.offer(bundle), allowed)


def _findings(offer: Offer, allowed: Allowed) -> list[Finding]:
    return findings(offer, facts.served(offer.name), facts.machine(offer.name), allowed)


def plan(source: Path, trust: Path, root: bytes | None, allowed: Allowed, trial: Trial | None = None) -> Upgrade:
    """Verify and accept a bundle, and write down the upgrade to its version. Older plans for the name are given up.

    With a trial the new version is a canary first.

    Raises: BundleError; UpgradeRefused with a line for each reason.
    """
    bundle = accept(TrustStore(trust), source, root, datetime.now(UTC))
    offer = facts.offer(bundle)
    _refuse(refusals(_findings(offer, allowed)))
    with transaction.atomic():
        upgrade = _new(offer, allowed, rollback=False, source=str(source.resolve()), trial=trial)
        kept = asdict(offer) | {"trust": str(trust)} | _shown(bundle)
        UpgradeStep.objects.filter(upgrade=upgrade, name="import").update(detail=kept)
        record("upgrade.plan", upgrade.name, details=_details(upgrade))
    return upgrade


def apply(upgrade: Upgrade, watch: Watch) -> Upgrade:
    """Take a planned upgrade to its end, or all the way back.

    Raises: UpgradeBusy, UpgradeRefused.
    """
    with alone(facts.lock_path()):
        _begin(upgrade, S.PLANNED, "upgrade.apply")
        return _drive(upgrade, watch)


def resume(watch: Watch, *, back: bool = False) -> Upgrade:
    """Go on with the upgrade that was interrupted, or that could not be taken back; `back`: take it back in any case.

    Raises: UpgradeBusy, NoSuchUpgrade.
    """
    with alone(facts.lock_path()):
        upgrade = interrupted()
        if upgrade is None:
            raise NoSuchUpgrade("no upgrade was interrupted: there is nothing to resume")
        if upgrade.state == S.FAILED:
            _begin(upgrade, S.FAILED, "upgrade.resume")
        else:
            with transaction.atomic():
                record("upgrade.resume", upgrade.name, details=_details(upgrade))
        if back:
            turn_back(_steps(upgrade, watch), RowLedger(upgrade, watch.moved), "taken back on request")
        return _drive(upgrade, watch)


def interrupted() -> Upgrade | None:
    """The upgrade that `resume` goes on with: the running one, or a name's last one when taking it back failed."""
    running = Upgrade.objects.filter(state=S.RUNNING).first()
    if running is not None:
        return running
    failed = Upgrade.objects.filter(state=S.FAILED).order_by("-started_at")
    return next((row for row in failed if not _later_than(row).exists()), None)


def _later_than(upgrade: Upgrade) -> QuerySet[Upgrade]:
    return Upgrade.objects.filter(name=upgrade.name, started_at__gt=upgrade.started_at)


def rollback(name: str, allowed: Allowed, watch: Watch) -> Upgrade:
    """Go back to the version before, as an upgrade of its own: the same steps, with the files that are here.

    Raises: UpgradeBusy, NoSuchUpgrade, UpgradeRefused.
    """
    with alone(facts.lock_path()):
        offer = facts.offer_of_model(version_before(name))
        _refuse(refusals(_findings(offer, allowed)))
        with transaction.atomic():
            upgrade = _new(offer, allowed, rollback=True, source="")
            upgrade.to_model = version_before(name)
            upgrade.save(update_fields=("to_model",))
        _begin(upgrade, S.PLANNED, "upgrade.rollback")
        return _drive(upgrade, watch)


def version_before(name: str) -> ModelVersion:
    """The version that the present one replaced.

    Raises: NoSuchUpgrade.
    """
    present = facts.serving(name)
    if present is None:
        raise NoSuchUpgrade(f"{name} is not served: `coderack model list` shows what is")
    done = Upgrade.objects.filter(name=name, state=S.DONE, rollback=False, to_model=present.model)
    last = done.order_by("-finished_at").select_related("from_model").first()
    if last is None:
        raise NoSuchUpgrade(
            f"the version of {name} that is served did not come with an upgrade: there is none to go back to"
        )
    return last.from_model


def find(upgrade_id: str = "") -> Upgrade:
    """An upgrade by its id or the beginning of it; without one the newest plan.

    Raises: NoSuchUpgrade.
    """
    if not upgrade_id:
        newest = Upgrade.objects.filter(state=S.PLANNED).order_by("-created_at").first()
        if newest is None:
            raise NoSuchUpgrade("no upgrade is planned: `coderack upgrade plan BUNDLE` plans one")
        return newest
    rows = [row for row in Upgrade.objects.all() if str(row.pk).startswith(upgrade_id)]
    if len(rows) != 1:
        told = f"{len(rows)} upgrades begin with" if rows else "there is no upgrade"
        raise NoSuchUpgrade(f"{told} {upgrade_id!r}: `coderack upgrade list` shows them")
    return rows[0]


def _new(offer: Offer, allowed: Allowed, *, rollback: bool, source: str, trial: Trial | None = None) -> Upgrade:
    """The rows of a planned upgrade."""
    present, served = facts.serving(offer.name), facts.served(offer.name)
    if present is None or served is None:
        raise UpgradeRefused([f"{offer.name} is not served any more"])
    way = strategy(served, facts.machine(offer.name))
    if trial is not None and way == INSTEAD:
        raise UpgradeRefused(
            ["a canary needs both versions at once, and there is no room for both: leave --canary out"]
        )
    Upgrade.objects.filter(name=offer.name, state=S.PLANNED).update(
        state=S.UNDONE, reason=_STALE, finished_at=timezone.now()
    )
    upgrade = Upgrade.objects.create(
        name=offer.name, rollback=rollback, source=source, digest=offer.digest, strategy=way, from_model=present.model,
        from_deployment=present, created_by=actor.current(),
    )  # fmt: skip
    for index, step in enumerate(names_for(rollback=rollback, strategy=way, canary=trial is not None)):
        UpgradeStep.objects.create(upgrade=upgrade, index=index, name=step)
    agreed = {"interrupt": allowed.interrupt and way == INSTEAD, "without_adapters": allowed.without_adapters}
    UpgradeStep.objects.filter(upgrade=upgrade, name=PREFLIGHT).update(detail=agreed)
    if trial is not None:
        UpgradeStep.objects.filter(upgrade=upgrade, name=Canary.name).update(detail=asdict(trial))
    return upgrade


def _begin(upgrade: Upgrade, seen: UpgradeState, action: str) -> None:
    """Compare-and-set to running; one upgrade of the whole appliance can be.

    Raises: UpgradeRefused.
    """
    try:
        with transaction.atomic():
            lock_name(upgrade.name)
            began = upgrade.started_at or timezone.now()
            may = S.RUNNING in UPGRADE_MOVES[seen]
            if not may or not _moved(upgrade, seen, state=S.RUNNING, started_at=began, finished_at=None):
                upgrade.refresh_from_db()
                raise UpgradeRefused(
                    [f"the upgrade {facts.short(upgrade)} of {upgrade.name} is {upgrade.state}: plan a new one"]
                )
            record(action, upgrade.name, details=_details(upgrade))
    except IntegrityError:
        other = Upgrade.objects.filter(state=S.RUNNING).first()
        told = f"the upgrade {facts.short(other)} of {other.name}" if other else "another upgrade"
        raise UpgradeRefused([f"{told} was interrupted: `coderack upgrade resume` goes on with it first"]) from None


def _moved(upgrade: Upgrade, seen: UpgradeState, **changes: object) -> bool:
    moved = Upgrade.objects.filter(pk=upgrade.pk, state=seen).update(**changes) == 1
    if moved:
        upgrade.refresh_from_db()
    return moved


def _drive(upgrade: Upgrade, watch: Watch) -> Upgrade:
    outcome = advance(_steps(upgrade, watch), RowLedger(upgrade, watch.moved))
    reasons = upgrade.steps.exclude(reason="").order_by("-index").values_list("name", "reason")
    reason = "\n".join(f"{step}: {reason}" for step, reason in reasons)
    with transaction.atomic():
        if _moved(upgrade, S.RUNNING, state=_ENDS[outcome], reason=reason, finished_at=timezone.now()):
            record(f"upgrade.{outcome}", upgrade.name, details=_details(upgrade))
    return upgrade


def _steps(upgrade: Upgrade, watch: Watch) -> list[RowStep]:
    names = upgrade.steps.order_by("index").values_list("name", flat=True)
    return [STEPS[name](upgrade, watch.tell) for name in names]


def _shown(bundle: Bundle) -> dict[str, object]:
    return {
        "size_bytes": bundle.model_bytes,
        "bundle_version": bundle.signed.versions.targets,
        "expires": bundle.signed.expires.isoformat(),
    }


def _details(upgrade: Upgrade) -> dict[str, str]:
    return {"upgrade": str(upgrade.pk), "digest": upgrade.digest, "before": upgrade.from_model.digest}


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise UpgradeRefused(reasons)
