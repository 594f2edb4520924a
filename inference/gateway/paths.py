"""Which request goes where: one exact table, compared with the raw path. Nothing is decoded or normalised towards an
engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote


class Kind(Enum):
    """Who answers a request."""

    __hash__ = object.__hash__  # each is one object, and enum's own hash is slow

    CHAT = "chat"
    COMPLETIONS = "completions"
    MODELS = "models"
    MODEL = "model"
    EMBEDDINGS = "embeddings"
    HEALTH = "health"
    METRICS = "metrics"
    PROCESS_METRICS = "process metrics"
    CONSOLE = "console"
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class Target:
    """Where one request goes; `name` is the model id of `/v1/models/{id}`, or the process of `/metrics/{process}`."""

    kind: Kind
    name: str = ""
    deepseek: bool = False  # an address of DeepSeek's own API, whose clients know 402

    @property
    def is_api(self) -> bool:
        """Whether the refusals of this address are API errors."""
        return self.kind is not Kind.CONSOLE


_EXACT: dict[bytes, Kind] = {
    b"/v1/chat/completions": Kind.CHAT,
    b"/chat/completions": Kind.CHAT,
    b"/v1/completions": Kind.COMPLETIONS,
    b"/completions": Kind.COMPLETIONS,
    b"/beta/completions": Kind.COMPLETIONS,
    b"/v1/beta/completions": Kind.COMPLETIONS,
    b"/v1/models": Kind.MODELS,
    b"/models": Kind.MODELS,
    b"/v1/embeddings": Kind.EMBEDDINGS,
    b"/embeddings": Kind.EMBEDDINGS,
    b"/healthz": Kind.HEALTH,
    b"/metrics": Kind.METRICS,
}

# The other processes, each with a metrics page on a socket of this name. Nothing else of a path ever names a socket.
PROCESSES = ("batches", "beat", "console", "meter", "pool", "runner", "worker")
_PROCESS_PAGES: dict[bytes, str] = {b"/metrics/" + name.encode(): name for name in PROCESSES}

METHODS: dict[Kind, bytes] = {
    Kind.CHAT: b"POST",
    Kind.COMPLETIONS: b"POST",
    Kind.EMBEDDINGS: b"POST",
    Kind.MODELS: b"GET",
    Kind.MODEL: b"GET",
    Kind.HEALTH: b"GET",
    Kind.METRICS: b"GET",
    Kind.PROCESS_METRICS: b"GET",
}

# Methods of the gateway's own addresses that the control API answers: only there can a fine-tuned model be deleted.
CONSOLE_METHODS: dict[Kind, bytes] = {Kind.MODEL: b"DELETE"}

ENGINE_PATHS: dict[Kind, bytes] = {Kind.CHAT: b"/v1/chat/completions", Kind.COMPLETIONS: b"/v1/completions"}

# The control API's addresses at the console: that it is away is said there as an API error, too.
CONTROL_API = (b"/v1/", b"/files", b"/fine_tuning/", b"/organization/", b"/user/")

# One origin, two users of one word: the console's pages end in a slash, the API's alias without /v1 does not.
CONSOLE_MODELS = b"/models/"
_MODEL_PREFIXES = (b"/v1/models/", b"/models/")
# Dot segments (also encoded), empty segments and backslashes mean different things to different servers: refused.
_TRICK = re.compile(rb"//|\\|(?:^|/|%2f|%5c)(?:\.|%2e){1,2}(?:/|%2f|%5c|$)|%5c|%00", re.IGNORECASE)


def _is_deepseeks(path: bytes) -> bool:
    return not path.startswith(b"/v1/") or path.startswith(b"/v1/beta/")


# As they are nearly always written.
_USUAL = {path: Target(kind, deepseek=_is_deepseeks(path)) for path, kind in _EXACT.items()}


def addresses(model_name: str) -> Iterator[tuple[str, Kind]]:
    """The gateway's own addresses, a parameter for the model's id in those of single models."""
    yield from ((path.decode(), kind) for path, kind in _EXACT.items())
    yield from ((f"{prefix.decode()}{{{model_name}}}", Kind.MODEL) for prefix in _MODEL_PREFIXES)


def allowed_methods(kind: Kind) -> str:
    """What an Allow header says of one of the gateway's own addresses."""
    head = b"HEAD" if METHODS[kind] == b"GET" else None
    return ", ".join(one.decode() for one in (METHODS[kind], head, CONSOLE_METHODS.get(kind)) if one is not None)


def classify(raw_target: bytes) -> Target:
    """Decide by the path of a request line's target; its query plays no part."""
    return _USUAL.get(raw_target) or _classify(raw_target)


def _classify(raw_target: bytes) -> Target:
    path = raw_target.partition(b"?")[0]
    if not path.startswith(b"/") or _TRICK.search(path):
        return Target(Kind.NOWHERE)
    if path.startswith(CONSOLE_MODELS) and path.endswith(b"/"):
        return Target(Kind.CONSOLE)
    bare = path[:-1] if path.endswith(b"/") and path != b"/" else path
    if bare in _USUAL:
        return _USUAL[bare]
    if bare in _PROCESS_PAGES:
        return Target(Kind.PROCESS_METRICS, _PROCESS_PAGES[bare])
    for prefix in _MODEL_PREFIXES:
        if bare.startswith(prefix):
            return Target(Kind.MODEL, unquote(bare[len(prefix) :].decode("latin-1")))
    return Target(Kind.CONSOLE)
