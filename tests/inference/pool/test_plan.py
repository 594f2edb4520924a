"""The pure plan: what has to happen next, for made-up fleets and for the rules that hold for all of them."""

from dataclasses import replace

from hypothesis import given

from inference.devices import DeviceInfo, DeviceProcess
from inference.pool.plan import Create, Delete, Drain, MarkFailed, Start, Stop, plan
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


def test_it_creates_a_replica_on_the_first_free_devices():
    taken = row(S.READY, devices=("cpu:0",), deployment_id="other")
    actions = plan([deployment("other"), deployment(devices_each=2)], map(device, range(4)), [taken], NOW)
    assert actions == [Create("lite", 0, ("cpu:1", "cpu:2"))]


def test_it_starts_a_replica_that_stands_still():
    assert plan([deployment()], [device(0)], [row(S.STOPPED)], NOW) == [Start(row().id, "lite")]


def test_it_starts_again_what_a_dead_supervisor_was_about_to_start():
    assert plan([deployment()], [device(0)], [row(S.STARTING)], NOW) == [Start(row().id, "lite")]


def test_it_waits_for_the_end_of_the_back_off():
    failed = row(S.FAILED, next_start_at=NOW + 1)
    assert plan([deployment()], [device(0)], [failed], NOW) == []
    assert plan([deployment()], [device(0)], [failed], NOW + 1) == [Start(failed.id, "lite")]


def test_it_drains_what_serves_and_stops_what_does_not_yet():
    serving, loading = row(S.READY, index=0), row(S.LOADING, devices=("cpu:1",), index=1)
    actions = plan([deployment(running=False)], map(device, range(2)), [serving, loading], NOW)
    assert [type(action) for action in actions] == [Drain, Stop]


def test_it_leaves_a_draining_replica_to_its_end():
    assert plan([], [device(0)], [row(S.DRAINING)], NOW) == []


def test_it_deletes_what_has_ended_and_is_not_wanted():
    ended = [row(S.STOPPED), row(S.FAILED, devices=(), index=1)]
    assert plan([], [device(0)], ended, NOW) == [Delete(entry.id) for entry in ended]


def test_it_scales_down_from_the_highest_index():
    rows = [row(S.READY, devices=(f"cpu:{index}",), index=index) for index in range(3)]
    actions = plan([deployment(replicas=1)], map(device, range(3)), rows, NOW)
    assert [action.replica_id for action in actions] == [rows[1].id, rows[2].id]


def test_it_says_why_devices_are_missing():
    waiting = row(S.STOPPED, devices=())
    [action] = plan([deployment(devices_each=3)], [device(0), device(1, healthy=False)], [waiting], NOW)
    assert action == MarkFailed(
        waiting.id,
        S.STOPPED,
        "not enough devices: it needs 3; 2 here, 0 taken, 1 not healthy, 1 free; cpu:1 is not healthy: ECC",
    )


def test_it_places_a_waiting_replica_once_there_are_devices():
    waiting = row(S.FAILED, devices=(), reason="not enough devices")
    assert plan([deployment()], [device(0)], [waiting], NOW) == [Delete(waiting.id)]


def test_it_takes_a_replica_off_a_device_that_is_gone_or_ill():
    rows = [row(S.READY, devices=("cpu:0",), index=0), row(S.READY, devices=("cpu:1",), index=1)]
    actions = plan([deployment(replicas=2)], [device(1, healthy=False)], rows, NOW)
    reasons = sorted(action.reason for action in actions if isinstance(action, Drain))
    assert reasons == ["device cpu:0 is gone", "device cpu:1 is not healthy: ECC"]


def test_it_gives_a_disputed_device_to_the_one_that_runs():
    running = row(S.READY, deployment_id="old")
    claimant = row(S.STOPPED)
    actions = plan([deployment(), deployment("old")], [device(0)], [claimant, running], NOW)
    assert Delete(claimant.id) in actions
    assert not any(isinstance(action, Start | Drain) for action in actions)


def test_it_leaves_a_device_alone_that_is_lent_to_a_fine_tune():
    assert plan([deployment()], map(device, range(2)), [], NOW, {"cpu:0"}) == [Create("lite", 0, ("cpu:1",))]
    waiting = row(S.STOPPED, devices=())
    [action] = plan([deployment()], [device(0)], [waiting], NOW, {"cpu:0"})
    shortage = "not enough devices: it needs 1; 1 here, 1 taken (1 by fine-tunes), 0 not healthy, 0 free"
    assert action == MarkFailed(waiting.id, S.STOPPED, shortage)


def test_it_takes_a_device_that_was_given_back():
    waiting = row(S.FAILED, devices=(), reason="not enough devices")
    assert plan([deployment()], [device(0)], [waiting], NOW, ()) == [Delete(waiting.id)]


def card(number, foreign_gib=0, group="", healthy=True):
    others = (DeviceProcess(4711, "python", foreign_gib * GIB),) if foreign_gib else ()
    reason = "" if healthy else "XID 79"
    return DeviceInfo(
        f"nvidia:{number}", "nvidia", "H20", 96 * GIB, group=group, foreign=others, healthy=healthy, reason=reason
    )


