"""Capacity: a question to the planner as a form whose address can be shared, and its answer in numbers that explain themselves.

What a box does is inference.capacity's to say; here it is asked and written down. Nothing of it is stored.
"""

from __future__ import annotations

import math
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from appliance.console.access import PersonRequest, operator_only
from appliance.console.capacity_words import LIMITS, OUTLOOKS, PARALLELISM, drawing_texts
from appliance.console.queries import text
from inference.capacity.answer import Answer
from inference.capacity.drawing import frontier_svg
from inference.capacity.errors import BadQuestion
from inference.capacity.plan import plan
from inference.capacity.precision import PRECISIONS
from inference.capacity.question import MAX_CARDS, Question
from inference.capacity.speeds import SPEEDS
from inference.catalog.load import catalog

# What the form shows before anybody asked; with no model chosen nothing is asked.
DEFAULTS = {
    "model": "", "cards": "8", "card": "h20-96", "precision": "fp8", "input_tokens": "2000", "output_tokens": "1000",
    "hit_percent": "0", "tpot_ms": "50",
}  # fmt: skip
MOST_TOKENS = 10_000_000


@operator_only
def capacity(request: PersonRequest) -> HttpResponse:
    """The page. Without a model it is the form alone."""
    asked = _asked(request)
    faults: list[str] = []
    answer = _answer(asked, faults) if asked["model"] else None
    context: dict[str, Any] = {
        "asked": asked,
        "faults": faults,
        "models": [(name, preset.title) for name, preset in sorted(catalog().items())],
        "cards": list(SPEEDS),
        "precisions": list(PRECISIONS),
        "most_cards": MAX_CARDS,
        **(_shown(answer) if answer is not None else {}),
    }
    return render(request, "console/capacity.html", context)


def _asked(request: HttpRequest) -> dict[str, str]:
    """The form's fields as they were typed; what is left out has its default."""
    return {name: text(request.GET, name, 60) or default for name, default in DEFAULTS.items()}


def _answer(asked: dict[str, str], faults: list[str]) -> Answer | None:
    """The planner's answer, or None with what is wrong with the question."""
    cards = _number(asked, "cards", _("Cards"), 1, MAX_CARDS, faults)
    into = _number(asked, "input_tokens", _("Mean input, tokens"), 1, MOST_TOKENS, faults)
    out = _number(asked, "output_tokens", _("Mean output, tokens"), 1, MOST_TOKENS, faults)
    cached = _number(asked, "hit_percent", _("Prefix cache hits, percent"), 0, 99.9, faults)
    tpot_ms = _number(asked, "tpot_ms", _("Time per output token, ms"), 0.1, 100_000, faults)
    if faults:
        return None
    question = Question(
        asked["model"],
        f"{cards:.0f}x{asked['card']}",
        asked["precision"],
        round(into),
        round(out),
        cached / 100,
        tpot_ms,
    )
    try:
        return plan(question)
    except BadQuestion as refusal:
        faults += refusal.faults
        return None


def _number(asked: dict[str, str], name: str, label: str, least: float, most: float, faults: list[str]) -> float:
    try:
        value = float(asked[name])
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        faults.append(
            _("%(field)s: a number from %(least)s to %(most)s is needed.")
            % {"field": label, "least": f"{least:g}", "most": f"{most:,.0f}" if most >= 1000 else f"{most:g}"}
        )
    return value


def _shown(answer: Answer) -> dict[str, Any]:
    """The answer in the template's words."""
    published = max(answer.published.prefill, answer.published.decode)
    rows = [
        {
            "row": row,
            "word": OUTLOOKS[row.outlook],
            "limit": LIMITS[row.binding_limit],
            "beyond_published": row.required_efficiency > published,
            "beyond_physics": row.required_efficiency > 1,
        }
        for row in answer.contract
    ]
    # Its texts are escaped where it is drawn.
    picture = mark_safe(frontier_svg(answer, drawing_texts()))  # noqa: S308
    return {
        "answer": answer,
        "contract": rows,
        "limit": LIMITS[answer.binding_limit],
        "prefill_limit": LIMITS[answer.prefill.limit],
        "decode_limit": LIMITS[answer.decode.limit],
        "parallelism": PARALLELISM[answer.calibrated.parallelism],
        "sequence_us": answer.calibrated.sequence_s * 1e6,
        "full_tokens": answer.question.input_tokens + answer.question.output_tokens,
        "picture": picture,
        "admits_less": (answer.recommended.max_sequences or math.inf) < answer.decode.sequences,
    }
