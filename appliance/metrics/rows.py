"""Figures that are read from rows when somebody asks, at most every few seconds, on a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger("coderack.metrics")
KEPT_S = 5.0
WAIT_S = 3.0  # less than the gateway waits for a page


@dataclass(frozen=True)
class Figure:
    """A gauge by name, before anybody has looked at a row."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()

    def of(self, *values: tuple[tuple[str, ...], float]) -> Metric:
        """With its values, each by its labels."""
        family = GaugeMetricFamily(self.name, self.meaning, labels=self.labels)
        for labels, value in values:
            family.add_metric(labels, value)
        return family

    def is_(self, value: float) -> Metric:
        """With its one value, where it has no labels."""
        return self.of(((), value))


class Rows(Collector):
    """What `read` yields. While the database is away there are no such figures: old ones would look like new."""

    def __init__(self, figures: tuple[Figure, ...], read: Callable[[], Iterator[Metric]]) -> None:
        self._figures = figures
        self._read = read
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._until = 0.0

    def describe(self) -> list[Metric]:
        """prometheus_client: asked when it is registered; the database is not asked for that."""
        return [figure.of() for figure in self._figures]

    def collect(self) -> Iterator[Metric]:
        """prometheus_client: the figures."""
        yield from self._present()

    def _present(self) -> list[Metric]:
        if not self._lock.acquire(timeout=WAIT_S):
            return []  # a scrape before this one hangs on the database; more and more would wait behind it
        try:
            if time.monotonic() >= self._until:
                self._kept = self._fresh()
                self._until = time.monotonic() + KEPT_S
            return self._kept
        finally:
            self._lock.release()

    def _fresh(self) -> list[Metric]:
        try:
            return list(self._read())
        except Error as error:
            log.warning("no figures from the database: %s", str(error).partition("\n")[0])
            return []
        finally:
            connection.close()  # the page's threads live for one answer
