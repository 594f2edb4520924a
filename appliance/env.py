"""The appliance's configuration from environment variables: typed, refused when unclear, all faults in one message.

Every process reads its settings here and nowhere else. Secrets can also come from a file named by `<NAME>_FILE`.
appliance.variables lists them. Django is not imported here, so that the gateway's
workers can read their settings without it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.variables import HOME_BOX, REPO, VARIABLES, Variable

__all__ = [
    "HOME_BOX",
    "PREFIX",
    "REPO",
    "VARIABLES",
    "Env",
    "EnvError",
    "Variable",
    "default_run_dir",
    "load",
    "secret_key",
]

PREFIX = "CODERACK_"
SOCKET_PATH_MAX_BYTES = 107  # sockaddr_un.sun_path less its NUL, Linux
LONGEST_SOCKET_NAME = "/replicas/00000000.sock"


class EnvError(ValueError):
    """The environment holds values that can't be used; the message names all of them."""

    code = "bad_environment"
    permanent = True


def reached_at(host: str) -> str:
    """Where a server that is bound to a host is reached from this machine."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class Env:
    """One appliance's settings. Paths are absolute; sizes are in bytes and durations in seconds."""

    data_dir: Path
    cache_dir: Path
    run_dir: Path
    box: str
    host: str
    port: int
    base_url: str
    allowed_hosts: tuple[str, ...]
    debug: bool
    secret_key: str
    database_url: str | None
    gateway_database_url: str | None
    redis_url: str | None
    gateway_workers: int
    console_workers: int
    devices: str
    launcher: str
    ray_address: str | None
    ray_nodes: tuple[str, ...]
    engine_flavour: str
    demo_model: bool
    body_memory_bytes: int
    max_body_bytes: int
    fim_target_s: float
    unwanted_licences: tuple[str, ...]
    log_level: str
    time_zone: str
    contract_input_tps: int
    contract_output_tps: int
    contract_ttft_ms: int
    contract_tpot_ms: int

    @property
    def is_home(self) -> bool:
        """Whether this machine has the gateway and the pool."""
        return self.box == HOME_BOX

    @property
    def journal_dir(self) -> Path:
        """Where the gateway's workers and the pool write usage."""
        return self.data_dir / "journal"

    @property
    def conversation_dir(self) -> Path:
        """Where the conversations lie that tenants asked to have kept, encrypted."""
        return self.data_dir / "conversations"

    @property
    def conversation_key(self) -> Path:
        """The file of the key that wraps the keys of conversations."""
        return self.data_dir / "conversation_key"

    @property
    def log_dir(self) -> Path:
        """Where each process of the runner logs to."""
        return self.data_dir / "logs"

    @property
    def ready_file(self) -> Path:
        """The facts of a running appliance, written last and removed at stop."""
        return self.data_dir / "ready.json"

    @property
    def console_socket(self) -> Path:
        """Where gunicorn serves the console for the gateway."""
        return self.run_dir / "console.sock"

    @property
    def metrics_dir(self) -> Path:
        """Where each process but the gateway has the socket of its metrics page."""
        return self.run_dir / "metrics"

    @property
    def postgres_dir(self) -> Path:
        """The embedded PostgreSQL's socket directory."""
        return self.run_dir / "pg"

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis' socket."""
        return self.run_dir / "redis.sock"

    def database_dsn(self) -> str:
        """The control plane's PostgreSQL connection string."""
        return self.database_url or f"postgresql://coderack@/coderack?host={self.postgres_dir}"

    def gateway_dsn(self) -> str:
        """The gateway's connection string: a role that can only read the directory's views.

        With a database of the operator's own and no separate role configured, the gateway uses the same one.
        """
        if self.gateway_database_url or self.database_url:
            return self.gateway_database_url or str(self.database_url)
        return f"postgresql://coderack_gateway@/coderack?host={self.postgres_dir}"

    def redis_dsn(self) -> str:
        """Redis as redis-py names it."""
        return self.redis_url or f"unix://{self.redis_socket}?db=0"


def load(environ: Mapping[str, str] | None = None) -> Env:
    """Read the settings of this process.

    Raises: EnvError naming every unknown, malformed or contradictory variable at once.
    """
    source = os.environ if environ is None else environ
    faults: list[str] = []
    known = {v.name for v in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.secret}
    faults += [f"{name}: no such setting" for name in sorted(source) if name.startswith(PREFIX) and name not in known]
    values = {v.name: _read(v, source, faults) for v in VARIABLES}
    if values["CODERACK_LAUNCHER"] == "ray" and not values["CODERACK_RAY_ADDRESS"] and not faults:
        faults.append("CODERACK_RAY_ADDRESS: the launcher ray needs it, host:port")
    if faults:
        raise EnvError("these settings can't be used:\n  " + "\n  ".join(faults))
    env = _assemble(values)
    if len(str(env.run_dir) + LONGEST_SOCKET_NAME) > SOCKET_PATH_MAX_BYTES:
        raise EnvError(f"CODERACK_RUN_DIR: {env.run_dir} is too long for Unix sockets; choose a shorter one")
    return env


