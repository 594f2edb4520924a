"""Steps forward and back: on every path, with every crash, an upgrade ends wholly done or wholly undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.upgrade.errors import StepFailed, StepRefused
from ops.upgrade.ledger import MOVES, StepState
from ops.upgrade.run import Outcome, advance, is_going_back, turn_back

NAMES = ("first", "second", "third")
PARTS = ("a", "b")  # what a step does, so that it can be killed with half of it done


class Killed(BaseException):
    """A SIGKILL, as far as Python can tell."""


@dataclass
class World:
    """What the steps change and what the ledger holds: both outlive a crash. Each touch may be the last one."""

    there: set[tuple[str, str]] = field(default_factory=set)
    states: dict[str, StepState] = field(default_factory=lambda: dict.fromkeys(NAMES, StepState.WAITING))
    reasons: dict[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    left: int | None = None
    num_touches: int = 0

    def touch(self) -> None:
        self.num_touches += 1
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


@dataclass
class PartStep:
    name: str
    world: World

    def check(self) -> None:
        self.world.touch()
        if self.name in self.world.refused:
            raise StepRefused(f"{self.name} must not be done")

    def apply(self) -> None:
        assert self.world.states[self.name] is StepState.STARTED, "started is on record before anything is done"
        for part in PARTS:
            self.world.touch()
            self.world.there.add((self.name, part))

    def verify(self) -> None:
        self.world.touch()
        if self.name in self.world.broken:
            raise StepFailed(f"{self.name} is broken")

    def undo(self) -> None:
        assert self.world.states[self.name] is StepState.UNDOING, "undoing is on record before anything is taken back"
        later = NAMES[NAMES.index(self.name) + 1 :]
        assert not {name for name, _ in self.world.there} & set(later), "the last step is taken back first"
        if self.name in self.world.stuck:
            raise OSError("the disk is gone")
        for part in PARTS:
            self.world.touch()
            self.world.there.discard((self.name, part))


class WorldLedger:
    """Keeps the table of moves, and can be killed before and after each write."""

    def __init__(self, world: World) -> None:
        self._world = world

    def states(self) -> Mapping[str, StepState]:
        return dict(self._world.states)

    def mark(self, step: str, state: StepState, reason: str = "") -> None:
        assert state in MOVES[self._world.states[step]]
        self._world.touch()
        self._world.states[step] = state
        if reason:
            self._world.reasons[step] = reason
        self._world.touch()


def run(world: World) -> Outcome:
    return advance([PartStep(name, world) for name in NAMES], WorldLedger(world))


def run_killed(world: World, after: int) -> Outcome | None:
    world.left = after
    try:
        return run(world)
    except Killed:
        return None
    finally:
        world.left = None


def everything() -> set[tuple[str, str]]:
    return {(name, part) for name in NAMES for part in PARTS}


def test_all_steps_are_done_in_order_and_a_second_time_nothing_happens() -> None:
    world = World()
    assert run(world) is Outcome.DONE
    assert world.there == everything()
    assert set(world.states.values()) == {StepState.DONE}
    touches = world.num_touches
    assert run(world) is Outcome.DONE
    assert world.num_touches == touches


@pytest.mark.parametrize("kind", ["refused", "broken"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_fails_takes_everything_before_it_back(name: str, kind: str) -> None:
    world = World(**{kind: frozenset({name})})
    assert run(world) is Outcome.UNDONE
    assert world.there == set()
    begun = NAMES[: NAMES.index(name) + 1]
    assert {n for n, state in world.states.items() if state is StepState.UNDONE} == set(begun)
    assert name in world.reasons[name], "why it failed stays on record"
    touches = world.num_touches
    assert run(world) is Outcome.UNDONE
    assert world.num_touches == touches


def test_a_step_that_cant_be_taken_back_leaves_what_comes_before_it_and_is_tried_again() -> None:
    world = World(broken=frozenset({"third"}), stuck=frozenset({"second"}))
    assert run(world) is Outcome.FAILED
    assert world.states["first"] is StepState.DONE
    assert "the disk is gone" in world.reasons["second"]
    world.stuck = frozenset()
    assert run(world) is Outcome.UNDONE
    assert world.there == set()


def test_an_interrupted_upgrade_can_be_turned_back() -> None:
    world = World()
    assert run_killed(world, 8) is None
    steps = [PartStep(name, world) for name in NAMES]
    turn_back(steps, WorldLedger(world), "the operator changed their mind")
    assert is_going_back(WorldLedger(world))
    turn_back(steps, WorldLedger(world), "said twice")
    assert run(world) is Outcome.UNDONE
    assert world.there == set()
    assert "said twice" not in world.reasons.values()


def test_an_upgrade_turned_back_before_its_first_step_changes_nothing() -> None:
    world = World()
    turn_back([PartStep(name, world) for name in NAMES], WorldLedger(world), "never mind")
    assert run(world) is Outcome.UNDONE
    assert world.there == set()


@given(
    refused=st.sets(st.sampled_from(NAMES)),
    broken=st.sets(st.sampled_from(NAMES)),
    kills=st.lists(st.integers(0, 40), max_size=6),
    turn_at=st.none() | st.integers(0, 5),
)
def test_whatever_kills_it_and_however_often_it_ends_wholly_done_or_wholly_undone(
    refused: set[str], broken: set[str], kills: list[int], turn_at: int | None
) -> None:
    world = World(refused=frozenset(refused), broken=frozenset(broken))
    for number, after in enumerate(kills):
        if number == turn_at and run_is_unfinished(world):
            turn_back([PartStep(name, world) for name in NAMES], WorldLedger(world), "turned back")
        run_killed(world, after)
    outcome = run(world)
    assert world.there == (everything() if outcome is Outcome.DONE else set())
    assert outcome is Outcome.UNDONE or not refused | broken
    before = (dict(world.states), set(world.there), world.num_touches)
    assert run(world) is outcome
    assert (world.states, world.there, world.num_touches) == before


def run_is_unfinished(world: World) -> bool:
    return any(state is not StepState.DONE for state in world.states.values())


@pytest.mark.parametrize("fault", [frozenset(), frozenset({"second"}), frozenset({"third"})])
def test_killed_once_at_every_single_moment_it_converges(fault: frozenset[str]) -> None:
    whole = World(broken=fault)
    expected = run(whole)
    make: Callable[[], World] = lambda: World(broken=fault)  # noqa: E731
    for moment in range(whole.num_touches):
        world = make()
        assert run_killed(world, moment) is None
        assert run(world) is expected
        assert world.there == whole.there
