"""What an ended request adds to the gateway's figures."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from inference.gateway import metrics
from inference.gateway.settle import Attempt, settle
from inference.gateway.usage import Usage


def ended(ttft_s: float, streamed_s: float, tokens: int) -> float:
    """Settle a stream of the model `paced`; what it added to the sum of times per output token."""
    key = SimpleNamespace(tenant_id="acme", key_id="k")
    model: Any = SimpleNamespace(name="paced", base="paced")
    admitted: Any = SimpleNamespace(key=key, model=model, endpoint="chat", stream=True, num_sequences=1)
    replica: Any = SimpleNamespace(life_id="l", replica_id="r")
    journal: Any = SimpleNamespace(append=lambda record: None)
    attempt = Attempt("req-1", admitted, replica, ttft_s=ttft_s, first_event_at=time.time() - streamed_s)
    before = metrics.TPOT.labels("paced")._sum.get()
    settle(journal, attempt, Usage(completion_tokens=tokens), "completed", 200)
    return metrics.TPOT.labels("paced")._sum.get() - before


def test_the_wait_for_a_replica_is_no_part_of_the_pace() -> None:
    assert abs(ended(ttft_s=30.0, streamed_s=2.0, tokens=11) - 0.2) < 0.05


def test_a_single_token_has_no_pace() -> None:
    assert ended(ttft_s=0.1, streamed_s=2.0, tokens=1) == 0
