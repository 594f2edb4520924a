"""What needs an operator: the few lines at the top of the overview, worst first, each with where to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from appliance.console import words
from appliance.fleet.models import AttachedServer, Deployment, Device, Replica
from appliance.ledger.models import JournalCursor
from appliance.operations.models import Upgrade, UpgradeState
from appliance.registry.models import Adapter, AdapterState

POOL_SILENT = timedelta(seconds=60)
BECOMING = {"starting", "loading", "warming"}


@dataclass(frozen=True)
class Notice:
    """One thing to look at. Tones as in words.py."""

    tone: str
    text: Any
    link: str


def notices() -> list[Notice]:
    """Everything that needs a person now."""
    return [*_replicas(), *_attached(), *_upgrades(), *_devices(), *_approvals(), *_ledger()]


def _replicas() -> Iterator[Notice]:
    serving = reverse("serving")
    for replica in Replica.objects.filter(state="failed", deployment__running=True).select_related("deployment__model"):
        first_line = replica.reason.strip().splitlines()[0] if replica.reason.strip() else _("no reason was recorded")
        text = _("Replica %(name)s failed: %(reason)s") % {"name": str(replica), "reason": first_line}
        yield Notice("bad", text, serving)


def _attached() -> Iterator[Notice]:
    for server in AttachedServer.objects.filter(state="unreachable"):
        text = _("Attached server %(name)s can't be reached: %(reason)s") % {
            "name": str(server),
            "reason": server.reason,
        }
        yield Notice("bad", text, reverse("serving"))


def _upgrades() -> Iterator[Notice]:
    for upgrade in Upgrade.objects.filter(state=UpgradeState.FAILED):
        text = _("The upgrade of %(name)s failed and could not be taken back as a whole.") % {"name": upgrade.name}
        yield Notice("bad", text, reverse("upgrade", args=[upgrade.pk]))


def _devices() -> Iterator[Notice]:
    serving = reverse("serving")
    newest = Device.objects.order_by("-seen_at").values_list("seen_at", flat=True).first()
    if newest is None or timezone.now() - newest > POOL_SILENT:
        if Deployment.objects.filter(running=True).exists():
            yield Notice("waiting", _("The pool has not reported for more than a minute. Engines that run go on serving; "
                                      "look at the pool's log."), serving)  # fmt: skip
        return
    for device in Device.objects.filter(healthy=False):
        text = _("Device %(name)s is unhealthy: %(reason)s") % {"name": device.id, "reason": device.reason}
        yield Notice("bad", text, serving)


def _approvals() -> Iterator[Notice]:
    number = Adapter.objects.filter(state=AdapterState.WAITING).count()
    if number:
        text = ngettext("%(n)d adapter waits for a decision.", "%(n)d adapters wait for a decision.", number)
        yield Notice("waiting", text % {"n": number}, reverse("approvals"))


def _ledger() -> Iterator[Notice]:
    lines = JournalCursor.objects.aggregate(lines=Sum("corrupt_lines"))["lines"] or 0
    if lines:
        text = _("%(n)d damaged journal lines were kept and not booked. The meter's log names them.") % {"n": lines}
        yield Notice("waiting", text, reverse("usage"))


def verdict() -> words.Word:
    """One word for the whole: does every deployment that should run have its replicas ready?"""
    wanted = sum(Deployment.objects.filter(running=True).values_list("replicas", flat=True))
    lent = Replica.objects.filter(deployment__running=True).exclude(lent_to="").count()
    states = list(Replica.objects.filter(deployment__running=True).values_list("state", flat=True))
    ready = states.count("ready")
    if wanted == 0:
        return words.NOTHING_WANTED
    if ready and ready >= wanted - lent:  # what the operator lets be lent is not missing
        return words.SERVING
    if ready == 0:
        return words.WORKING if BECOMING & set(states) and "failed" not in states else words.DOWN
    return words.DEGRADED
