"""What the driver makes of machines that talk nonsense or come twice; the cluster is a stand-in."""

from pathlib import Path

import pytest

from inference.devices import DeviceInfo
from inference.pool.ray import driver
from inference.pool.ray.order import Question, encode
from inference.pool.ray.reading import Reading
from inference.pool.settings import RaySettings


class FakeRay:
    """Machines, by id: a name and what its eye answers, None for one that says nothing."""

    def __init__(self, machines):
        self.machines = machines

    def nodes(self):
        return [{"NodeID": id_, "NodeName": name, "Alive": True} for id_, (name, _) in self.machines.items()]

    def wait(self, asked, num_returns=1, timeout=0):
        done = [one for one in asked if one is not None]
        return done, [one for one in asked if one is None]

    def get(self, asked):
        return asked[0]

    def kill(self, actor):
        pass


class FakeEye:
    def __init__(self, answer):
        self.read = self
        self._answer = answer

    def remote(self, *_about):
        return None if self._answer is None else [self._answer]


@pytest.fixture
def look(monkeypatch):
    def look(**machines):
        ray = FakeRay(machines)
        monkeypatch.setattr(driver, "_actor", lambda _ray, _class, id_: FakeEye(machines[id_][1]))
        question = Question(RaySettings("a:1", ()), "cpu:1", Path("/run"), Path("/python"), Path("/root"))
        return {seen.node: seen for seen in driver.Watch(ray, question).look().nodes}

    return look


def told(*ids):
    return {"line": encode(Reading("boot", tuple(DeviceInfo(id_, "cpu", "CPU", 1) for id_ in ids)))}


@pytest.mark.parametrize(
    "nonsense",
    [{"line": b"no json"}, {"line": b'{"boot": 1}'}, {}, [1], told("cpu:0/../x"), told("cpu:" + "1" * 40)],
)
def test_a_machine_that_talks_nonsense_does_not_hide_the_others(look, nonsense):
    seen = look(a=("box-a", told("cpu:0")), b=("box-b", nonsense))
    assert [device.id for device in seen["box-a"].devices] == ["cpu:0"]
    assert seen["box-b"].trouble
    assert seen["box-b"].devices == ()


def test_a_machine_that_came_back_is_taken_once_and_namesakes_are_not_mixed(look):
    for order in (("a", "b"), ("b", "a")):
        machines = {"a": ("box-a", None), "b": ("box-a", told("cpu:0"))}
        seen = look(**{id_: machines[id_] for id_ in order})
        assert [device.id for device in seen["box-a"].devices] == ["cpu:0"]
    seen = look(a=("box-a", told("cpu:0")), b=("box-a", told("cpu:1")))
    assert seen["box-a"].trouble == "several machines of the cluster have this name"
    assert seen["box-a"].devices == ()
