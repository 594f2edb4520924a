"""Every environment variable the appliance reads: how it is parsed, what holds without it, what it is for.

docs/configuration.md describes each of them; a test compares the two. Reading them is appliance.env's work.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from finetune.data.licences.families import unwanted_names

REPO = Path(__file__).resolve().parent.parent
HOME_BOX = "home"  # the machine with the gateway and the pool


@dataclass(frozen=True)
class Variable:
    """One variable of the environment: how it is read, what holds without it, what it is for."""

    name: str
    parse: Callable[[str], Any]
    default: str | None
    meaning: str
    secret: bool = False


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}")
        return number

    return parse


def _boolean(value: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in words:
        raise ValueError("must be one of 1, 0, true, false, yes, no, on, off")
    return words[value.lower()]


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        url = urlsplit(value)
        if url.scheme not in schemes:
            raise ValueError(f"must start with {' or '.join(s + ':' for s in schemes)}")
        if url.scheme in {"http", "https"} and not url.hostname:
            raise ValueError("must name a host")
        return value

    return parse


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be host:port")
    return value


def _box(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}", value):
        raise ValueError("must be 1 to 20 letters, digits and . _ -")
    return value


def _zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("must be a time zone's name such as UTC or Asia/Shanghai")
    return value


def _names(value: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names:
        raise ValueError("must name at least one host")
    return names


def _devices(value: str) -> str:
    kind, colon, count = value.partition(":")
    if (
        value == "auto"
        or (kind in {"nvidia", "ascend"} and not colon)
        or (kind == "cpu" and count.isdigit() and 1 <= int(count) <= 64)
    ):
        return value
    raise ValueError("must be auto, nvidia, ascend, or cpu:N with N from 1 to 64")


_POSTGRES = _url("postgres", "postgresql")
VARIABLES: tuple[Variable, ...] = (
    Variable("CODERACK_DATA_DIR", _path, str(REPO / "var"), "What must be kept: database, Redis file, journals, logs, ready.json."),
    Variable("CODERACK_CACHE_DIR", _path, str(REPO / "var"), "What can be made again: engine slots, models, downloads."),
    Variable("CODERACK_RUN_DIR", _path, None, "Sockets and process ids; short, because a socket's path is limited to 107 bytes. Default: a directory under /tmp derived from the data directory."),
    Variable("CODERACK_BOX", _box, HOME_BOX, "This machine's name among those that fine-tune together. The one of `coderack up` is home; `coderack worker` needs another name."),
    Variable("CODERACK_HOST", _text, "127.0.0.1", "The address the gateway listens on."),
    Variable("CODERACK_PORT", _integer(1, 65535), "8080", "The port the gateway listens on."),
    Variable("CODERACK_BASE_URL", _url("http", "https"), None, "The origin that clients use, when a TLS front stands before the gateway. Default: http://HOST:PORT."),
    Variable("CODERACK_ALLOWED_HOSTS", _names, None, "Host names the console answers to, separated by commas. Default: the loopback names, HOST and the host of BASE_URL."),
    Variable("CODERACK_DEBUG", _boolean, "false", "Django's debug pages. Never in production."),
    Variable("CODERACK_SECRET_KEY", _text, None, "Signs sessions and salts prefix caches. Default: made once and kept in the data directory.", secret=True),
    Variable("CODERACK_GATEWAY_WORKERS", _integer(1, 64), "2", "Gateway worker processes."),
    Variable("CODERACK_CONSOLE_WORKERS", _integer(1, 64), "2", "Console worker processes."),
    Variable("CODERACK_DEVICES", _devices, "auto", "The devices the pool may use: auto, nvidia, ascend, or cpu:N for N virtual CPU devices."),
    Variable("CODERACK_LAUNCHER", _choice("local", "ray"), "local", "Where engines run: on this machine only, or on those of a Ray cluster too."),
    Variable("CODERACK_RAY_ADDRESS", _host_port, None, "The Ray cluster's head, host:port. Needed with the launcher ray."),
    Variable("CODERACK_RAY_NODES", _names, None, "Names of the Ray nodes that the pool may use, separated by commas. Default: all but this machine."),
    Variable("CODERACK_ENGINE_FLAVOUR", _choice("auto", "cpu", "cuda", "ascend"), "auto", "Which engine slot is installed."),
    Variable("CODERACK_DEMO_MODEL", _boolean, "true", "Whether the small demo model is set up and served."),
    Variable("CODERACK_FIM_TARGET_MS", _integer(10, 60_000), "300", "The target in ms for the first event of an answer that fills in the middle. Where it is missed, the queue leaves room for such requests."),
    Variable("CODERACK_BODY_MEMORY_BYTES", _integer(4 * 1024 * 1024, 2**40), str(512 * 1024 * 1024), "What a gateway worker holds of request bodies over 64 KiB that are not admitted yet. Beyond it such requests get 503."),
    Variable("CODERACK_MAX_BODY_BYTES", _integer(1024, 64 * 1024 * 1024), str(4 * 1024 * 1024), "The largest request body of the inference paths."),
    Variable("CODERACK_UNWANTED_LICENCES", unwanted_names, None, "Source files under these licences are left out of datasets: families or SPDX ids, separated by commas."),
    Variable("CODERACK_LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info", "How much the processes log."),
    Variable("CODERACK_TIME_ZONE", _zone, "UTC", "The zone of the console's exact times."),
    Variable("CODERACK_CONTRACT_INPUT_TPS", _integer(1, 10_000_000), "20000", "Input tokens per second that the contract asks of this server; the console shows the present beside it."),
    Variable("CODERACK_CONTRACT_OUTPUT_TPS", _integer(1, 10_000_000), "5000", "Output tokens per second that the contract asks of this server."),
    Variable("CODERACK_CONTRACT_TTFT_MS", _integer(1, 600_000), "2000", "The contract's longest time to first token in ms, at the 99th percentile. Tiers in use elsewhere: 2000, 1500, 1000."),
    Variable("CODERACK_CONTRACT_TPOT_MS", _integer(1, 60_000), "50", "The contract's longest time per output token in ms, at the 99th percentile of requests. Tiers in use elsewhere: 70, 50, 30."),
    Variable("DATABASE_URL", _POSTGRES, None, "A PostgreSQL (15 or newer) of your own. Unset: an embedded one starts.", secret=True),
    Variable("CODERACK_GATEWAY_DATABASE_URL", _POSTGRES, None, "The same database through a role that can only read the gateway's views. Default: DATABASE_URL.", secret=True),
    Variable("REDIS_URL", _url("redis", "rediss", "unix"), None, "A Redis (6.2 or newer) of your own. Unset: an embedded one starts.", secret=True),
)  # fmt: skip
