"""What the supervisor reads again, and what it does not."""

from collections import Counter

import pytest

from inference.pool.reading import Reading
from inference.pool.store import DesiredAdapter
from tests.inference.pool.fleets import deployment
from tests.inference.pool.table_store import TableStore


class CountedStore(TableStore):
    """Counts what it is asked; `fault` is raised by the next question for replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Counter()
        self.fault = None

    def stamp(self):
        self.asked["stamp"] += 1
        return super().stamp()

    def replicas(self):
        self.asked["replicas"] += 1
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return super().replicas()


def test_at_rest_it_asks_for_the_stamp_alone():
    store = CountedStore()
    reading = Reading(store)
    first = reading.read()
    assert all(reading.read() is first for _ in range(10))
    assert store.asked == {"stamp": 11, "replicas": 1}


def test_it_sees_each_kind_of_change_with_the_next_look(tmp_path):
    store = CountedStore()
    reading = Reading(store)
    reading.read()
    with store.open() as tables:
        tables.desired = [deployment()]
    assert [wanted.id for wanted in reading.read().desired] == ["lite"]
    row = store.create_replica("lite", 0, ("cpu:0",))
    assert [known.id for known in reading.read().rows] == [row.id]
    with store.open() as tables:
        tables.leased = {"cpu:1"}
    assert reading.read().leased == {"cpu:1"}
    with store.open() as tables:
        tables.adapters = [DesiredAdapter("1", "ft:1", "lite", tmp_path, "d", 4)]
    assert [adapter.id for adapter in reading.read().adapters] == ["1"]


def test_a_failed_reading_is_not_taken_for_one():
    store = CountedStore()
    reading = Reading(store)
    reading.read()
    row = store.create_replica("lite", 0, ("cpu:0",))
    store.fault = ConnectionError("the database is away")
    with pytest.raises(ConnectionError):
        reading.read()
    assert [known.id for known in reading.read().rows] == [row.id]


def test_it_reads_everything_anew_after_a_while():
    store = CountedStore()
    reading = Reading(store, anew_s=0)
    for _ in range(3):
        reading.read()
    assert store.asked["replicas"] == 3
