"""What `coderack up` does before its processes start: engine slot, demo model, schema, first rows. All of it idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.env import Env
from appliance.login import FirstLogin
from inference.catalog.flags import flags_for
from inference.catalog.load import preset
from ops.cli.database import as_operator, connect
from ops.models import manifest
from ops.models.demo import ensure_demo_model
from ops.slots.errors import SlotError
from ops.slots.flavour import choose, read_facts
from ops.slots.install import Slot, ensure_slot
from ops.slots.lock import read_lock
from ops.slots.progress import Progress
from ops.suites.humaneval import ensure_humaneval

DEMO_MODEL = "smollm2-135m-instruct"
DEMO_PROFILE = "cpu"
TELL_EVERY_S = 4.0


@dataclass(frozen=True)
class Installed:
    """What set-up left on the disk; `demo` is None when the demo model is switched off."""

    slot: Slot
    demo: Path | None


@dataclass(frozen=True)
class Start:
    """What the first rows hold: a login and the model that should answer the first request, where there are any."""

    login: FirstLogin | None
    model: str | None


class Narrator:
    """Tells a set-up's progress as lines: each new stage at once, within a stage every few seconds and at its end."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._stage = ""
        self._told_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Tell one step, or keep quiet."""
        now = time.monotonic()
        last = progress.total > 0 and progress.done == progress.total
        if progress.stage == self._stage and not last and now - self._told_at < TELL_EVERY_S:
            return
        self._stage, self._told_at = progress.stage, now
        count = f" ({progress.done} of {progress.total})" if progress.total else ""
        self._report(f"{progress.stage}: {progress.text}{count}")


def set_up(env: Env, report: Callable[[str], None]) -> Installed:
    """Install the engine slot and the demo model where they are missing."""

    tell = Narrator(report)
    override = None if env.engine_flavour == "auto" else env.engine_flavour
    slot = ensure_slot(read_lock(choose(read_facts(), override)), env.cache_dir, tell)
    demo = ensure_demo_model(env.cache_dir, slot.python, tell) if env.demo_model else None
    try:
        ensure_humaneval(env.cache_dir)
    except SlotError as error:  # adapters are then used without this check, and their evaluation says so
        report(f"going on without HumanEval: {error}")
    return Installed(slot, demo)


def begin_database(env: Env, installed: Installed) -> Start:
    """Bring the schema up to date and make the rows that an appliance starts with."""
    connect()
    with as_operator():
        return _first_rows(env, installed)


def _first_rows(env: Env, installed: Installed) -> Start:
    from django.core.management import call_command  # noqa: PLC0415 - after Django's setup

    from appliance import first_rows  # noqa: PLC0415
    from appliance.fleet.dead_engines import forget_dead_engines, pool_settings  # noqa: PLC0415
    from appliance.fleet.storage import mark_storage  # noqa: PLC0415

    call_command("migrate", interactive=False, verbosity=0)
    mark_storage(env.data_dir)
    forget_dead_engines(pool_settings(env))
    call_command("collectstatic", interactive=False, verbosity=0)
    record = installed.slot.record
    slot = first_rows.register_slot(
        record.name, record.flavour, record.vllm_version, installed.slot.path, record.digest
    )
    first_rows.ensure_base()
    if installed.demo is None:
        return Start(None, None)
    demo = preset(DEMO_MODEL)
    model = first_rows.register_model(
        DEMO_MODEL,
        installed.demo,
        manifest.read(installed.demo).digest,
        DEMO_MODEL,
        demo.context.default,
        demo.fim is not None,
    )
    wanted = first_rows.ensure_deployment(model, slot, flags_for(demo, DEMO_PROFILE), demo.context.default)
    login = first_rows.ensure_first_login(env.data_dir / "first-login.json")
    return Start(login, DEMO_MODEL if wanted.running else None)
