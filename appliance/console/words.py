"""What states and outcomes are called, and the tone that goes with each word (never the colour alone)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True)
class Word:
    """A state as people read it. Tones: good, working, waiting, bad, idle."""

    text: Any
    tone: str


STATES: dict[str, Word] = {
    "starting": Word(pgettext_lazy("replica", "starting"), "working"),
    "loading": Word(pgettext_lazy("replica", "loading"), "working"),
    "warming": Word(pgettext_lazy("replica", "warming"), "working"),
    "ready": Word(pgettext_lazy("replica", "ready"), "good"),
    "draining": Word(pgettext_lazy("replica", "draining"), "waiting"),
    "stopped": Word(pgettext_lazy("replica", "stopped"), "idle"),
    "failed": Word(pgettext_lazy("replica", "failed"), "bad"),
}
OUTCOMES: dict[str, Word] = {
    "completed": Word(pgettext_lazy("request", "completed"), "good"),
    "aborted": Word(pgettext_lazy("request", "aborted"), "waiting"),
    "failed": Word(pgettext_lazy("request", "failed"), "bad"),
}
HEALTHY = Word(_("healthy"), "good")
UNHEALTHY = Word(_("unhealthy"), "bad")
UNSEEN = Word(_("not seen lately"), "waiting")
SERVING = Word(_("serving"), "good")
WORKING = Word(_("starting"), "working")
DEGRADED = Word(_("degraded"), "waiting")
DOWN = Word(_("not serving"), "bad")
NOTHING_WANTED = Word(_("nothing deployed"), "idle")
ACTIVE = Word(_("active"), "good")
INACTIVE = Word(_("inactive"), "idle")
REVOKED = Word(_("revoked"), "idle")
EXPIRED = Word(_("expired"), "waiting")


def state(name: str) -> Word:
    """A replica's state; one we don't know is shown as it is."""
    return STATES.get(name, Word(name, "idle"))


def outcome(name: str) -> Word:
    """A request's outcome; one we don't know is shown as it is."""
    return OUTCOMES.get(name, Word(name, "idle"))
