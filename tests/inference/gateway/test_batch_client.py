"""The batches' client against the real gateway: what it sends is taken, what it gets is understood."""

from __future__ import annotations

import asyncio
import json

import pytest

from appliance.batches.answers import Answer, Usage, Verdict, answered, judge, wait_s
from appliance.batches.client import Gateway, Lost, NotSent
from tests.inference.gateway.database import add_key
from tests.inference.gateway.parts import Rig, free_port

BATCH_KEY = "sk-batch"


@pytest.fixture(scope="module")
def keys(rig: Rig) -> None:
    add_key(rig.postgres, BATCH_KEY, "owner", lane="batch")
    rig.wait_for_directory()


def ask(rig: Rig, bodies: list[dict[str, object]], key: str = BATCH_KEY) -> list[Answer]:
    async def work() -> list[Answer]:
        async with Gateway(f"http://127.0.0.1:{rig.port}") as gateway:
            path = "/v1/chat/completions"
            return list(await asyncio.gather(*(gateway.ask(path, json.dumps(body).encode(), key) for body in bodies)))

    return asyncio.run(work())


def test_many_at_once_are_answered_and_metered(rig: Rig, keys: None) -> None:
    found = ask(rig, [rig.chat("tokens=3 delay=0.01") for _ in range(40)])
    for number, answer in enumerate(found):
        assert judge(answer) is Verdict.KEEP
        result = answered(number, str(number), answer)
        assert (result.ok, result.usage) == (True, Usage(7, 3, 3))
        assert rig.record(answer.headers["x-request-id"]).key_id == f"key-{BATCH_KEY}"


def test_refusals_are_told_apart(rig: Rig, keys: None) -> None:
    (unknown,) = ask(rig, [rig.chat()], "sk-nobody")
    (no_model,) = ask(rig, [rig.chat(model="nothing")])
    (away,) = ask(rig, [rig.chat(model="deepseek-away")])
    (failed,) = ask(rig, [rig.chat("status=500")])
    assert (unknown.status, judge(unknown)) == (401, Verdict.KEY)
    assert (no_model.status, judge(no_model)) == (404, Verdict.KEEP)
    assert (away.status, judge(away)) == (503, Verdict.BUSY)
    assert (failed.status, judge(failed)) == (502, Verdict.FAULT)
    assert wait_s(away, 0) > 0


def test_nobody_there_is_told_from_an_answer_that_broke_off(rig: Rig, keys: None) -> None:
    async def nobody() -> None:
        async with Gateway(f"http://127.0.0.1:{free_port()}") as gateway:
            await gateway.ask("/v1/chat/completions", b"{}", BATCH_KEY)

    async def hung_up() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server, Gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gateway:
            await gateway.ask("/v1/chat/completions", b"{}", BATCH_KEY)

    with pytest.raises(NotSent):
        asyncio.run(nobody())
    with pytest.raises(Lost):
        asyncio.run(hung_up())
