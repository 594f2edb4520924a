"""Questions that many tests ask."""

from __future__ import annotations

from typing import Any

from inference.capacity.answer import Answer
from inference.capacity.plan import plan
from inference.capacity.question import Question

CODER = "deepseek-coder-v2-instruct"
LITE = "deepseek-coder-v2-lite-instruct"


def ask(hardware: str, precision: str, model: str = CODER, **more: Any) -> Answer:
    return plan(Question(model, hardware, precision, **more))
