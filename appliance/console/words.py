"""What states and outcomes are called, and the tone that goes with each word (never the colour alone)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    "sleeping": Word(pgettext_lazy("replica", "sleeping"), "waiting"),
    "stopped": Word(pgettext_lazy("replica", "stopped"), "idle"),
    "failed": Word(pgettext_lazy("replica", "failed"), "bad"),
    "unreachable": Word(pgettext_lazy("replica", "unreachable"), "bad"),
}
OUTCOMES: dict[str, Word] = {
    "completed": Word(pgettext_lazy("request", "completed"), "good"),
    "aborted": Word(pgettext_lazy("request", "aborted"), "waiting"),
    "failed": Word(pgettext_lazy("request", "failed"), "bad"),
    "lost": Word(pgettext_lazy("request", "lost"), "bad"),
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
ALIASES: dict[str, Word] = {
    "serves": Word(pgettext_lazy("alias", "serves"), "good"),
    "target_gone": Word(pgettext_lazy("alias", "its model is not served: requests get 404"), "bad"),
    "canary_gone": Word(pgettext_lazy("alias", "its canary is not served and gets no requests"), "waiting"),
    "hidden": Word(pgettext_lazy("alias", "a model has this name now and gets its requests"), "waiting"),
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
BATCHES: dict[str, Word] = {
    "validating": Word(pgettext_lazy("batch", "checking its lines"), "working"),
    "in_progress": Word(pgettext_lazy("batch", "running"), "working"),
    "finalizing": Word(pgettext_lazy("batch", "writing its files"), "working"),
    "completed": Word(pgettext_lazy("batch", "completed"), "good"),
    "failed": Word(pgettext_lazy("batch", "failed"), "bad"),
    "expired": Word(pgettext_lazy("batch", "expired"), "bad"),
    "cancelling": Word(pgettext_lazy("batch", "being cancelled"), "waiting"),
    "cancelled": Word(pgettext_lazy("batch", "cancelled"), "idle"),
}
UPGRADES: dict[str, Word] = {
    "planned": Word(pgettext_lazy("upgrade", "planned"), "waiting"),
    "running": Word(pgettext_lazy("upgrade", "running"), "working"),
    "done": Word(pgettext_lazy("upgrade", "done"), "good"),
    "undone": Word(pgettext_lazy("upgrade", "taken back"), "idle"),
    "failed": Word(pgettext_lazy("upgrade", "failed"), "bad"),
}
STEPS: dict[str, Word] = {
    "waiting": Word(pgettext_lazy("step", "not begun"), "idle"),
    "started": Word(pgettext_lazy("step", "running"), "working"),
    "done": Word(pgettext_lazy("step", "done"), "good"),
    "failed": Word(pgettext_lazy("step", "failed"), "bad"),
    "undoing": Word(pgettext_lazy("step", "being taken back"), "waiting"),
    "undone": Word(pgettext_lazy("step", "taken back"), "idle"),
}
ACCEPTANCE: dict[str, Word] = {
    "met": Word(pgettext_lazy("acceptance", "met"), "good"),
    "not_met": Word(pgettext_lazy("acceptance", "not met"), "bad"),
    "void": Word(pgettext_lazy("acceptance", "void"), "idle"),
}
ERASURES: dict[str, Word] = {
    "waiting": Word(pgettext_lazy("erasure", "waiting"), "waiting"),
    "removing": Word(pgettext_lazy("erasure", "removing"), "working"),
    "done": Word(pgettext_lazy("erasure", "done"), "good"),
}
ERASURE_KINDS: dict[str, Any] = {
    "bytes": pgettext_lazy("erasure", "uploaded bytes"),
    "dataset": pgettext_lazy("erasure", "dataset"),
    "job": pgettext_lazy("erasure", "fine-tune"),
    "attempt": pgettext_lazy("erasure", "attempt"),
    "checkpoint": pgettext_lazy("erasure", "checkpoint"),
    "adapter": pgettext_lazy("erasure", "adapter"),
    "report": pgettext_lazy("erasure", "report"),
    "merged": pgettext_lazy("erasure", "merged copy"),
    "engine": pgettext_lazy("erasure", "engine that has it loaded"),
    "alias": pgettext_lazy("erasure", "alias"),
}
ERASURE_ACTS: dict[str, Any] = {
    "remove": pgettext_lazy("erasure", "removed"),
    "cancel and remove": pgettext_lazy("erasure", "cancelled, then removed"),
    "withdraw and remove": pgettext_lazy("erasure", "withdrawn, then removed"),
    "unload": pgettext_lazy("erasure", "unloaded"),
    "keep": pgettext_lazy("erasure", "stays as it is"),
}
STRATEGIES: dict[str, Any] = {
    "beside": _("beside: the new version starts next to the old one, and requests go on"),
    "instead": _("instead: the old version stops before the new one starts, and the name answers 503 meanwhile"),
}
MEANINGS: dict[str, Any] = {  # what an upgrade's steps do
    "preflight": _("looks whether everything still holds that held when it was planned"),
    "files": _("checks that the files of the version before are what they were"),
    "import": _("copies the bundle's model to this machine and verifies it there"),
    "make_room": _("ends the old version's engines, because devices are short; the name answers 503 until the switch"),
    "beside": _("starts the new version's engines, which nobody asks yet"),
    "smoke": _("asks each new engine directly"),
    "canary": _("gives the new version a share of the requests"),
    "switch": _("lets the name stand for the new version and sends a request through the gateway"),
    "drain": _("lets the old version's engines finish what they have, and ends them"),
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


def _of(table: Mapping[str, Word]) -> Callable[[str], Word]:
    """Finds a name's word; a name that we don't know is shown as it is."""
    return lambda name: table.get(name, Word(name, "idle"))


state = _of(STATES)  # a replica's
outcome = _of(OUTCOMES)  # a request's
job = _of(JOBS)
adapter = _of(ADAPTERS)
alias = _of(ALIASES)
verdict = _of(VERDICTS)  # a check's
file = _of(FILES)
batch = _of(BATCHES)
upgrade = _of(UPGRADES)
step_state = _of(STEPS)
acceptance = _of(ACCEPTANCE)
erasure = _of(ERASURES)


def erasure_kind(name: str) -> Any:
    """What a thing is that came of a file; a kind we don't know is shown as it is."""
    return ERASURE_KINDS.get(name, name)


def erasure_act(name: str) -> Any:
    """What an erasure does to it."""
    return ERASURE_ACTS.get(name, name)


def strategy(name: str) -> Any:
    """How an upgrade goes about it; one we don't know is shown as it is."""
    return STRATEGIES.get(name, name)


def step(name: str) -> Any:
    """What an upgrade's step does, "" for one we don't know."""
    return MEANINGS.get(name, "")
