"""An adapter's evaluation as people read it: each check with its question, verdict, reason and numbers.

Checks and figures that are not known here are shown under their own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from appliance.console import figures, words
from appliance.console.report import in_order
from appliance.registry.models import Adapter
from appliance.training.models import Evaluation

QUESTIONS: dict[str, Any] = {
    "parity": _("Do training and serving compute the same?"),
    "effect": _("Does the adapter change what is served?"),
    "heldout": _("Is it better on rows it was not trained on?"),
    "extraction": _("Does it keep removed secrets to itself?"),
    "humaneval": _("Does it still write code as well as the base?"),
}
LABELS: dict[str, Any] = {
    "tokens": _("tokens compared"),
    "mean_difference": _("mean difference"),
    "max_difference": _("largest difference"),
    "mean_allowed": _("mean allowed"),
    "max_allowed": _("largest allowed"),
    "needed": _("needed"),
    "noise": _("noise"),
    "rows": _("rows"),
    "base_loss": _("loss of the base"),
    "adapter_loss": _("loss with the adapter"),
    "p_better": _("p, better by chance"),
    "p_worse": _("p, worse by chance"),
    "planted": _("values removed"),
    "prompts": _("prompts"),
    "found": _("values found"),
    "rules": pgettext_lazy("check", "rules"),
    "tasks": _("tasks"),
    "base_solved": _("solved by the base"),
    "adapter_solved": _("solved with the adapter"),
    "lost": pgettext_lazy("check", "lost"),
    "won": pgettext_lazy("check", "won"),
    "loss_upper_bound": _("share lost, at most"),
    "loss_tolerated": _("share lost, tolerated"),
}
SHARES = frozenset({"loss_upper_bound", "loss_tolerated"})


@dataclass(frozen=True)
class Finding:
    """One check. `blocking` says that its failure keeps the adapter from use."""

    name: str
    question: Any
    word: words.Word
    blocking: bool
    reason: str
    measured: list[tuple[Any, str]]


def evaluation_of(adapter: Adapter) -> Evaluation | None:
    """The adapter's evaluation, once there is one."""
    return Evaluation.objects.filter(adapter=adapter).first()


def findings(evaluation: Evaluation | None) -> list[Finding]:
    """The checks in the order in which they were run."""
    return [_finding(check) for check in evaluation.checks] if evaluation is not None else []


def _finding(check: Mapping[str, Any]) -> Finding:
    name = str(check.get("name", ""))
    measured = check.get("measured") or {}
    return Finding(
        name=name,
        question=QUESTIONS.get(name, name),
        word=words.verdict(str(check.get("verdict", ""))),
        blocking=bool(check.get("blocking")),
        reason=str(check.get("reason", "")),
        measured=[
            (LABELS.get(key, key.replace("_", " ")), figure(key, measured[key])) for key in in_order(measured, LABELS)
        ],
    )


def figure(key: str, value: Any) -> str:
    """A measured value: counts whole, everything else with the digits that matter."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(name, inner)}" for name, inner in value.items()) or figures.UNKNOWN
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return figures.UNKNOWN if value is None else str(value)
    if key in SHARES:
        return figures.percent(value)
    return figures.count(value) if isinstance(value, int) else f"{value:.4g}"
