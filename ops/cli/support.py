"""`coderack support-bundle`: what a person who helps needs to see, without secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.env import VARIABLES, Env
from ops.cli.database import as_operator, connect
from ops.cli.printing import AsJson, err, fail, out, show_json
from ops.runner.runner import runner_pid
from ops.support import machine
from ops.support.bundle import Parts, write
from ops.support.errors import SupportError
from ops.support.masking import Masker
from ops.support.secrets import by_value, of_files, of_settings

ROWS_DOWN = "the database doesn't answer, and tenants' names in it are not known"
NEEDS_NAMES = ("worker", "trainer")  # logs that may name what a tenant called something


def support_bundle(
    target: Annotated[Path, typer.Argument(help="The new file, for instance /tmp/support.tar.gz.")],
    log_kib: Annotated[
        int, typer.Option("--log-kib", help="How much of each log's end, in KiB.", min=0, max=4096)
    ] = 64,
    as_json: AsJson = False,
) -> None:
    """Pack states, versions, settings and logs' ends into one file, with secrets masked; the database may be away."""
    connect()
    from django.conf import settings  # noqa: PLC0415 - after Django's setup

    env: Env = settings.ENV
    known = by_value(_secrets(env))
    names = _names()
    parts = Parts(Masker(known, names or {}))
    _add_machine(parts, env)
    _add_rows(parts, names is not None)
    _add_logs(parts, env, log_kib * 1024, names is not None)
    try:
        if names is not None:
            _record(target)
        size = write(target.absolute(), parts, known)
    except SupportError as error:
        raise fail(str(error)) from None
    if as_json:
        show_json({"path": str(target), "bytes": size, "parts": sorted(parts.files), "missing": parts.missing})
        return
    for path, reason in parts.missing.items():
        err.print(f"missing: {path}: {reason}", markup=False)
    out.print(
        f"{target}: {len(parts.files)} parts, {size / 1024:.0f} KiB; look through it before you send it", markup=False
    )


def _secrets(env: Env) -> Iterator[tuple[str, str]]:
    """Every secret that this appliance knows, with its name."""
    yield from of_files(env.data_dir)
    resolved = {"CODERACK_SECRET_KEY": env.secret_key, "DATABASE_URL": env.database_url, "REDIS_URL": env.redis_url}
    resolved["CODERACK_GATEWAY_DATABASE_URL"] = env.gateway_database_url
    yield from of_settings({name: value for name, value in resolved.items() if value})


def _names() -> dict[str, str] | None:
    """What tenants called their things; None when the database doesn't say."""
    from django.db import DatabaseError  # noqa: PLC0415

    from appliance.operations.support import tenants_names  # noqa: PLC0415

    try:
        return tenants_names()
    except DatabaseError:
        return None


def _record(target: Path) -> None:
    from appliance.operations.support import record_bundle  # noqa: PLC0415

    with as_operator():
        record_bundle(str(target))


def _add_machine(parts: Parts, env: Env) -> None:
    status = {"runner_pid": runner_pid(env.run_dir), "ready": env.ready_file.exists()}
    parts.add_json(
        "status.json", "the runner and its processes", status | {"processes": machine.processes(env.run_dir)}
    )
    parts.add_json("versions.json", "Python, packages, engine slots", machine.versions(env.cache_dir))
    parts.add_json("settings.json", "environment variables; of secret ones only whether they are set", _settings())
    parts.add_json(
        "machine.json", "processors, memory, disks, accelerators", machine.machine(env.data_dir, env.cache_dir)
    )


def _settings() -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for variable in VARIABLES:
        value = os.environ.get(variable.name)
        if variable.secret:
            shown[variable.name] = "set" if value or os.environ.get(f"{variable.name}_FILE") else "not set"
        else:
            shown[variable.name] = value if value is not None else {"default": variable.default}
    return shown


def _add_rows(parts: Parts, answers: bool) -> None:
    from django.db import DatabaseError  # noqa: PLC0415

    from appliance.operations.support import PARTS  # noqa: PLC0415

    for path, (about, read) in PARTS.items():
        if not answers:
            parts.lack(path, "the database doesn't answer")
            continue
        try:
            parts.add_json(path, about, read())
        except (DatabaseError, OSError) as error:
            parts.lack(path, str(error).partition("\n")[0])


def _add_logs(parts: Parts, env: Env, size_bytes: int, names_known: bool) -> None:
    for path in sorted(env.log_dir.glob("*.log")) if size_bytes else []:
        name = f"logs/{path.name}"
        if path.stem in NEEDS_NAMES and not names_known:
            parts.lack(name, ROWS_DOWN)
            continue
        try:
            parts.add_text(name, f"the last {size_bytes // 1024} KiB", machine.tail(path, size_bytes))
        except OSError as error:
            parts.lack(name, str(error.strerror))
