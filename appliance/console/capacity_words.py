"""The planner's terms as people read them: limits, outlooks, and what stands in the picture of the frontier."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from appliance.console.words import Word
from inference.capacity.drawing import Texts
from inference.capacity.rates import Outlook
from inference.capacity.replica import Limit

LIMITS: dict[Limit, Any] = {
    Limit.COMPUTE: pgettext_lazy("limit", "compute"),
    Limit.BANDWIDTH: pgettext_lazy("limit", "memory bandwidth"),
    Limit.COMMUNICATION: pgettext_lazy("limit", "communication between cards"),
    Limit.KV_MEMORY: pgettext_lazy("limit", "KV memory"),
    Limit.WEIGHTS_MEMORY: pgettext_lazy("limit", "memory for the weights"),
    Limit.ENGINE: pgettext_lazy("limit", "the engine's own work"),
}
OUTLOOKS: dict[Outlook, Word] = {
    Outlook.LIKELY: Word(pgettext_lazy("outlook", "likely"), "good"),
    Outlook.POSSIBLE: Word(pgettext_lazy("outlook", "possible"), "good"),
    Outlook.DOUBTFUL: Word(pgettext_lazy("outlook", "doubtful"), "waiting"),
    Outlook.UNLIKELY: Word(pgettext_lazy("outlook", "unlikely"), "bad"),
    Outlook.IMPOSSIBLE: Word(pgettext_lazy("outlook", "impossible"), "bad"),
}
PARALLELISM: dict[str, Any] = {
    "experts spread": gettext_lazy("experts spread"),
    "tensor": gettext_lazy("tensor parallel"),
    "one card": gettext_lazy("one card a replica"),
}


def drawing_texts() -> Texts:
    """In the reader's language. The braces are filled in by the drawing."""
    return Texts(
        title=_("{model} in {precision} on {hardware}"),
        case=_("{input_tokens} tokens in, {output_tokens} out, {hit_rate} cached, {tpot_ms} ms a token"),
        input=_("input tokens/s"),
        output=_("output tokens/s"),
        label=_("Output tokens/s beside input tokens/s"),
        predicted=_("predicted"),
        band=_("8 of 10 cases (a factor of {factor} either way)"),
        ceiling=_("physics ends here"),
        impossible=_("Not possible: {reason}"),
        outlooks={outlook: str(word.text) for outlook, word in OUTLOOKS.items()},
    )
