"""What an ended request adds to the gateway's figures."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from inference.gateway import metrics
from inference.gateway.ending import Ending
from inference.gateway.settle import Attempt, settle
from inference.gateway.usage import Usage
from inference.metering.journal import UsageRecord


def ended(ttft_s: float, streamed_s: float, tokens: int) -> float:
    """Settle a stream of the model `paced`; what it added to the sum of times per output token."""
    key = SimpleNamespace(tenant_id="acme", key_id="k")
    model: Any = SimpleNamespace(name="paced", base="paced")
    admitted: Any = SimpleNamespace(key=key, model=model, endpoint="chat", stream=True, num_sequences=1)
    replica: Any = SimpleNamespace(life_id="l", replica_id="r", attached=None)
    journal: Any = SimpleNamespace(append=lambda record: None)
    attempt = Attempt("req-1", admitted, replica, ttft_s=ttft_s, first_event_at=time.time() - streamed_s)
    before = metrics.TPOT.labels("paced")._sum.get()
    settle(journal, attempt, Usage(completion_tokens=tokens), "completed", 200)
    return metrics.TPOT.labels("paced")._sum.get() - before


def test_the_wait_for_a_replica_is_no_part_of_the_pace() -> None:
    assert abs(ended(ttft_s=30.0, streamed_s=2.0, tokens=11) - 0.2) < 0.05


def test_a_single_token_has_no_pace() -> None:
    assert ended(ttft_s=0.1, streamed_s=2.0, tokens=1) == 0


def test_a_prompt_that_cannot_be_counted_costs_its_tokens_and_not_the_bill() -> None:
    records: list[UsageRecord] = []
    ended: list[Usage] = []

    async def end() -> None:
        tasks: list[asyncio.Task[None]] = []

        async def whole_prompt(*_: object) -> int:
            raise RuntimeError("the tokenizer is broken")

        def append(record: UsageRecord) -> bool:
            records.append(record)
            return True

        gateway: Any = SimpleNamespace(
            counter=SimpleNamespace(whole_prompt=whole_prompt),
            journal=SimpleNamespace(append=append),
            end=lambda ending: None,
            spawn=lambda coroutine: tasks.append(asyncio.create_task(coroutine)),
        )
        key = SimpleNamespace(tenant_id="acme", key_id="k")
        model: Any = SimpleNamespace(name="m", base="m", path=None)
        admitted: Any = SimpleNamespace(
            key=key,
            model=model,
            endpoint="chat",
            stream=True,
            wants_usage=False,
            num_prompts=1,
            num_sequences=1,
            body={},
        )
        replica: Any = SimpleNamespace(life_id="l", replica_id="r", attached=None)
        held: Any = SimpleNamespace(settle=lambda used, **_: ended.append(used))
        ending = Ending(gateway, "1", admitted, held)
        ending.attempt = Attempt("req-1", admitted, replica)
        ending.settle(Usage(completion_tokens=3))
        [failed] = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, RuntimeError)  # the gateway logs it

    asyncio.run(end())
    assert [(one.prompt_tokens, one.completion_tokens, one.exact) for one in records] == [(0, 3, False)]
    assert ended == [Usage(completion_tokens=3)]
