"""`coderack worker`: fine-tunes on a further box, with the home box' database, Redis and data directory."""

from __future__ import annotations

from appliance.env import HOME_BOX, Env, load
from appliance.fleet.storage_mark import MARK, read_mark
from inference.devices.errors import DeviceError
from ops.cli.database import connect
from ops.cli.printing import Exit, fail, out
from ops.cli.servers import require_postgres, require_redis
from ops.cli.specs import worker_arguments
from ops.cli.surroundings import prepare_run_dir
from ops.runner.errors import RunnerError


def worker() -> None:
    """Work on fine-tunes on this box until Ctrl-C; the home box (`coderack up`) has a worker of its own."""
    env = load()
    try:
        _check(env)
    except RunnerError as error:
        raise fail(str(error)) from None
    connect()
    from django.db import Error  # noqa: PLC0415 - after Django's setup

    from appliance.fleet.errors import BoxRefused, StorageRefused  # noqa: PLC0415
    from appliance.training.celery import app, queue_of  # noqa: PLC0415
    from appliance.training.elsewhere import Reporter  # noqa: PLC0415

    reporter = Reporter(env)
    try:
        reporter.enter()
    except (BoxRefused, StorageRefused, DeviceError) as error:
        raise fail(str(error)) from None
    except Error as error:
        reason = str(error).splitlines()[0]
        raise fail(f"the database is not the home box' yet: {reason}", Exit.NOT_RUNNING) from None
    out.print(f"box {env.box}: {reporter.told}", markup=False)
    reporter.start()
    try:
        app.worker_main([*worker_arguments(f"worker@{env.box}", queue_of(env.box), env.log_level)])
    finally:
        reporter.leave()


def _check(env: Env) -> None:
    """Everything that can be seen before Django begins, which writes into the data directory.

    Raises: RunnerError with what to do.
    """
    if env.is_home:
        raise RunnerError(
            f"CODERACK_BOX is {HOME_BOX}: its worker is started by `coderack up`. Name this box, for instance CODERACK_BOX=beta"
        )
    missing = [
        name for name, value in (("DATABASE_URL", env.database_url), ("REDIS_URL", env.redis_url)) if value is None
    ]
    if missing:
        raise RunnerError(
            f"{' and '.join(missing)} must name the home box' servers: embedded ones listen on sockets only"
        )
    if read_mark(env.data_dir) is None:
        raise RunnerError(
            f"{env.data_dir / MARK} is not there: is the shared storage mounted, and was the home box started with it?"
        )
    require_postgres(str(env.database_url))
    require_redis(str(env.redis_url))
    prepare_run_dir(env)
