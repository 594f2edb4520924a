"""Which replicas are lent and which come back, as values; and what holds for every fleet."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.pool.lend_policy import BadWindow, Lending, Loan, Window
from inference.pool.lending import AskBack, HandOver, Lend, TakeBack, Vacate, Wake, decide
from inference.pool.plan import Delete, Drain, Start, Stop, plan
from tests.inference.pool.fleets import NOW, S, deployment, device, life, row

NOON, NIGHT = 12 * 60, 23 * 60
AT_NIGHT = Lending(1, Window.parse("22:00-06:00"))


def lending(replicas=2, policy=Lending()):  # noqa: B008 - frozen
    return deployment(replicas=replicas, lending=policy)


def ready(number, **more):
    return row(S.READY, (f"cpu:{number}",), number, **more)


def asleep(number=1, **more):
    return row(S.SLEEPING, (f"cpu:{number}",), number, **{"life": life(), "loan": Loan("job"), **more})


def test_the_replica_with_the_highest_index_is_lent_and_one_goes_on_serving():
    rows = [ready(0), ready(1)]
    assert decide([lending()], rows, ["job"], (), NOON) == [Lend(rows[1].id, "job")]
    assert decide([lending()], rows, ["job", "other"], (), NOON) == [Lend(rows[1].id, "job")]
    assert decide([lending()], rows, [], (), NOON) == []


def test_the_only_replica_is_lent_only_where_that_was_said():
    assert decide([lending(1)], [ready(0)], ["job"], (), NOON) == []
    assert decide([lending(1, Lending(0))], [ready(0)], ["job"], (), NOON) == [Lend(ready(0).id, "job")]


def test_devices_of_other_machines_are_not_lent_and_what_they_serve_counts():
    remote = row(S.READY, ("box-b/cpu:0",), 1)
    assert decide([lending()], [ready(0), remote], ["job"], (), NOON) == [Lend(ready(0).id, "job")]
    assert decide([lending()], [remote, row(S.READY, ("box-b/cpu:1",), 2)], ["job"], (), NOON) == []


def test_a_model_that_does_not_lend_keeps_its_devices():
    assert decide([deployment(replicas=2)], [ready(0), ready(1)], ["job"], (), NOON) == []


def test_one_that_lacks_adapters_is_lent_and_not_counted_on():
    rows = [ready(0), ready(1)]
    for lacks in rows:
        assert decide([lending()], rows, ["job"], (), NOON, loading={lacks.id}) == [Lend(lacks.id, "job")]
    assert decide([lending()], rows, ["job"], (), NOON, loading={row.id for row in rows}) == []


def test_nothing_is_lent_of_what_ends_just_now():
    rows = [ready(0), ready(1)]
    assert decide([lending()], rows, ["job"], (), NOON, busy={rows[0].id}) == []


def test_a_job_gets_one_loan_even_while_something_else_happens_with_its_replica():
    rows = [ready(0), ready(1), asleep(2)]
    assert decide([lending(3)], rows, ["job"], (), NOON, busy={rows[2].id}) == []


def test_a_loan_goes_on_where_a_pool_was_killed():
    marked = ready(1, loan=Loan("job"))
    assert decide([lending()], [ready(0), marked], ["job"], (), NOON) == [Vacate(marked.id, "job")]
    draining = row(S.DRAINING, ("cpu:1",), 1, loan=Loan("job"))
    assert decide([lending()], [draining], ["job"], (), NOON) == []
    for rests in (asleep(), row(S.STOPPED, ("cpu:1",), 1, loan=Loan("job"))):
        assert decide([lending()], [rests], ["job"], (), NOON) == [HandOver(rests.id, "job")]
        assert decide([lending()], [rests], [], (), NOON) == [TakeBack(rests.id)], "nobody wants it any more"


def test_devices_come_back_once_no_fine_tune_holds_them():
    lent = asleep(loan=Loan("job", given=True))
    assert decide([lending()], [lent], [], {"cpu:1"}, NOON) == []
    assert decide([lending()], [lent], [], (), NOON) == [TakeBack(lent.id)]
    back = replace(lent, loan=None)
    assert decide([lending()], [back], [], (), NOON) == [Wake(back.id)]


def test_outside_the_window_nothing_is_lent_and_what_is_lent_is_asked_back_once():
    at_night = lending(policy=AT_NIGHT)
    rows = [ready(0), ready(1)]
    assert decide([at_night], rows, ["job"], (), NOON) == []
    assert decide([at_night], rows, ["job"], (), NIGHT) == [Lend(rows[1].id, "job")]
    lent = asleep(loan=Loan("job", given=True))
    assert decide([at_night], [lent], [], {"cpu:1"}, NIGHT) == []
    [asked] = decide([at_night], [lent], [], {"cpu:1"}, NOON)
    assert asked == AskBack(lent.id, "outside the window 22:00-06:00")
    assert decide([at_night], [replace(lent, loan=Loan("job", True, True))], [], {"cpu:1"}, NOON) == []
    [asked] = decide([deployment(replicas=2)], [lent], [], {"cpu:1"}, NOON)
    assert asked == AskBack(lent.id, "the model lends no longer")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("22:00-06:00", (1320, 1439, 0, 359), (360, 1319)), ("09:30-17:00", (570, 1019), (569, 1020, 0))],
)
def test_a_window_may_go_over_midnight(text, inside, outside):
    window = Window.parse(text)
    assert str(window) == text
    assert all(window.has(minute) for minute in inside)
    assert not any(window.has(minute) for minute in outside)


@pytest.mark.parametrize(
    "text", ["", "22-6", "24:00-06:00", "22:00-06:60", "22:00 - 06:00", "06:00-06:00", "x22:00-06:00"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(BadWindow):
        Window.parse(text)


# --- what the plan does with replicas that are lent


def test_the_plan_leaves_a_lent_replica_alone():
    for lent in (asleep(loan=Loan("job", given=True)), row(S.STOPPED, ("cpu:1",), 1, loan=Loan("job", given=True))):
        rows = [ready(0), lent]
        assert plan([lending()], map(device, range(3)), rows, NOW, {"cpu:1"}) == []


def test_the_plan_starts_what_was_ended_once_it_is_back():
    back = row(S.STOPPED, ("cpu:1",), 1)
    assert plan([lending()], map(device, range(2)), [ready(0), back], NOW) == [Start(back.id, "lite")]


def test_a_lent_replica_of_a_withdrawn_model_goes():
    lent = asleep(loan=Loan("job", given=True))
    [ending] = plan([deployment(running=False)], map(device, range(2)), [lent], NOW, {"cpu:1"})
    assert isinstance(ending, Stop)
    ended = row(S.STOPPED, ("cpu:1",), 1, loan=Loan("job", given=True))
    assert plan([deployment(running=False)], map(device, range(2)), [ended], NOW, {"cpu:1"}) == [Delete(ended.id)]


def test_nobody_is_started_anew_while_another_one_is_lent():
    old = [row(S.READY, (f"cpu:{n}",), n, way="old") for n in (0, 1)]
    for lent in (asleep(2, loan=Loan("job", given=True)), ready(2, loan=Loan("job"))):
        actions = plan([lending(3)], map(device, range(3)), [*old, lent], NOW, {"cpu:2"})
        assert not any(isinstance(action, Drain) for action in actions)


# --- rules that hold for all fleets

jobs = st.sampled_from(["a", "b", "c", "d"])
policies = st.none() | st.builds(Lending, st.integers(0, 3), st.none() | st.just(Window.parse("22:00-06:00")))
wished = st.lists(jobs, unique=True)
FEW = settings(max_examples=60)


@st.composite
def lenders(draw):
    """Two deployments, their replicas in any state that a correct pool can leave, and the devices that are leased."""
    desired = [
        deployment(name, draw(st.integers(0, 4)), running=draw(st.booleans()), lending=draw(policies)) for name in "xy"
    ]
    rows, leased, borrowers = [], set(), draw(st.permutations(["a", "b", "c", "d"]))
    for number in range(draw(st.integers(0, 6))):
        state = draw(st.sampled_from(list(S)))
        given = state in {S.SLEEPING, S.STOPPED, S.FAILED} and draw(st.booleans())
        borrowed = bool(borrowers) and (given or (state in {S.READY, S.DRAINING, S.SLEEPING} and draw(st.booleans())))
        loan = Loan(borrowers.pop(), given, given and draw(st.booleans())) if borrowed else None
        if loan is not None and given and draw(st.booleans()):
            leased.add(f"cpu:{number}")
        alive = {"life": life()} if state is S.SLEEPING else {}
        rows.append(row(state, (f"cpu:{number}",), number, draw(st.sampled_from("xy")), loan=loan, **alive))
    return desired, rows, leased


class Owners:
    """Applies actions as the store and the keepers do, checking that no device has two owners."""

    def __init__(self, rows, leased, wishes):
        self.rows = {entry.id: entry for entry in rows}
        self.leased, self.wishes = set(leased), list(wishes)

    def apply(self, action):
        entry = self.rows[action.replica_id]
        devices = set(entry.devices)
        match action:
            case Lend(_, job):
                assert entry.state is S.READY
                assert entry.loan is None
                entry = replace(entry, loan=Loan(job))
            case Vacate():
                assert entry.state is S.READY
                entry = replace(entry, state=S.SLEEPING)
            case HandOver(_, job):
                assert entry.state is S.SLEEPING or entry.life is None, "an engine that works has no other owner"
                assert job in self.wishes
                assert not self.leased & devices
                self.leased |= devices
                self.wishes.remove(job)
                entry = replace(entry, loan=Loan(job, given=True))
            case AskBack():
                entry = replace(entry, loan=replace(entry.loan, asked_back=True))
            case TakeBack():
                assert not self.leased & devices, "a fine-tune has it"
                entry = replace(entry, loan=None)
            case Wake():
                assert not self.leased & devices
                entry = replace(entry, state=S.READY)
        self.rows[entry.id] = entry

    def drain(self):
        for entry in list(self.rows.values()):
            if entry.state is S.DRAINING and entry.loan is not None:
                self.rows[entry.id] = replace(entry, state=S.SLEEPING)


def serving(rows, name):
    return sum(entry.state is S.READY and entry.loan is None and entry.deployment_id == name for entry in rows)


@FEW
@given(lenders(), wished, st.sampled_from([NOON, NIGHT]))
def test_lending_never_goes_below_what_is_to_serve(fleet, wishes, minute):
    desired, rows, leased = fleet
    world = Owners(rows, leased, wishes)
    for action in decide(desired, rows, wishes, leased, minute):
        if isinstance(action, Lend):
            world.apply(action)
    for one in desired:
        before, after = serving(rows, one.id), serving(world.rows.values(), one.id)
        assert after == before or after >= one.lending.min_serving


@FEW
@given(lenders(), wished, st.sampled_from([NOON, NIGHT]))
def test_no_device_ever_has_two_owners(fleet, wishes, minute):
    desired, rows, leased = fleet
    world = Owners(rows, leased, wishes)
    for _ in range(6):
        for action in decide(desired, list(world.rows.values()), list(world.wishes), world.leased, minute):
            world.apply(action)
        world.drain()
    borrowers = [entry.loan.job_id for entry in world.rows.values() if entry.loan is not None]
    assert len(borrowers) == len(set(borrowers)), "one loan for a fine-tune"


@FEW
@given(lenders(), wished, st.sampled_from([NOON, NIGHT]))
def test_everything_is_back_and_serves_once_nobody_borrows(fleet, wishes, minute):
    desired, rows, leased = fleet
    world = Owners(rows, leased, wishes)
    for action in decide(desired, rows, wishes, leased, minute):
        world.apply(action)
    world.leased.clear()
    world.wishes.clear()
    for _ in range(4):
        world.drain()
        for action in decide(desired, list(world.rows.values()), [], (), minute):
            world.apply(action)
    assert decide(desired, list(world.rows.values()), [], (), minute) == []
    assert not any(entry.loan for entry in world.rows.values())
    assert not any(entry.state is S.SLEEPING for entry in world.rows.values())


@FEW
@given(lenders(), wished, st.sampled_from([NOON, NIGHT]))
def test_a_replica_has_one_action_at_most(fleet, wishes, minute):
    desired, rows, leased = fleet
    touched = [action.replica_id for action in decide(desired, rows, wishes, leased, minute)]
    assert len(touched) == len(set(touched))
