"""The console's figures and state words as template filters; how they read is decided in appliance.console.figures."""

from __future__ import annotations

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


@register.filter
def state(name: str) -> SafeString:
    """A replica's state as a label."""
    return word(words.state(name))


@register.filter
def outcome(name: str) -> SafeString:
    """A request's outcome as a label."""
    return word(words.outcome(name))


@register.filter
def job_state(name: str) -> SafeString:
    """A fine-tune's state as a label."""
    return word(words.job(name))


@register.filter
def adapter_state(name: str) -> SafeString:
    """An adapter's state as a label."""
    return word(words.adapter(name))


@register.filter
def file_state(name: str) -> SafeString:
    """A file's state as a label."""
    return word(words.file(name))


@register.filter
def batch_state(name: str) -> SafeString:
    """A batch's state as a label."""
    return word(words.batch(name))


@register.filter
def verdict(name: str) -> SafeString:
    """A check's verdict as a label."""
    return word(words.verdict(name))


@register.filter
def upgrade_state(name: str) -> SafeString:
    """An upgrade's state as a label."""
    return word(words.upgrade(name))


@register.filter
def step_state(name: str) -> SafeString:
    """The state of an upgrade's step as a label."""
    return word(words.step_state(name))


@register.filter
def acceptance_verdict(name: str) -> SafeString:
    """What an acceptance run showed as a label."""
    return word(words.acceptance(name))


@register.filter
def short(digest: str) -> str:
    """The first characters of a digest."""
    return digest[:12]


@register.filter
def unknown(value: Any) -> Any:
    """An empty value as the dash."""
    return figures.UNKNOWN if value in (None, "") else value
