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
JOBS: dict[str, Word] = {
    "validating_files": Word(pgettext_lazy("fine-tune", "checking files"), "working"),
    "queued": Word(pgettext_lazy("fine-tune", "queued"), "working"),
    "running": Word(pgettext_lazy("fine-tune", "running"), "working"),
    "paused": Word(pgettext_lazy("fine-tune", "paused"), "waiting"),
    "succeeded": Word(pgettext_lazy("fine-tune", "succeeded"), "good"),
    "failed": Word(pgettext_lazy("fine-tune", "failed"), "bad"),
    "cancelled": Word(pgettext_lazy("fine-tune", "cancelled"), "idle"),
}
ADAPTERS: dict[str, Word] = {
    "candidate": Word(pgettext_lazy("adapter", "under test"), "working"),
    "waiting": Word(pgettext_lazy("adapter", "waiting for approval"), "waiting"),
    "active": Word(pgettext_lazy("adapter", "active"), "good"),
    "rejected": Word(pgettext_lazy("adapter", "rejected"), "bad"),
    "withdrawn": Word(pgettext_lazy("adapter", "withdrawn"), "idle"),
}
VERDICTS: dict[str, Word] = {
    "pass": Word(pgettext_lazy("check", "passed"), "good"),
    "fail": Word(pgettext_lazy("check", "failed"), "bad"),
    "not_enough_evidence": Word(pgettext_lazy("check", "not enough evidence"), "idle"),
}
FILES: dict[str, Word] = {
    "uploaded": Word(pgettext_lazy("file", "waiting for cleaning"), "working"),
    "processed": Word(pgettext_lazy("file", "cleaned"), "good"),
    "error": Word(pgettext_lazy("file", "refused"), "bad"),
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


def job(name: str) -> Word:
    """A fine-tune's state; one we don't know is shown as it is."""
    return JOBS.get(name, Word(name, "idle"))


def adapter(name: str) -> Word:
    """An adapter's state; one we don't know is shown as it is."""
    return ADAPTERS.get(name, Word(name, "idle"))


def verdict(name: str) -> Word:
    """A check's verdict; one we don't know is shown as it is."""
    return VERDICTS.get(name, Word(name, "idle"))


def file(name: str) -> Word:
    """A file's state; one we don't know is shown as it is."""
    return FILES.get(name, Word(name, "idle"))
