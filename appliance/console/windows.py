"""The window control that all pages share: 15 min, 1 h, 24 h, 7 d."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Window:
    """A span of time up to now. `step_s` is the width of one point in a chart of it."""

    name: str
    label: Any
    span: timedelta
    step_s: int


WINDOWS: dict[str, Window] = {
    window.name: window
    for window in (
        Window("15m", _("15 min"), timedelta(minutes=15), 10),
        Window("1h", _("1 h"), timedelta(hours=1), 40),
        Window("24h", _("24 h"), timedelta(hours=24), 960),
        Window("7d", _("7 d"), timedelta(days=7), 6720),
    )
}


def chosen(query: Mapping[str, str], default: str) -> Window:
    """The window that the address names; anything else means the default."""
    return WINDOWS.get(query.get("window", ""), WINDOWS[default])
