"""How numbers, times and sizes are written in the console. Pure functions; unknown is always a dash, never zero."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from django.utils.translation import gettext, ngettext

UNKNOWN = "–"  # the dash people read as "not known"
THIN = "\u202f"  # narrow no-break space
GIB = 1 << 30
MICROS = 1_000_000


def count(value: int | float | None) -> str:
    """A count with thin separators."""
    return UNKNOWN if value is None else f"{round(value):,}".replace(",", THIN)


def milliseconds(value: float | None) -> str:
    """A latency: in ms under 10 s, in seconds above."""
    if value is None:
        return UNKNOWN
    return f"{count(value)} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def duration(value: float | None) -> str:
    """How long something took, in ms; minutes and hours where it took some."""
    if value is None or value < 60_000:
        return milliseconds(value)
    seconds = round(value / 1000)
    minutes = f"{seconds // 60} min {seconds % 60} s"
    return minutes if seconds < 3600 else f"{seconds // 3600} h {seconds % 3600 // 60} min"


def gib(value: float | None) -> str:
    """Bytes as GiB."""
    return UNKNOWN if value is None else f"{value / GIB:.1f} GiB"


def size(value: int | None) -> str:
    """A file's size in the unit that leaves few digits."""
    if value is None:
        return UNKNOWN
    if value < 1024:
        return f"{value} B"
    power = min(3, (value.bit_length() - 1) // 10)
    return f"{value / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def loss(value: float | None) -> str:
    """A training loss, in nats a token."""
    return UNKNOWN if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    """A share between 0 and 1."""
    return UNKNOWN if value is None else f"{value * 100:.0f} %"


def money(micros: int | None, currency: str) -> str:
    """An amount with two decimals, more for sums that would otherwise read as nothing."""
    if micros is None:
        return UNKNOWN
    amount = Decimal(micros) / MICROS
    places = Decimal("0.01") if micros == 0 or abs(amount) >= Decimal("0.1") else Decimal("0.000001")
    rounded = amount.quantize(places, ROUND_HALF_UP)
    return f"{rounded:,}".replace(",", THIN) + f" {currency}"


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, in the one unit that matters."""
    if at is None:
        return UNKNOWN
    seconds = max(0, int((now - at).total_seconds()))
    if seconds < 60:
        return gettext("%(n)d s ago") % {"n": seconds}
    if seconds < 3600:
        return gettext("%(n)d min ago") % {"n": seconds // 60}
    if seconds < 48 * 3600:
        return gettext("%(n)d h ago") % {"n": seconds // 3600}
    days = seconds // 86400
    return ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days}