def _read(variable: Variable, source: Mapping[str, str], faults: list[str]) -> Any:
    raw = source.get(variable.name) or None
    file_name = source.get(f"{variable.name}_FILE") if variable.secret else None
    if raw and file_name:
        faults.append(f"{variable.name} and {variable.name}_FILE are both set: keep one")
        return None
    if file_name:
        try:
            raw = Path(file_name).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{variable.name}_FILE: {error}")
            return None
    raw = raw or variable.default
    if raw is None:
        return None
    try:
        return variable.parse(raw)
    except ValueError as error:
        shown = "its value" if variable.secret else repr(raw)
        faults.append(f"{variable.name}: {shown} {error}")
        return None


def _assemble(values: Mapping[str, Any]) -> Env:
    data_dir: Path = values["CODERACK_DATA_DIR"]
    host, port = values["CODERACK_HOST"], values["CODERACK_PORT"]
    url_host = reached_at(host)
    base_url = (values["CODERACK_BASE_URL"] or f"http://{url_host}:{port}").rstrip("/")
    names = ("localhost", "127.0.0.1", host, urlsplit(base_url).hostname or host)
    return Env(
        data_dir=data_dir,
        cache_dir=values["CODERACK_CACHE_DIR"],
        run_dir=values["CODERACK_RUN_DIR"] or default_run_dir(data_dir, values["CODERACK_BOX"]),
        box=values["CODERACK_BOX"],
        host=host,
        port=port,
        base_url=base_url,
        allowed_hosts=values["CODERACK_ALLOWED_HOSTS"] or tuple(dict.fromkeys(names)),
        debug=values["CODERACK_DEBUG"],
        secret_key=values["CODERACK_SECRET_KEY"] or "",
        database_url=values["DATABASE_URL"],
        gateway_database_url=values["CODERACK_GATEWAY_DATABASE_URL"],
        redis_url=values["REDIS_URL"],
        gateway_workers=values["CODERACK_GATEWAY_WORKERS"],
        console_workers=values["CODERACK_CONSOLE_WORKERS"],
        devices=values["CODERACK_DEVICES"],
        launcher=values["CODERACK_LAUNCHER"],
        ray_address=values["CODERACK_RAY_ADDRESS"],
        ray_nodes=values["CODERACK_RAY_NODES"] or (),
        engine_flavour=values["CODERACK_ENGINE_FLAVOUR"],
        demo_model=values["CODERACK_DEMO_MODEL"],
        body_memory_bytes=values["CODERACK_BODY_MEMORY_BYTES"],
        max_body_bytes=values["CODERACK_MAX_BODY_BYTES"],
        fim_target_s=values["CODERACK_FIM_TARGET_MS"] / 1000,
        unwanted_licences=values["CODERACK_UNWANTED_LICENCES"] or (),
        log_level=values["CODERACK_LOG_LEVEL"],
        time_zone=values["CODERACK_TIME_ZONE"],
        contract_input_tps=values["CODERACK_CONTRACT_INPUT_TPS"],
        contract_output_tps=values["CODERACK_CONTRACT_OUTPUT_TPS"],
        contract_ttft_ms=values["CODERACK_CONTRACT_TTFT_MS"],
        contract_tpot_ms=values["CODERACK_CONTRACT_TPOT_MS"],
    )


def default_run_dir(data_dir: Path, box: str = HOME_BOX) -> Path:
    """A short directory of its own for each user, data directory and box."""
    named = str(data_dir) if box == HOME_BOX else f"{data_dir} {box}"
    digest = hashlib.sha256(named.encode()).hexdigest()[:8]
    return Path("/tmp") / f"coderack-{os.getuid()}-{digest}"  # noqa: S108 - made with mode 0711 and checked for its owner


def secret_key(env: Env) -> str:
    """The configured secret key, or one made once and kept beside the data (mode 0600)."""
    if env.secret_key:
        return env.secret_key
    path = env.data_dir / "secret_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"secret_key.{os.getpid()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # the first of several processes wins, the others read its key
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text().strip()
