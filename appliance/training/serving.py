"""An engine as evaluations ask it: directly on its socket, behind the tenants' requests, billed to the system tenant."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from appliance.fleet.merged import standing
from appliance.fleet.models import Replica
from appliance.registry.models import Adapter, MergedModel, ModelVersion
from appliance.tenants.models import SYSTEM_TENANT
from appliance.training.errors import BrokeOff
from inference.engines import vllm
from inference.metering.journal import JournalWriter, UsageRecord
from inference.pool.engine_client import Answer, EngineClient
from inference.pool.errors import EngineUnreachable

TIMEOUT_S = 300.0
AT_ONCE = 8
AFTER_TENANTS = 10  # the engine serves lower numbers first; tenants' requests have 0


class NoEngine(Exception):
    """No engine of the model is ready; later there may be one."""

    code = "no_ready_replica"
    permanent = False


@dataclass(frozen=True)
class ReadyEngine:
    """Where one ready engine listens, and what its usage is booked on."""

    replica_id: str
    life_id: str
    socket: Path


def ready_engine(model: ModelVersion) -> ReadyEngine:
    """A ready engine of a model version.

    Raises: NoEngine.
    """
    row = (
        Replica.objects.filter(state="ready", deployment__model=model, deployment__running=True)
        .exclude(life=None)
        .select_related("life")
        .first()
    )
    if row is None or row.life is None:
        raise NoEngine(f"no engine of {model.name} is ready")
    return ReadyEngine(str(row.pk), str(row.life.pk), Path(row.life.socket))


def merged_engine(adapter: Adapter) -> ReadyEngine:
    """The ready engine that serves an adapter's merged model.

    Raises: NoEngine, with what it waits for.
    """
    row = MergedModel.objects.filter(adapter=adapter).select_related("version").first()
    if row is None or row.version is None:
        raise NoEngine(f"{adapter.name}: {standing(adapter)}")
    return ready_engine(row.version)


class EngineSampler:
    """finetune.evaluate's Sampler on one engine, or on several with a model each. Usable from several threads.

    Raises: NoEngine where the engine gives no answer; BrokeOff where it refuses the request.
    """

    def __init__(
        self,
        engine: ReadyEngine,
        journal: JournalWriter,
        check: Callable[[], None] = lambda: None,
        others: Mapping[str, ReadyEngine] = MappingProxyType({}),
    ) -> None:
        """`check` raises before each request once nobody needs the answers any more. `others` serve single models."""
        self._engine = engine
        self._others = others
        self._check = check
        self._journal = journal
        self.num_requests = 0

    def complete(
        self,
        model: str,
        prompt: str | list[int],
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
    ) -> str:
        """The text that the model goes on with."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature}
        answer = self._ask(model, body | ({"stop": list(stop)} if stop else {}))
        return str(answer["choices"][0]["text"])

    def complete_many(self, requests: Sequence[Any]) -> list[str]:
        """Several completions side by side, in their order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(
                pool.map(lambda r: self.complete(r.model, r.prompt, r.max_tokens, r.temperature, r.stop), requests)
            )

    def score(self, model: str, token_ids: list[int]) -> list[float | None]:
        """The log-probability of each token of a prompt; None for the first, before which there is nothing."""
        answer = self._ask(model, {"prompt": token_ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0})
        found = answer["choices"][0]["prompt_logprobs"]
        return [
            None if position is None else float(position[str(token)]["logprob"])
            for token, position in zip(token_ids, found, strict=True)
        ]

    def _ask(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check()
        request_id = f"eval-{uuid.uuid4().hex}"
        started_at = time.time()
        sent = {"model": model, "priority": AFTER_TENANTS, **body}
        answer: Answer | None = None
        engine = self._others.get(model, self._engine)
        client = EngineClient(engine.socket)
        try:
            answer = client.post("/v1/completions", sent, TIMEOUT_S, request_id)
        except EngineUnreachable as error:
            _abort(client, request_id)
            raise NoEngine(f"the engine gave no answer: {error}") from error
        finally:
            self._journal.append(_record(engine, request_id, model, answer, started_at))
        self.num_requests += 1
        if 400 <= answer.status < 500 and answer.status != 404:
            raise BrokeOff(f"the engine refused an evaluation: {answer.body[:300].decode(errors='replace')}")
        if answer.status != 200:
            raise NoEngine(f"the engine answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
        return answer.json()


def _abort(client: EngineClient, request_id: str) -> None:
    """Nobody reads the answer any more: the engine needn't go on with it."""
    with contextlib.suppress(EngineUnreachable):
        client.post(*vllm.abort_request(request_id), 2.0)


def _record(engine: ReadyEngine, request_id: str, model: str, answer: Answer | None, started_at: float) -> UsageRecord:
    usage = (answer.json().get("usage") or {}) if answer is not None and answer.status == 200 else {}
    completion = int(usage.get("completion_tokens") or 0)
    prompt = int(usage.get("prompt_tokens") or 0)
    details = usage.get("prompt_tokens_details") or {}
    return UsageRecord(
        request_id=request_id, tenant_id=SYSTEM_TENANT, key_id=None, model=model, endpoint="evaluation", stream=False,
        life_id=engine.life_id, replica_id=engine.replica_id, started_at=started_at,
        finished_at=time.time(), prompt_tokens=prompt, cached_tokens=int(details.get("cached_tokens") or 0),
        completion_tokens=completion, engine_prompt_tokens=prompt, outcome="completed" if usage else "failed",
        http_status=answer.status if answer is not None else 503, ttft_ms=None,
        exact=bool(usage) or (answer is not None and answer.status != 200),
    )  # fmt: skip
