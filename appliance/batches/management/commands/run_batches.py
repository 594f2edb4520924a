"""`manage.py run_batches`: works on tenants' batches, through the gateway, with what capacity is left."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from appliance.batches import metrics
from appliance.batches.client import address
from appliance.batches.serving import Batches
from appliance.metrics.show import show


class Command(BaseCommand):
    """Work until told to stop."""

    help = "Work on batches; runs until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve the metrics page, then batches."""
        show(settings.ENV.metrics_dir, "batches", metrics.REGISTRY)
        asyncio.run(_serve())


async def _serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Batches(address(settings.ENV)).serve(stop)
