"""Chat alone and beside a batch, through the gateway: what the lowest priority costs those who wait for an answer."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from tests.bench.machine import Others
from tests.bench.streams import CHAT, Door, Stream, chat, load
from tests.system.appliance import DEMO, Appliance, until

NUM_STREAMS, NUM_RUNS = 2, 3
LINES, LINE_TOKENS = 400, 200
AT_WORK = 8  # of the batch's requests at the engine, before its neighbours are measured
BOUNDARY = "coderack-bench"


def beside_batches(
    appliance: Appliance, door: Door, times: int, max_tokens: int, others: Others
) -> list[dict[str, Any]]:
    """In turns: chat alone, a batch begins, chat beside it, the batch ends."""
    found = []
    for number in range(times):
        alone = runs(door, max_tokens, f"alone {number}", others)
        batch = start_batch(appliance, door)
        try:
            until(lambda: at_the_engine(appliance), lambda num: num >= AT_WORK, 120)
            before, began = answered(appliance, door, batch), time.monotonic()
            beside = runs(door, max_tokens, f"beside {number}", others)
            lines = answered(appliance, door, batch) - before
            found.append(
                {
                    "alone": figures(alone), "beside": figures(beside),
                    "batch tokens/s": lines * LINE_TOKENS / (time.monotonic() - began),
                }
            )  # fmt: skip
        finally:
            call(appliance, door, "POST", f"/v1/batches/{batch}/cancel")
            until(lambda: at_the_engine(appliance), lambda num: num == 0, 300)
    return found


def runs(door: Door, max_tokens: int, mark: str, others: Others) -> list[Stream]:
    found = []
    for number in range(NUM_RUNS):
        before, began = others.read(), time.monotonic()
        found += asyncio.run(
            load(door, DEMO, NUM_STREAMS, [max_tokens] * NUM_STREAMS, f"{time.time_ns()} {mark} {number}")
        )
        others.count(before, 0, time.monotonic() - began)
    return found


def figures(streams: list[Stream]) -> dict[str, list[float]]:
    """Each stream's."""
    return {"TTFT ms": [1000 * one.ttft_s for one in streams], "TPOT ms": [1000 * one.tpot_s for one in streams]}


def start_batch(appliance: Appliance, door: Door) -> str:
    lines = [
        {
            "custom_id": str(n),
            "method": "POST",
            "url": CHAT,
            "body": chat(DEMO, f"{time.time_ns()} line {n}", LINE_TOKENS),
        }
        for n in range(LINES)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    form = (
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n'
        'content-disposition: form-data; name="file"; filename="lines.jsonl"\r\n\r\n'
    ).encode()
    data = form + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    file = call(appliance, door, "POST", "/v1/files", data, kind)
    order = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    return str(call(appliance, door, "POST", "/v1/batches", order)["id"])


def answered(appliance: Appliance, door: Door, batch: str) -> int:
    """Lines of a batch that have their answer; told every two seconds."""
    return int(call(appliance, door, "GET", f"/v1/batches/{batch}")["request_counts"]["completed"])


def at_the_engine(appliance: Appliance) -> float:
    """Requests that the gateway has at engines."""
    page = appliance.request("GET", "/metrics")[2].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in page if line.startswith("coderack_gateway_in_flight{"))


def call(
    appliance: Appliance, door: Door, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Any:
    status, _, answer = appliance.request(method, path, body, door.key, headers)
    if status != 200:
        sys.exit(f"{method} {path}: {status} {answer[:300]!r}")
    return json.loads(answer)
