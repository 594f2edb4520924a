"""Checks before anything starts: directories, the port, disk space. Each message says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat

from appliance.env import Env
from ops.backup.restore import is_half_restored
from ops.runner.errors import RunnerError

DATA_FREE_BYTES = 1 << 30


def prepare_directories(env: Env) -> None:
    """Make the data, cache and run directories.

    Raises: RunnerError where one can't be made or belongs to somebody else.
    """
    for path in (env.data_dir, env.cache_dir, env.log_dir, env.journal_dir):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunnerError(
                f"{path} can't be made: {error.strerror}; set CODERACK_DATA_DIR or CODERACK_CACHE_DIR"
            ) from None
    prepare_run_dir(env)
    for private in (env.log_dir, env.journal_dir):
        private.chmod(0o700)  # names, errors and usage of all tenants


def prepare_run_dir(env: Env) -> None:
    """Make the run directory.

    Raises: RunnerError where it can't be made or belongs to somebody else.
    """
    try:
        env.run_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        facts = env.run_dir.lstat()
    except OSError as error:
        raise RunnerError(f"{env.run_dir} can't be made: {error.strerror}; set CODERACK_RUN_DIR") from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise RunnerError(f"{env.run_dir} belongs to somebody else: remove it or set CODERACK_RUN_DIR")
    env.run_dir.chmod(0o711)  # the embedded PostgreSQL's user walks through it to its own socket
    (env.run_dir / "replicas").mkdir(mode=0o700, exist_ok=True)


def require_home(env: Env) -> None:
    """Raises: RunnerError on a box that has a worker and nothing else."""
    if not env.is_home:
        raise RunnerError(
            f"CODERACK_BOX is {env.box}: an appliance begins on the home box; `coderack worker` is for others"
        )


def require_whole(env: Env) -> None:
    """Raises: RunnerError when a restore into the data directory was cut short."""
    if is_half_restored(env.data_dir):
        raise RunnerError(f"{env.data_dir} is half-restored: run the same `coderack restore` again, it begins anew")


def require_port(env: Env) -> None:
    """Raises: RunnerError when the gateway's port can't be bound."""
    family = socket.AF_INET6 if ":" in env.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.host, env.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise RunnerError(
                    f"port {env.port} on {env.host} is in use; choose another: CODERACK_PORT=8090 make up"
                ) from None
            raise RunnerError(
                f"{env.host}:{env.port} can't be bound: {error.strerror}; see CODERACK_HOST, CODERACK_PORT"
            ) from None


def require_space(env: Env) -> None:
    """Raises: RunnerError when the data directory's disk is nearly full."""
    free = shutil.disk_usage(env.data_dir).free
    if free < DATA_FREE_BYTES:
        raise RunnerError(
            f"{env.data_dir} has {free / 2**30:.1f} GiB free and the appliance needs at least {DATA_FREE_BYTES / 2**30:.0f}; "
            "free some space or set CODERACK_DATA_DIR to another disk"
        )
