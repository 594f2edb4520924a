"""`manage.py run_pool`: keeps the engines as the deployments want them."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from appliance.fleet.store import DatabaseStore
from inference.pool import PoolSettings, run_pool
from inference.pool.errors import AnotherPoolRuns


class Command(BaseCommand):
    """Supervise the engines until SIGTERM, which leaves them running, or until the appliance is to stop."""

    help = "Start, watch, restart and drain the engines of all deployments; runs until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the pool with the database as its store."""
        env = settings.ENV
        kind, _, count = env.devices.partition(":")
        pool = PoolSettings(
            data_dir=env.data_dir,
            run_dir=env.run_dir,
            journal_dir=env.journal_dir,
            device_kind=kind,
            cpu_devices=int(count) if count else None,
        )
        try:
            sys.exit(run_pool(DatabaseStore(env.run_dir / "stopping"), pool))
        except AnotherPoolRuns as error:
            raise CommandError(str(error)) from None
