"""Spread, pack and pinned: which devices an engine gets, and the rules that hold for all fleets."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from inference.devices import DeviceInfo, DeviceProcess
from inference.devices.info import on_box
from inference.pool import rolling
from inference.pool.plan import Create, Delete, Drain, plan, shortages
from tests.inference.pool.fleets import (
    GIB,
    NOW,
    S,
    World,
    deployment,
    deployments,
    device,
    fleets,
    inventories,
    loans,
    row,
)

SHARE = 0.9


def card(number, group="", foreign_gib=0):
    others = (DeviceProcess(4711, "python", foreign_gib * GIB),) if foreign_gib else ()
    return DeviceInfo(f"nvidia:{number}", "nvidia", "H20", 96 * GIB, group=group, foreign=others)


def pairs(num_groups=2, size=4):
    return [card(n, f"nvlink-{n // size}") for n in range(num_groups * size)]


def test_an_engine_never_spans_two_machines():
    four = [on_box(card(n, f"nvlink-{n // 2}"), box) for box in ("a", "b") for n in range(4)]
    held = [replace(device, healthy=device.id != "a/nvidia:0") for device in four]
    wanted = deployment("m", devices_each=4)
    [action] = [one for one in plan([wanted], held, [], NOW) if isinstance(one, Create)]
    assert action.devices == ("b/nvidia:0", "b/nvidia:1", "b/nvidia:2", "b/nvidia:3")
    [why] = shortages([deployment("m", devices_each=6)], four, []).values()
    assert "no machine has so many by itself" in why


def created(actions):
    return {(a.deployment_id, a.index): tuple(int(d.partition(":")[2]) for d in a.devices) for a in actions}


def test_packed_engines_leave_a_whole_group_to_a_large_one():
    small = [deployment("small", replicas=4, placement="pack"), deployment("large", devices_each=4)]
    assert created(plan(small, pairs(), [], NOW)) == {
        **{("small", index): (index,) for index in range(4)},
        ("large", 0): (4, 5, 6, 7),
    }


def test_packed_engines_fill_the_group_that_is_fullest_and_cards_without_links_first():
    taken = row(S.READY, ("nvidia:4",), deployment_id="other")
    wanted = [deployment("other"), deployment(placement="pack")]
    assert created(plan(wanted, pairs(), [taken], NOW)) == {("lite", 0): (5,)}
    assert created(plan(wanted, [*pairs(), card(8)], [taken], NOW)) == {("lite", 0): (8,)}


def test_spread_engines_go_to_different_groups_the_emptiest_first():
    taken = row(S.READY, ("nvidia:0",), deployment_id="other")
    wanted = [deployment("other"), deployment(replicas=3, placement="spread")]
    assert created(plan(wanted, pairs(3, 2), [taken], NOW)) == {
        ("lite", 0): (2,), ("lite", 1): (4,), ("lite", 2): (1,),
    }  # fmt: skip
    two = [deployment(replicas=2, devices_each=2, placement="spread")]
    assert created(plan(two, pairs(), [], NOW)) == {("lite", 0): (0, 1), ("lite", 1): (4, 5)}


def test_spread_engines_take_cards_on_which_others_have_least():
    cards = [card(0, foreign_gib=9), card(1)]
    assert created(plan([deployment(placement="spread")], cards, [], NOW)) == {("lite", 0): (1,)}
    linked = [card(0, "nvlink-0", foreign_gib=9), card(1, "nvlink-0")]
    assert created(plan([deployment(placement="spread")], linked, [], NOW)) == {("lite", 0): (1,)}


def test_an_engine_over_several_without_a_group_for_it_takes_unlinked_ones_or_few_groups():
    cards = [card(0, "nvlink-0"), card(1, "nvlink-1"), card(2), card(3)]
    for placement in ("pack", "spread"):
        wanted = [deployment(devices_each=2, placement=placement)]
        assert created(plan(wanted, cards, [], NOW)) == {("lite", 0): (2, 3)}
        wanted = [deployment(devices_each=5, placement=placement)]
        assert created(plan(wanted, pairs(3, 3), [], NOW)) == {("lite", 0): (0, 1, 2, 3, 4)}


def test_a_pinned_one_gets_its_devices_before_others_that_come_first():
    wanted = [deployment("first", replicas=3), deployment("pinned", pinned=("nvidia:0", "nvidia:1"), replicas=2)]
    assert created(plan(wanted, pairs(1), [], NOW)) == {
        ("pinned", 0): (0,), ("pinned", 1): (1,), ("first", 0): (2,), ("first", 1): (3,), ("first", 2): (),
    }  # fmt: skip


def test_a_pinned_one_that_is_short_takes_nothing_else_and_says_why():
    cards = [card(0), card(1), replace(card(2), healthy=False, reason="XID 79"), card(3, foreign_gib=50), card(4)]
    rows = [row(S.READY, ("nvidia:0",), deployment_id="chat")]
    pinned = deployment(devices_each=2, pinned=tuple(f"nvidia:{n}" for n in (0, 1, 2, 3, 9)))
    wanted = [deployment("chat"), pinned]
    assert created(plan(wanted, cards, rows, NOW, {"nvidia:1"}, {"lite": SHARE})) == {("lite", 0): ()}
    assert shortages(wanted, cards, rows, {"nvidia:1"}, {"lite": SHARE}) == {
        (
            "lite",
            0,
        ): "not enough devices: it needs 2 of nvidia:0, nvidia:1, nvidia:2, nvidia:3, nvidia:9, to which it is "
        "pinned; nvidia:0 is taken by chat; nvidia:1 is taken by a fine-tune; nvidia:2 is not healthy: XID 79; nvidia:3 "
        "has 50 of its 96 GiB taken by others (python 4711), an engine takes 87; nvidia:9 is not here"
    }


def test_what_a_waiting_one_is_pinned_to_is_kept_for_it():
    rows = [row(S.READY, ("nvidia:0",), deployment_id="chat")]
    wanted = [deployment("chat"), deployment("other"), deployment(devices_each=2, pinned=("nvidia:0", "nvidia:1"))]
    short = shortages(wanted, [card(0), card(1)], rows)
    assert short["other", 0] == (
        "not enough devices: it needs 1; 2 here, 1 taken, 0 not healthy, 0 free, 1 kept for pinned models; "
        "chat has nvidia:0"
    )
    assert created(plan([wanted[0], wanted[1]], [card(0), card(1)], rows, NOW)) == {("other", 0): (1,)}


def test_it_tells_who_has_the_devices():
    rows = [row(S.READY, ("cpu:0", "cpu:2"), deployment_id="chat"), row(S.DRAINING, ("cpu:1",), deployment_id="gone")]
    wanted = [deployment("chat", devices_each=2), deployment(replicas=2, devices_each=1)]
    assert shortages(wanted, map(device, range(4)), rows) == {
        ("lite", 1): "not enough devices: it needs 1; 4 here, 4 taken, 0 not healthy, 0 free; "
        "chat has cpu:0, cpu:2; an engine that ends has cpu:1; lite has cpu:3"
    }


def test_of_several_engines_one_at_a_time_moves_to_where_they_are_pinned():
    pinned = deployment(replicas=2, pinned=("cpu:2", "cpu:3"))
    rows = [row(S.READY, (f"cpu:{index}",), index) for index in range(2)]
    assert plan([pinned], map(device, range(4)), rows, NOW) == [Drain(rows[0].id, rolling.REASON)]
    ended = replace(rows[0], state=S.STOPPED, life=None)
    actions = plan([pinned], map(device, range(4)), [ended, rows[1]], NOW)
    assert actions == [Delete(ended.id), Create("lite", 0, ("cpu:2",))]
    assert plan([pinned], map(device, range(2)), rows, NOW) == [], "no place to move to"


def test_two_models_do_not_move_to_the_same_place():
    both = [deployment(name, pinned=("cpu:2",), may_pause=True) for name in ("a", "b")]
    rows = [row(S.READY, (f"cpu:{n}",), 0, name) for n, name in enumerate("ab")]
    assert plan(both, map(device, range(3)), rows, NOW) == [Drain(rows[0].id, rolling.REASON)]
    draining = [rows[0], replace(rows[1], state=S.DRAINING)]
    assert plan(both, map(device, range(3)), draining, NOW) == []


def test_a_single_one_stays_until_a_pause_is_allowed():
    serving = row(S.READY, ("cpu:0",), way="an older way")
    for free in (("cpu:1",), ("cpu:1", "cpu:2")):
        assert plan([deployment(pinned=free)], map(device, range(3)), [serving], NOW) == []
        allowed = deployment(pinned=free, may_pause=True)
        assert plan([allowed], map(device, range(3)), [serving], NOW) == [Drain(serving.id, rolling.REASON)]


def test_a_stand_in_takes_no_device_that_its_model_is_not_pinned_to():
    serving = row(S.READY, ("cpu:0",), way="an older way")
    assert plan([deployment(pinned=("cpu:0",))], map(device, range(2)), [serving], NOW) == []
    roomy = deployment(pinned=("cpu:0", "cpu:2"))
    assert plan([roomy], map(device, range(3)), [serving], NOW) == [Create("lite", rolling.BESIDE, ("cpu:2",))]


@given(deployments, inventories, fleets(), loans)
def test_a_pinned_one_is_started_on_its_devices_only(desired, devices, rows, lent):
    pinned = {d.id: set(d.pinned) for d in desired if d.pinned}
    for action in plan(desired, devices, rows, NOW, lent):
        if isinstance(action, Create):
            assert set(action.devices) <= pinned.get(action.deployment_id, set(action.devices))
    world = settled(desired, devices, rows, lent)
    before = {entry.id for entry in rows}
    for entry in world.rows.values():
        assert entry.id in before or set(entry.devices) <= pinned.get(entry.deployment_id, set(entry.devices))


@given(deployments, inventories, fleets())
def test_none_waits_for_devices_that_one_without_pins_was_just_given(desired, devices, rows):
    given_away = {
        device_id
        for action in plan(desired, devices, rows, NOW)
        if isinstance(action, Create) and not next(d.pinned for d in desired if d.id == action.deployment_id)
        for device_id in action.devices
    }
    for name, index in shortages(desired, devices, rows):
        wanted = next(d for d in desired if d.id == name)
        assert not given_away & set(wanted.pinned), (name, index)


@given(deployments, inventories, fleets(), st.lists(st.integers(0, 96), min_size=8, max_size=8), st.data())
def test_nothing_is_placed_over_a_devices_memory(desired, devices, rows, taken, data):
    filled = [
        replace(d, memory_bytes=96 * GIB, foreign=(DeviceProcess(1, "x", taken[number] * GIB),))
        for number, d in enumerate(devices)
    ]
    needs = {d.id: data.draw(st.floats(0, 1)) for d in desired}
    by_id = {d.id: d for d in filled}
    for action in plan(desired, filled, rows, NOW, (), needs):
        if isinstance(action, Create):
            for device_id in action.devices:
                whole = by_id[device_id].foreign_bytes + needs[action.deployment_id] * 96 * GIB
                assert whole <= 96 * GIB * (1 + 1e-9)


@given(deployments, inventories, fleets(), st.integers(0, 7))
def test_a_shrinking_box_comes_to_rest_without_what_is_gone(desired, devices, rows, num_left):
    before = settled(desired, devices, rows)
    left = devices[:num_left]
    world = settled(desired, left, before.rows.values())
    ids = {d.id for d in left}
    assert all(set(entry.devices) <= ids for entry in world.rows.values())
    assert plan(desired, left, world.rows.values(), NOW + 10) == []


@given(deployments, inventories, fleets(), st.sampled_from(["pack", "spread"]))
def test_another_strategy_moves_nobody(desired, devices, rows, placement):
    world = settled(desired, devices, rows)
    other = [replace(d, placement=placement) for d in desired]
    assert plan(other, devices, world.rows.values(), NOW + 10) == []


@given(deployments, inventories, fleets())
def test_a_move_to_other_pins_never_leaves_a_model_without_an_engine(desired, devices, rows):
    assume(rows)
    world = settled(desired, devices, rows)
    serving = {entry.deployment_id for entry in world.rows.values() if entry.state is S.READY}
    pinned = [replace(d, pinned=("cpu:5", "cpu:6", "cpu:7"), may_pause=False) for d in desired]
    for _ in range(20):
        for action in plan(pinned, devices, world.rows.values(), NOW):
            world.apply(action)
            assert len(world.owned()) == len(set(world.owned()))
        still = {entry.deployment_id for entry in world.rows.values() if entry.state is S.READY}
        assert serving <= still


def settled(desired, devices, rows, lent=()):
    world = World(rows)
    for _ in range(20):
        actions = plan(desired, devices, world.rows.values(), NOW + 10, lent)
        for action in actions:
            world.apply(action)
        world.let_drains_end()
    assert actions == []
    return world
