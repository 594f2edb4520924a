"""`manage.py run_pool`: keeps the engines as the deployments want them."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from appliance.fleet.attached_store import AttachedRows
from appliance.fleet.dead_engines import pool_settings
from appliance.fleet.merging import Merging
from appliance.fleet.store import DatabaseStore
from appliance.metrics.show import show
from inference.pool import metrics, run_pool
from inference.pool.errors import AnotherPoolRuns


class Command(BaseCommand):
    """Supervise the engines until SIGTERM, which leaves them running, or until the appliance is to stop."""

    help = "Start, watch, restart and drain the engines of all deployments; runs until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the pool with the database as its store."""
        env = settings.ENV
        try:
            store = DatabaseStore(env.run_dir / "stopping")
            merging = Merging(env.data_dir)

            def sole() -> None:
                show(env.metrics_dir, "pool", metrics.REGISTRY)
                merging.start()

            status = run_pool(store, pool_settings(env), sole, AttachedRows(store))
            merging.leave()
            sys.exit(status)
        except AnotherPoolRuns as error:
            raise CommandError(str(error)) from None
