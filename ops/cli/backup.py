"""`coderack backup` and `coderack restore`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from appliance.env import Env, EnvError, load
from ops.backup import manifest as manifests
from ops.backup import restore as restoring
from ops.backup.copying import put_back
from ops.backup.errors import BackupError
from ops.backup.make import Source, make
from ops.backup.manifest import Manifest
from ops.cli.database import as_operator, connect, rows
from ops.cli.printing import AsJson, Exit, err, fail, out, show_json
from ops.cli.servers import require_postgres
from ops.cli.specs import postgres_spec
from ops.cli.surroundings import prepare_directories
from ops.embedded import postgres
from ops.embedded.errors import EmbeddedError
from ops.runner.errors import AlreadyRunning, RunnerError
from ops.runner.runner import Runner, end_leftovers

SECRETS = (
    "IT HOLDS SECRETS: tenants' data, digests of keys, the keys that sign. It is not encrypted: keep it as safe as the "
    "appliance itself."
)
Report = Callable[[str], None]
FAULTS = (BackupError, EmbeddedError, RunnerError, EnvError)


def backup(
    target: Annotated[Path, typer.Argument(help="The new directory; best on another disk.")], as_json: AsJson = False
) -> None:
    """Write all that can't be made again to a new directory, while the appliance runs."""
    target = target.absolute()
    with rows():
        from django.conf import settings  # noqa: PLC0415 - after Django's setup
        from django.db import ProgrammingError  # noqa: PLC0415

        from appliance.operations.backups import record_backup, snapshot  # noqa: PLC0415

        env: Env = settings.ENV
        source = Source(env.data_dir, env.cache_dir, env.database_url is None, version("coderack"), snapshot)
        try:
            made = make(source, target, lambda: record_backup(target), _quiet if as_json else _report)
        except (BackupError, OSError) as error:
            raise fail(f"no backup was made: {error}") from None
        except ProgrammingError as error:
            reason = str(error).splitlines()[0]
            raise fail(
                f"no backup was made: the tables are of another version than this command ({reason}); use the version that "
                "made them"
            ) from None
    notes = list(made.notes)
    if env.secret_key:
        notes.append("CODERACK_SECRET_KEY comes from the environment and is not in the backup: keep it yourself")
    if as_json:
        show_json(_facts(target, made) | {"notes": notes})
        return
    for note in notes:
        err.print(f"note: {note}", markup=False)
    megabytes = sum(file.size_bytes for file in made.files) / 2**20
    out.print(f"{target}: {len(made.files)} files, {megabytes:.1f} MiB, manifest {made.digest[:12]}", markup=False)
    out.print(SECRETS, markup=False)


