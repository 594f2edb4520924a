"""Engines are started anew in another way one after the other, and somebody always serves."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from inference.pool import rolling
from inference.pool.plan import NOT_WANTED, Create, Drain, Stop, others_serve, plan
from tests.inference.pool.fleets import NOW, S, World, deployment, device, row

OLD = "an older way"


def ready(index, way=OLD, number=None):
    return row(S.READY, (f"cpu:{index if number is None else number}",), index, way=way)


def test_of_several_one_makes_way_at_a_time():
    rows = [ready(0), ready(1), ready(2)]
    actions = plan([deployment(replicas=3)], map(device, range(3)), rows, NOW)
    assert actions == [Drain(rows[0].id, rolling.REASON)]


def test_the_next_waits_until_the_one_before_serves_again():
    wanted = deployment(replicas=2)
    for state in (S.DRAINING, S.LOADING, S.WARMING, S.FAILED):
        on_its_way = row(state, ("cpu:0",), 0, way=wanted.way, next_start_at=NOW + 60)
        assert plan([wanted], map(device, range(2)), [on_its_way, ready(1)], NOW) == []
    again = ready(0, wanted.way)
    assert plan([wanted], map(device, range(2)), [again, ready(1)], NOW) == [Drain(ready(1).id, rolling.REASON)]


def test_an_engine_that_serves_nobody_yet_is_stopped_at_once():
    loading = row(S.LOADING, ("cpu:0",), 0, way=OLD)
    assert plan([deployment()], [device(0)], [loading], NOW) == [Stop(loading.id, rolling.REASON)]


def test_an_engine_of_which_nobody_knows_how_it_was_started_stays():
    assert plan([deployment()], map(device, range(2)), [ready(0, way="")], NOW) == []


def test_a_single_one_gets_a_second_beside_it_first():
    wanted, old = deployment(), ready(0)
    assert plan([wanted], map(device, range(2)), [old], NOW) == [Create("lite", rolling.BESIDE, ("cpu:1",))]
    loading = row(S.LOADING, ("cpu:1",), rolling.BESIDE, way=wanted.way)
    assert plan([wanted], map(device, range(2)), [old, loading], NOW) == []
    beside = ready(rolling.BESIDE, wanted.way, 1)
    assert plan([wanted], map(device, range(2)), [old, beside], NOW) == [Drain(old.id, rolling.REASON)]
    restarting = row(S.LOADING, ("cpu:0",), 0, way=wanted.way)
    assert plan([wanted], map(device, range(2)), [restarting, beside], NOW) == []
    assert plan([wanted], map(device, range(2)), [ready(0, wanted.way), beside], NOW) == [
        Drain(beside.id, "not wanted any more")
    ]


def test_a_single_one_without_room_beside_it_serves_on():
    assert plan([deployment()], [device(0)], [ready(0)], NOW) == []
    assert plan([deployment()], map(device, range(2)), [ready(0)], NOW, {"cpu:1"}) == []


def test_a_pause_has_to_be_allowed():
    allowed = deployment(may_pause=True)
    assert plan([allowed], map(device, range(2)), [ready(0)], NOW) == [Drain(ready(0).id, rolling.REASON)]


def test_a_stand_in_takes_no_devices_that_a_replica_is_to_get():
    other = deployment("another")
    actions = plan([deployment(), other], map(device, range(2)), [ready(0)], NOW)
    assert actions == [Create("another", 0, ("cpu:1",))]


def test_a_deployment_that_ends_takes_its_stand_in_along():
    beside = ready(rolling.BESIDE, number=1)
    actions = plan([deployment(running=False)], map(device, range(2)), [ready(0), beside], NOW)
    assert {action.replica_id for action in actions} == {ready(0).id, beside.id}


@given(st.integers(1, 4), st.integers(1, 2), st.integers(0, 4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_somebody_always_serves_and_in_the_end_all_run_in_the_new_way(replicas, devices_each, spare, already):
    wanted = deployment(replicas=replicas, devices_each=devices_each)
    devices = [device(number) for number in range(replicas * devices_each + spare)]
    rows = [
        row(
            S.READY,
            tuple(f"cpu:{number}" for number in range(index * devices_each, (index + 1) * devices_each)),
            index,
            way=wanted.way if already[index] else OLD,
        )
        for index in range(replicas)
    ]
    world = World(rows, [wanted])
    actions = [None]
    for _ in range(40):
        actions = plan([wanted], devices, world.rows.values(), NOW)
        for action in actions:
            world.apply(action)
            assert len(world.owned()) == len(set(world.owned()))
            assert any(entry.state is S.READY for entry in world.rows.values())
    assert actions == []
    has_room = replicas > 1 or spare >= devices_each
    ways = {entry.life.way for entry in world.rows.values()}
    assert ways == {wanted.way} or (not has_room and ways == {OLD})
    assert {entry.index for entry in world.rows.values()} == set(range(replicas))


@given(st.integers(2, 4))
def test_an_engine_that_does_not_come_up_ends_it_there(replicas):
    wanted = deployment(replicas=replicas)
    devices = [device(number) for number in range(replicas)]
    world = World([ready(index) for index in range(replicas)], [wanted])
    for _ in range(10):
        for action in plan([wanted], devices, world.rows.values(), NOW):
            world.apply(action)
        for entry in world.rows.values():
            if entry.life and entry.life.way == wanted.way:
                world.rows[entry.id] = replace(entry, state=S.FAILED, life=None, next_start_at=NOW + 60)
    assert sum(entry.state is S.READY for entry in world.rows.values()) == replicas - 1


def test_a_number_changed_meanwhile_does_not_end_the_only_one_that_serves():
    wanted = deployment(replicas=2)
    restarting = row(S.LOADING, ("cpu:0",), 0, way=wanted.way)
    beside = ready(rolling.BESIDE, wanted.way, 1)
    actions = plan([wanted], map(device, range(3)), [restarting, beside], NOW)
    assert actions == [Create("lite", 1, ("cpu:2",))]
    there = ready(0, wanted.way)
    assert Drain(beside.id, NOT_WANTED) in plan([wanted], map(device, range(3)), [there, beside], NOW)


def test_fewer_are_wanted_while_one_is_being_replaced():
    wanted = deployment(replicas=1)
    rows = [row(S.LOADING, ("cpu:0",), 0, way=wanted.way), ready(1), ready(2)]
    assert plan([wanted], map(device, range(3)), rows, NOW) == [Drain(rows[2].id, NOT_WANTED)]
    rows[0] = ready(0, wanted.way)
    assert set(plan([wanted], map(device, range(3)), rows[:2], NOW)) == {Drain(rows[1].id, NOT_WANTED)}


def test_the_last_one_gives_its_devices_to_one_that_waits_for_them():
    waiting = row(S.FAILED, (), 0, reason="not enough devices")
    last = ready(1, number=0)
    assert Drain(last.id, NOT_WANTED) in plan([deployment(replicas=1)], [device(0)], [waiting, last], NOW)


def test_requests_may_take_their_time_where_others_serve():
    assert others_serve(deployment(), rolling.REASON)
    assert others_serve(deployment(replicas=2, may_pause=True), rolling.REASON)
    assert others_serve(deployment(replicas=2), NOT_WANTED)
    assert not others_serve(deployment(may_pause=True), rolling.REASON)
    assert not others_serve(deployment(replicas=0), NOT_WANTED)
    assert not others_serve(deployment(running=False), NOT_WANTED)
    assert not others_serve(deployment(replicas=2), "device cpu:0 is not healthy: ECC")


def test_nobody_makes_way_for_one_that_lacks_adapters():
    wanted, old = deployment(), ready(0)
    beside = ready(rolling.BESIDE, wanted.way, 1)
    devices = [device(0), device(1)]
    assert plan([wanted], devices, [old, beside], NOW, loading={beside.id}) == []
    assert plan([wanted], devices, [old, beside], NOW, loading={old.id}) == [Drain(old.id, rolling.REASON)]
    again = ready(0, wanted.way)
    assert plan([wanted], devices, [again, beside], NOW, loading={again.id}) == []
    assert plan([wanted], devices, [again, beside], NOW) == [Drain(beside.id, NOT_WANTED)]
