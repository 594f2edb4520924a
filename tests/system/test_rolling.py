"""A rolling restart of two real engines on the running appliance, under requests of which none may fail."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from tests.system.appliance import DEMO, Appliance, until
from tests.system.conftest import Cast

pytestmark = [pytest.mark.appliance, pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(3000)]
READY_S = 1200  # two engines that start beside one that answers, on two cores
PAUSE_S = 0.2


def ready(appliance: Appliance) -> dict[int, str]:
    """The lives of the engines that serve the demo model, by the replica's index."""
    rows = appliance.sql(
        "SELECT r.index, r.life_id::text FROM fleet_replica r JOIN fleet_deployment d ON d.id = r.deployment_id"
        " WHERE d.name = %s AND d.running AND r.state = 'ready'",
        DEMO,
    )
    return {int(index): str(life) for index, life in rows}


@pytest.fixture
def two(appliance: Appliance) -> Iterator[dict[int, str]]:
    """Two engines of the demo model, one again afterwards; their lives."""
    appliance.wait_ready()
    assert appliance.cli("model", "scale", DEMO, "2").returncode == 0
    yield until(lambda: ready(appliance), lambda lives: len(lives) == 2, READY_S, 0.5)
    assert appliance.cli("model", "scale", DEMO, "1").returncode == 0
    until(lambda: ready(appliance), lambda lives: set(lives) == {0}, READY_S, 0.5)


def test_two_engines_are_replaced_one_by_one_and_no_request_fails(
    appliance: Appliance, cast: Cast, two: dict[int, str]
) -> None:
    over = threading.Event()
    statuses: list[int] = []

    def ask(name: str) -> None:
        for number in itertools.count():
            if over.is_set():
                return
            body = {"model": DEMO, "prompt": f"{name}, line {number}:", "max_tokens": 8, "ignore_eos": True}
            statuses.append(appliance.request("POST", "/v1/completions", body, cast.alpha)[0])
            over.wait(PAUSE_S)

    asking = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two", "three")]
    for thread in asking:
        thread.start()
    served: list[int] = []

    def look() -> dict[int, str]:
        lives = ready(appliance)
        served.append(len(lives))
        return lives

    try:
        assert appliance.cli("model", "restart", DEMO).returncode == 0
        after = until(look, lambda lives: len(lives) == 2 and not set(lives.values()) & set(two.values()), READY_S, 0.5)
    finally:
        over.set()
        for thread in asking:
            thread.join()
    assert set(after) == {0, 1}
    assert min(served) == 1, "one at a time"
    assert len(statuses) > 20
    assert set(statuses) == {200}
