"""A name's canary: the version that runs beside the one that serves, the share of requests it gets, and how both do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Aggregate, Count, FloatField, Q, QuerySet
from django.utils import timezone

from appliance.audit.record import record
from appliance.fleet.deployments import lock_name
from appliance.fleet.errors import NoCanary
from appliance.fleet.models import Deployment, EngineLife
from appliance.ledger.models import CANARY, LedgerEntry

MOST_SHARE = 50  # percent
# A canary that had this many requests has failed when this many times the other's share of them failed, and this much more.
ENOUGH_REQUESTS = 20
FACTOR, SLACK = 2.0, 0.05


@dataclass(frozen=True)
class Doing:
    """What one version did since the canary got its share, or one model behind an alias, whose name is then its `digest`.

    `failed` is a part of the requests; times are null without any.
    """

    digest: str
    share: int
    requests: int
    failed: float
    ttft_p50_ms: float | None
    ttft_p99_ms: float | None


@transaction.atomic
def set_share(name: str, share: int) -> Deployment:
    """Let the version beside the one that serves have a share of the name's requests, in percent; 0 takes it back.

    Raises: NoCanary.
    """
    if not 0 <= share <= MOST_SHARE:
        raise NoCanary(f"a share is 0 to {MOST_SHARE} percent")
    lock_name(name)
    row = beside(name)
    if share and not row.canary_share:
        row.canary_since = timezone.now()
    row.canary_share = share
    row.save(update_fields=("canary_share", "canary_since"))
    record("model.canary", name, details={"digest": row.model.digest, "share": share})
    return row


def beside(name: str) -> Deployment:
    """The version that runs beside the one that serves a name.

    Raises: NoCanary.
    """
    rows = Deployment.objects.filter(name=name, running=True).select_related("model")
    other = rows.filter(serves=False).order_by("-canary_share", "-created_at").first()
    if other is None or not rows.filter(serves=True).exists():
        raise NoCanary(f"no version runs beside the one that serves {name}: an upgrade with `--canary` brings one")
    return other


def compare(name: str) -> tuple[Doing, Doing]:
    """The version that serves and its canary, since that one got its share.

    Raises: NoCanary.
    """
    canary = beside(name)
    serving = Deployment.objects.select_related("model").get(name=name, running=True, serves=True)
    since = canary.canary_since or timezone.now()
    rest = 100 - canary.canary_share
    return _doing(serving, rest, since), _doing(canary, canary.canary_share, since)


def is_worse(serving: Doing, canary: Doing) -> bool:
    """Whether so many more of the canary's requests failed that nobody has to look twice."""
    return canary.requests >= ENOUGH_REQUESTS and canary.failed > FACTOR * serving.failed + SLACK


class _Percentile(Aggregate):
    function = "percentile_cont"
    template = "%(function)s(%(part)s) WITHIN GROUP (ORDER BY %(expressions)s)"


def _doing(row: Deployment, share: int, since: datetime) -> Doing:
    lives = EngineLife.objects.filter(replica__deployment=row).values("pk")
    found = LedgerEntry.objects.filter(life_id__in=lives, started_at__gte=since).exclude(endpoint=CANARY)
    return doing(found, row.model.digest, share)


def doing(found: QuerySet[LedgerEntry], name: str, share: int) -> Doing:
    """The figures of these requests."""
    sums = found.order_by().aggregate(
        requests=Count("pk"),
        failed=Count("pk", filter=Q(outcome="failed") | Q(http_status__gte=500)),
        p50=_Percentile("ttft_ms", part=0.5, output_field=FloatField()),
        p99=_Percentile("ttft_ms", part=0.99, output_field=FloatField()),
    )
    failed = sums["failed"] / sums["requests"] if sums["requests"] else 0.0
    return Doing(name, share, sums["requests"], failed, sums["p50"], sums["p99"])
