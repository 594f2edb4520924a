"""The pure decision what an engine loads next, for made-up engines and for the rules that hold for all of them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from inference.pool.adapters import Confirm, Failure, Forget, Load, Unload, decide, failed_again, next_retry
from inference.pool.store import DesiredAdapter

NOW = 100.0


def adapter(number, folder="/a"):
    return DesiredAdapter(str(number), f"ft:lite:acme:x:{number}", "lite", Path(folder) / str(number), "d", 8)


ONE, TWO = adapter(1), adapter(2)


def test_it_loads_what_is_missing():
    assert decide((ONE, TWO), {ONE.name: str(ONE.path)}, {ONE.id: True}, {}, NOW) == [Load(TWO)]


def test_it_takes_an_adapter_off_the_record_before_it_unloads_it():
    assert decide((), {ONE.name: str(ONE.path)}, {ONE.id: True}, {}, NOW) == [Forget(ONE.id), Unload(ONE.name)]


def test_it_verifies_what_a_dead_pool_has_loaded_and_not_recorded():
    assert decide((ONE,), {ONE.name: str(ONE.path)}, {}, {}, NOW) == [Confirm(ONE)]


def test_it_does_not_serve_the_same_name_from_another_path():
    actions = decide((ONE,), {ONE.name: "/elsewhere"}, {ONE.id: True}, {}, NOW)
    assert actions == [Forget(ONE.id), Unload(ONE.name)]


def test_it_unloads_what_did_not_stand_up_to_verification():
    failures = {ONE: Failure(1, NOW + 5)}
    assert decide((ONE,), {ONE.name: str(ONE.path)}, {ONE.id: False}, failures, NOW) == [Unload(ONE.name)]


def test_it_believes_the_engine_and_not_the_row():
    assert decide((ONE,), {}, {ONE.id: True}, {}, NOW) == [Forget(ONE.id), Load(ONE)]


def test_it_waits_for_the_end_of_the_back_off():
    failures = {ONE: Failure(1, NOW + 1)}
    assert decide((ONE,), {}, {ONE.id: False}, failures, NOW) == []
    assert decide((ONE,), {}, {ONE.id: False}, failures, NOW + 1) == [Load(ONE)]
    assert next_retry((ONE, TWO), failures) == NOW + 1
    assert next_retry((TWO,), failures) is None


def test_it_waits_longer_after_each_failure():
    first = failed_again(None, NOW)
    second = failed_again(first, NOW)
    assert (first.retry_at - NOW, second.retry_at - NOW) == (1, 2)


# The rules for all engines: a small world applies the actions the way the loader would.

numbers = st.integers(0, 4)
wishes = st.lists(numbers, unique=True, max_size=5).map(lambda chosen: tuple(map(adapter, chosen)))
engines = st.dictionaries(numbers, st.sampled_from(["/a", "/b"])).map(
    lambda folders: {adapter(n).name: str(adapter(n, folder).path) for n, folder in folders.items()}
)
records = st.dictionaries(numbers.map(str), st.booleans())
broken = st.sets(numbers.map(str))


class World:
    def __init__(self, listed, recorded, broken):
        self.listed, self.recorded, self.broken = dict(listed), dict(recorded), broken
        self.failures = {}
        self.verified = set()

    def decide(self, desired, now=NOW):
        return decide(desired, self.listed, self.recorded, self.failures, now)

    def apply(self, action):
        match action:
            case Forget(adapter_id):
                del self.recorded[adapter_id]
            case Unload(name):
                del self.listed[name]
            case Load(adapter) | Confirm(adapter):
                good = adapter.id not in self.broken
                if good:
                    self.listed[adapter.name] = str(adapter.path)
                    self.verified.add(adapter.id)
                else:
                    self.failures[adapter] = failed_again(self.failures.get(adapter), NOW)
                self.recorded[adapter.id] = good


@given(wishes, engines, records, broken)
def test_it_comes_to_rest_with_what_is_wanted_and_nothing_else(desired, listed, recorded, broken):
    world = World(listed, recorded, broken)
    believed = {entry.id for entry in desired if recorded.get(entry.id) and listed.get(entry.name) == str(entry.path)}
    for _ in range(40):
        actions = world.decide(desired)
        if not actions:
            break
        world.apply(actions[0])
    assert world.decide(desired) == []
    good = {entry.name: str(entry.path) for entry in desired if entry.id not in broken or entry.id in believed}
    assert world.listed == good
    assert world.recorded == {entry.id: entry.name in good for entry in desired}


@given(wishes, engines, records, broken)
def test_no_row_ever_says_more_than_the_engine_has(desired, listed, recorded, broken):
    world = World(listed, recorded, broken)
    by_id = {entry.id: entry for entry in map(adapter, range(5))}
    settled = False
    for _ in range(40):
        actions = world.decide(desired)
        settled = settled or not any(isinstance(action, Forget) for action in actions)
        if settled:
            loaded = [by_id[adapter_id] for adapter_id, is_loaded in world.recorded.items() if is_loaded]
            assert all(world.listed.get(entry.name) == str(entry.path) for entry in loaded)
            assert {entry.id for entry in loaded} <= {entry.id for entry in desired}
        if actions:
            world.apply(actions[0])


@given(wishes, engines, records)
def test_it_never_loads_what_nobody_wants_nor_unloads_what_serves(desired, listed, recorded):
    for action in decide(desired, listed, recorded, {}, NOW):
        match action:
            case Load(adapter) | Confirm(adapter):
                assert adapter in desired
            case Unload(name):
                assert not any(entry.name == name and listed[name] == str(entry.path) for entry in desired)