def test_it_places_nothing_where_others_left_too_little_memory():
    shares = {"lite": 0.9}
    cards = [card(0, foreign_gib=10), card(1, foreign_gib=9)]
    assert plan([deployment()], cards, [], NOW, (), shares) == [Create("lite", 0, ("nvidia:1",))]
    waiting = row(S.STOPPED, devices=())
    [action] = plan([deployment()], cards[:1], [waiting], NOW, (), shares)
    assert action.reason == (
        "not enough devices: it needs 1; 1 here, 0 taken, 0 not healthy, 1 free; "
        "nvidia:0 has 10 of its 96 GiB taken by others (python 4711), an engine takes 87"
    )
    assert plan([deployment()], cards[:1], [], NOW, (), {"lite": 0.5}) == [Create("lite", 0, ("nvidia:0",))]


def test_it_moves_an_engine_that_does_not_run_and_no_other_away_from_crowded_devices():
    cards = [card(0, foreign_gib=50), card(1)]
    stopped, serving = row(S.FAILED, ("nvidia:0",)), row(S.READY, ("nvidia:0",))
    assert plan([deployment()], cards, [stopped], NOW, (), {"lite": 0.9}) == [
        Delete(stopped.id),
        Create("lite", 0, ("nvidia:1",)),
    ]
    assert plan([deployment()], cards, [serving], NOW, (), {"lite": 0.9}) == []


def test_a_process_that_does_not_tell_its_memory_counts_with_all_that_is_used():
    unknown = replace(card(0), foreign=(DeviceProcess(1),), memory_used_bytes=50 * GIB)
    assert unknown.foreign_bytes == 50 * GIB
    assert card(0, foreign_gib=3).foreign_bytes == 3 * GIB
    assert card(0).foreign_bytes == 0


def test_it_takes_linked_devices_for_one_engine():
    cards = [card(n, group=f"nvlink-{n // 3}") for n in range(6)] + [card(n, group="nvlink-2") for n in (6, 7)]
    assert plan([deployment(devices_each=2)], cards, [], NOW) == [Create("lite", 0, ("nvidia:6", "nvidia:7"))]
    assert plan([deployment(devices_each=3)], cards, [], NOW) == [
        Create("lite", 0, ("nvidia:0", "nvidia:1", "nvidia:2"))
    ]
    whole = tuple(f"nvidia:{n}" for n in range(4))
    assert plan([deployment(devices_each=4)], cards, [], NOW) == [Create("lite", 0, whole)], "no group has four"


def test_it_goes_to_a_healthy_card_and_stays_off_the_ill_one():
    ill, well = card(0, healthy=False), card(1)
    serving = row(S.READY, ("nvidia:0",))
    assert plan([deployment()], [ill, well], [serving], NOW) == [
        Drain(serving.id, "device nvidia:0 is not healthy: XID 79")
    ]
    ended = replace(serving, state=S.STOPPED, life=None)
    assert plan([deployment()], [ill, well], [ended], NOW) == [Delete(ended.id), Create("lite", 0, ("nvidia:1",))]
    assert plan([deployment()], [ill], [ended], NOW) == [Delete(ended.id), Create("lite", 0, ())]


@given(deployments, inventories, fleets())
def test_it_never_gives_a_device_two_owners(desired, devices, rows):
    world = World(rows)
    for _ in range(4):
        for action in plan(desired, devices, world.rows.values(), NOW):
            world.apply(action)
            assert len(world.owned()) == len(set(world.owned()))


@given(deployments, inventories, fleets())
def test_it_never_makes_a_second_row_for_a_place(desired, devices, rows):
    rows = list({(entry.deployment_id, entry.index): entry for entry in rows}.values())  # as the database has them
    world = World(rows)
    for action in plan(desired, devices, rows, NOW):
        if not isinstance(action, Drain | Stop):  # what drains is still there for a while
            world.apply(action)
    assert not world.doubled


@given(deployments, inventories, fleets(), loans)
def test_it_never_uses_a_device_that_is_lent(desired, devices, rows, lent):
    world = World([entry for entry in rows if not lent & set(entry.devices)])
    for _ in range(12):
        for action in plan(desired, devices, world.rows.values(), NOW, lent):
            world.apply(action)
            assert not lent & set(world.owned())
            assert len(world.owned()) == len(set(world.owned()))
        world.let_drains_end()


@given(deployments, inventories, fleets(), loans)
def test_it_starts_nothing_on_a_device_that_is_lent(desired, devices, rows, lent):
    by_id = {entry.id: entry for entry in rows}
    for action in plan(desired, devices, rows, NOW, lent):
        if isinstance(action, Start):
            assert not lent & set(by_id[action.replica_id].devices)


@given(deployments, inventories, fleets())
def test_it_comes_to_rest_and_then_changes_nothing(desired, devices, rows):
    world = World(rows)
    for _ in range(12):
        actions = plan(desired, devices, world.rows.values(), NOW + 10)
        for action in actions:
            world.apply(action)
        world.let_drains_end()
    assert actions == []
    wanted = {(d.id, index) for d in desired if d.running for index in range(d.replicas)}
    assert {(entry.deployment_id, entry.index) for entry in world.rows.values()} == wanted
    healthy = {device.id for device in devices if device.healthy}
    assert all(set(entry.devices) <= healthy for entry in world.rows.values() if entry.life)


@given(deployments, inventories, fleets())
def test_it_says_the_same_for_the_same_fleet_in_any_order(desired, devices, rows):
    first = plan(desired, devices, rows, NOW)
    second = plan(desired, reversed(devices), reversed(rows), NOW)
    assert set(first) == set(second)


@given(deployments, inventories, fleets())
def test_it_has_at_most_one_action_for_a_replica(desired, devices, rows):
    touched = [a.replica_id for a in plan(desired, devices, rows, NOW) if not isinstance(a, Create)]
    assert len(touched) == len(set(touched))