def restore(
    source: Annotated[Path, typer.Argument(help="The backup's directory.", metavar="BACKUP")],
    data_dir: Annotated[Path | None, typer.Option(help="The new data directory. Default: CODERACK_DATA_DIR.")] = None,
    idle: Annotated[
        bool, typer.Option("--idle", help="Serve no model until told to: for a trial beside the original.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an appliance of a backup, in an empty data directory; start it afterwards."""
    try:
        env = _environment(data_dir)
        manifest = manifests.read(source)
        report = _quiet if as_json else _report
        report("verifying the backup")
        manifests.verify(source, manifest)
        prepare_directories(env)
        with _alone(env, report) as runner:
            whole, granted = _restore(env, runner, source, manifest, idle)
    except AlreadyRunning as error:
        raise fail(f"not restored: {error}", Exit.ALREADY_RUNNING) from None
    except (*FAULTS, OSError) as error:
        raise fail(f"not restored: {error}") from None
    _tell(env, source, manifest, whole, granted, as_json)


def _environment(data_dir: Path | None) -> Env:
    """The settings, with another data directory; its run directory is then derived from it."""
    if data_dir is not None:
        os.environ["CODERACK_DATA_DIR"] = str(data_dir.absolute())
    return load()


@contextmanager
def _alone(env: Env, report: Report) -> Iterator[Runner]:
    """Hold the place of the appliance's runner, so that nobody starts it meanwhile; servers end with the block."""
    runner = Runner(env.run_dir, report)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        raise RunnerError(f"stopped by {signal.Signals(number).name}; the same command begins again")

    former = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for name in end_leftovers(env.run_dir):
            report(f"ended {name}, left over from a restore that was killed")
        yield runner
    finally:
        runner.stop_all()
        runner.close()
        for number, handler in former.items():
            signal.signal(number, handler)


def _restore(env: Env, runner: Runner, source: Path, manifest: Manifest, idle: bool) -> tuple[bool, bool]:
    """Database, files, rows; whether the audit log is whole, and whether the gateway's role has its rights."""
    embedded = env.database_url is None
    cluster = postgres.place(env.data_dir, env.postgres_dir) if embedded else None
    restoring.begin(manifest, env.data_dir, cluster.data_dir if cluster else None)
    runner.report("copying files")
    put_back(source, manifest, env.data_dir)
    _require_known(manifest)  # before a database of the operator's own is filled
    if cluster is not None:
        postgres.prepare(cluster)
        runner.start(postgres_spec(env, cluster))
    else:
        require_postgres(env.database_dsn())
    runner.report("restoring the database")
    granted = restoring.fill_database(manifest, source, env.database_dsn(), embedded)
    whole = _settle(env, manifest, idle)
    restoring.finish(env.data_dir)
    return whole, granted


def _require_known(manifest: Manifest) -> None:
    """Set Django up, now that the secret key is in its place, and see that its migrations include the backup's."""
    connect()
    from appliance.operations.backups import known_migrations  # noqa: PLC0415 - after Django's setup

    restoring.require_known(manifest, known_migrations())


def _settle(env: Env, manifest: Manifest, idle: bool) -> bool:
    """The rows' side; whether the audit log is whole."""
    from django.core.management import call_command  # noqa: PLC0415 - after Django's setup
    from django.db import connections  # noqa: PLC0415

    from appliance.audit.stored import faults  # noqa: PLC0415
    from appliance.operations import backups  # noqa: PLC0415

    with as_operator():
        call_command("migrate", interactive=False, verbosity=0)
        backups.settle(manifest, env.data_dir, env.cache_dir, idle)
        whole = next(faults(), None) is None
    connections.close_all()
    return whole


def _tell(env: Env, source: Path, manifest: Manifest, whole: bool, granted: bool, as_json: bool) -> None:
    missing = restoring.missing_models(manifest, env.cache_dir)
    if as_json:
        facts = _facts(source, manifest) | {"data_dir": str(env.data_dir), "audit_whole": whole}
        show_json(facts | {"missing_models": [asdict(model) for model in missing], "gateway_role": granted})
    else:
        for model in missing:
            err.print(
                f"missing: model {model.name} ({model.digest[:12]}) at {model.path}; import or download it",
                markup=False,
            )
        if not granted:
            err.print("note: the role coderack_gateway was not made; see Configuration for what to grant", markup=False)
        out.print(
            f"restored to {env.data_dir}. Start it with\n  CODERACK_DATA_DIR={env.data_dir} coderack start",
            markup=False,
        )
    if not whole:
        raise fail("the audit log is not whole: `coderack audit verify` says why; it was not so by this restore")


def _facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "path": str(folder),
        "digest": manifest.digest,
        "files": len(manifest.files),
        "bytes": sum(file.size_bytes for file in manifest.files),
        "taken_at": manifest.facts.taken_at,
        "ledger": asdict(manifest.facts.ledger),
        "audit": asdict(manifest.facts.audit),
    }


def _report(line: str) -> None:
    err.print(line, markup=False, style="dim")


def _quiet(_: str) -> None:
    """With --json, standard error is for errors."""
