"""The console's figures and state words as template filters; how they read is decided in appliance.console.figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from appliance.console import figures, words

register = template.Library()
register.filter("count", figures.count)
register.filter("milliseconds", figures.milliseconds)
register.filter("duration", figures.duration)
register.filter("gib", figures.gib)
register.filter("size", figures.size)
register.filter("loss", figures.loss)
register.filter("percent", figures.percent)
register.filter("money", figures.money)


@register.filter
def ago(at: datetime | None) -> SafeString | str:
    """A relative time with the exact one on hover."""
    if at is None:
        return figures.UNKNOWN
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="seconds"),
        local.strftime("%Y-%m-%d %H:%M:%S %Z"),
        figures.ago(at, timezone.now()),
    )


@register.filter
def word(value: Any) -> SafeString:
    """A Word as a coloured label."""
    return format_html('<span class="word word-{}">{}</span>', value.tone, value.text)


def _label(find: Callable[[str], words.Word]) -> Callable[[str], SafeString]:
    return lambda name: word(find(name))


# What rows call their states, as labels.
LABELS = {
    "state": words.state,
    "outcome": words.outcome,
    "job_state": words.job,
    "adapter_state": words.adapter,
    "alias_state": words.alias,
    "file_state": words.file,
    "batch_state": words.batch,
    "verdict": words.verdict,
    "upgrade_state": words.upgrade,
    "step_state": words.step_state,
    "acceptance_verdict": words.acceptance,
    "erasure_state": words.erasure,
}
for _name, _find in LABELS.items():
    register.filter(_name, _label(_find))


@register.filter
def short(digest: str) -> str:
    """The first characters of a digest."""
    return digest[:12]


@register.filter
def unknown(value: Any) -> Any:
    """An empty value as the dash."""
    return figures.UNKNOWN if value in (None, "") else value
