"""`manage.py run_meter`: keeps moving usage from the journals to the ledger, settles what killed gateway workers left, and
tells Redis what the limits need of it. Once a minute the books are held against the engines' counters. Conversations that
tenants asked to have kept are listed and ended in time here, too.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from datetime import timedelta
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connections
from django.utils import timezone

from appliance.conversations.keeper import Keeper
from appliance.conversations.place import vault
from appliance.ledger import metrics
from appliance.ledger.meter import ship_all
from appliance.ledger.reconcile import lives_since
from appliance.ledger.seeds import TIMEOUT_S, seed
from appliance.ledger.sweep import Sweeper
from appliance.metrics.show import show

log = logging.getLogger("coderack.meter")
PERIOD_S = 0.5
SEED_EVERY_S = 30.0
COMPARE_EVERY_S = 60.0
COMPARED = timedelta(days=1)  # engines that ended longer ago are left to `coderack ledger reconcile`


class Command(BaseCommand):
    """Ship journals until told to stop, with a last pass at the end."""

    help = "Move usage from the journals to the ledger; runs until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        """Loop; a database that is away only delays."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        metrics.LAG.journal_dir = settings.ENV.journal_dir
        show(settings.ENV.metrics_dir, "meter", metrics.REGISTRY)
        client = redis.Redis.from_url(
            settings.ENV.redis_dsn(), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        sweeper = Sweeper(settings.ENV.journal_dir, client)
        keeper = Keeper(vault())
        seed_at = compare_at = 0.0
        while not stop.wait(PERIOD_S):
            self._pass(sweeper)
            keeper.work(time.monotonic())
            if time.monotonic() >= seed_at:
                seed_at = time.monotonic() + SEED_EVERY_S
                self._seed(client)
            if time.monotonic() >= compare_at:
                compare_at = time.monotonic() + COMPARE_EVERY_S
                self._compare()
        self._pass(sweeper)
        sweeper.close()

    def _seed(self, client: redis.Redis) -> None:
        try:
            if raised := seed(client, timezone.now()):
                log.warning("limits: Redis knew less than the ledger of %d counters, which were raised", raised)
        except (redis.RedisError, Error) as error:
            log.warning("limits can't be told to Redis, trying again: %s", error)

    def _compare(self) -> None:
        try:
            books = list(lives_since(timezone.now() - COMPARED))
        except Error as error:
            log.warning("the books can't be compared with the engines, trying again: %s", error)
            return
        metrics.show_books(books)
        for life in books:
            if life.overbilled:
                log.error("engine life %s: more was billed than it counted: %s", life.life_id, life.overbilled)

    def _pass(self, sweeper: Sweeper) -> None:
        close_old_connections()
        try:
            ship_all(settings.ENV.journal_dir)
            sweeper.sweep()
            metrics.LAST_PASS.set_to_current_time()
        except Error as error:
            log.warning("the ledger can't be reached, trying again: %s", error)
            metrics.FAILED_PASSES.inc()
            connections.close_all()
        except OSError as error:
            log.warning("a journal can't be read, trying again: %s", error)
            metrics.FAILED_PASSES.inc()
