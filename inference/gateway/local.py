"""What the gateway answers itself: the model list, health, metrics, and the endpoints that nothing is deployed for."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from inference.gateway import errors, metrics
from inference.gateway.admit import resolve
from inference.gateway.auth import authenticate
from inference.gateway.directory import Key, Model
from inference.gateway.errors import ApiError
from inference.gateway.paths import Kind
from inference.gateway.request import Request

if TYPE_CHECKING:
    from inference.gateway.app import Gateway
    from inference.gateway.front import Front

Answer = tuple[bytes, bytes]  # content type, body
JSON = b"application/json"
METRICS = b"text/plain; version=0.0.4; charset=utf-8"


def _model(model: Model, key: Key) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by,
        "max_model_len": min(model.max_model_len, key.max_context_tokens),
    }


def _key(gateway: Gateway, request: Request) -> Key:
    return authenticate(request.header(b"authorization"), gateway.directory.find_key)


def list_models(gateway: Gateway, request: Request) -> Answer:
    """The models that the key's plan includes, the tenant's own adapters and aliases among them."""
    key = _key(gateway, request)
    models = [_model(model, key) for model in gateway.directory.models_of(key)]
    return JSON, msgspec.json.encode({"object": "list", "data": models})


def one_model(gateway: Gateway, request: Request) -> Answer:
    """One model by its id."""
    key = _key(gateway, request)
    name, directory = request.target.name, gateway.directory
    model, alias = resolve(name, key, directory), directory.find_alias(name, key)
    return JSON, msgspec.json.encode(_model(model if alias is None else alias.show(model), key))


def embeddings(gateway: Gateway, request: Request) -> Answer:
    """No embedding model is deployed."""
    _key(gateway, request)
    raise errors.model_not_found()


def health(gateway: Gateway, request: Request) -> Answer:
    """Counts only: anybody may ask."""
    snapshot = gateway.directory.snapshot
    state = "draining" if gateway.draining else "ok"
    counts = {"status": state, "models": snapshot.num_models, "ready_replicas": snapshot.num_replicas}
    return JSON, msgspec.json.encode(counts)


def require_scraper(request: Request) -> None:
    """Figures are for a scraper on this machine; through a proxy, or from elsewhere, there is nothing here."""
    forwarded = any(name.startswith(b"x-forwarded-") or name == b"forwarded" for name, _ in request.headers)
    if forwarded or not ip_address(request.peer or "::1").is_loopback:
        raise errors.not_found()


def show_metrics(gateway: Gateway, request: Request) -> Answer:
    """The figures of all workers."""
    require_scraper(request)
    return METRICS, metrics.render()


ANSWERS: dict[Kind, Callable[[Gateway, Request], Answer]] = {
    Kind.MODELS: list_models,
    Kind.MODEL: one_model,
    Kind.EMBEDDINGS: embeddings,
    Kind.HEALTH: health,
    Kind.METRICS: show_metrics,
}


class Whole:
    """Answers once the request is whole; what, is for a subclass to say."""

    def __init__(self, gateway: Gateway, front: Front) -> None:
        self._front: Front | None = front
        self._left = gateway.settings.max_body_bytes

    def body(self, chunk: bytes) -> None:
        """Nobody needs it."""
        self._left -= len(chunk)
        if self._left < 0 and self._front is not None:
            front, self._front = self._front, None
            front.refuse(errors.too_large(0))

    def body_end(self) -> None:
        """Answer."""
        raise NotImplementedError

    def _respond(self, content_type: bytes, body: bytes) -> None:
        if self._front is not None:
            front, self._front = self._front, None
            front.respond(200, [(b"content-type", content_type)], body)

    def client_lost(self) -> None:
        """Nothing is at stake."""
        self._front = None

    def pause_output(self) -> None:
        """Nothing to pause."""

    def resume_output(self) -> None:
        """Nothing to resume."""

    def expire(self, error: ApiError) -> None:
        """Refuse a request that never became whole."""
        if self._front is not None:
            front, self._front = self._front, None
            front.refuse(error)

    def sweep(self, now: float) -> None:
        """Nothing to watch."""


class Local(Whole):
    """What this worker knows by itself."""

    def __init__(self, gateway: Gateway, front: Front, request: Request) -> None:
        super().__init__(gateway, front)
        self._answer = ANSWERS[request.target.kind](gateway, request)

    def body_end(self) -> None:
        """Answer."""
        self._respond(*self._answer)
