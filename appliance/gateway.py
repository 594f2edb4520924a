"""`python -m appliance.gateway`: the gateway under gunicorn, with the appliance's settings. No Django in this process."""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from appliance.env import Env, EnvError, load, secret_key
from inference.gateway.settings import GatewaySettings

GRACEFUL_S = 6  # the workers stop streams 2.5 s earlier, to settle them
WORKER = "inference.gateway.worker.GatewayWorker"


def gateway_settings(env: Env) -> GatewaySettings:
    """What the workers are told."""
    return GatewaySettings(
        host=env.host,
        port=env.port,
        workers=env.gateway_workers,
        console_socket=env.console_socket,
        directory_dsn=env.gateway_dsn(),
        journal_dir=env.journal_dir,
        salt_secret=hmac.digest(secret_key(env).encode(), b"prefix cache salt", hashlib.sha256),
        redis_url=env.redis_dsn(),
        prom_dir=env.run_dir / "prom",
        metrics_dir=env.metrics_dir,
        board_path=env.run_dir / "gateway.board",
        public_scheme=urlsplit(env.base_url).scheme,
        max_body_bytes=env.max_body_bytes,
        body_memory_bytes=env.body_memory_bytes,
        fim_target_s=env.fim_target_s,
    )


class GatewayApplication(BaseApplication):  # type: ignore[misc]
    """gunicorn, told what to do by values instead of a configuration file."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._settings = gateway_settings(env)
        super().__init__()

    def load_config(self) -> None:
        """gunicorn: fill in its settings."""
        from inference.gateway.worker import child_exit  # noqa: PLC0415 - see main

        host = f"[{self._env.host}]" if ":" in self._env.host else self._env.host
        values = {
            "bind": f"{host}:{self._env.port}",
            "workers": self._env.gateway_workers,
            "worker_class": WORKER,
            "backlog": self._settings.backlog,
            "graceful_timeout": GRACEFUL_S,
            "timeout": 30,
            "proc_name": "coderack-gateway",
            "loglevel": self._env.log_level,
            "control_socket_disable": True,
            "child_exit": child_exit,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[], GatewaySettings]:
        """gunicorn: the "application", which the worker class calls for its settings."""
        return lambda: self._settings


def main() -> None:
    """Serve until SIGTERM."""
    try:
        env = load()
    except EnvError as error:
        sys.exit(str(error))
    directory = env.run_dir / "prom"
    directory.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    from inference.gateway import metrics  # noqa: PLC0415 - reads the variable when it is imported

    metrics.prepare(directory)
    GatewayApplication(env).run()


if __name__ == "__main__":
    main()
