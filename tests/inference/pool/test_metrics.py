"""The pool's figures: added up by model, present for what is wanted and absent, and sums that never fall."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.devices import DeviceInfo
from inference.pool.load import Load
from inference.pool.metrics import DEVICE_FIGURES, ENGINE_TOKENS, Now, TokenSum, picture
from inference.pool.states import ReplicaState
from inference.pool.store import Counters, DesiredDeployment, ReplicaRow

S = ReplicaState
READY, FAILED = S.READY, S.FAILED


def deployment(id_: str, model: str, *, replicas: int = 1, running: bool = True) -> DesiredDeployment:
    return DesiredDeployment(
        id=id_, name=model, model=model, model_path=Path("/m"), model_digest="", preset="", slot_python=Path("/p"),
        replicas=replicas, devices_each=1, flags=(), max_model_len=128, running=running,
    )  # fmt: skip


def row(deployment_id: str, index: int, state: ReplicaState, *devices: str) -> ReplicaRow:
    return ReplicaRow(f"{deployment_id}-{index}", deployment_id, index, state, "", devices, None, 0, None)


def device(id_: str, healthy: bool = True) -> DeviceInfo:
    return DeviceInfo(
        id=id_, kind="cpu", name=id_, memory_bytes=1, memory_used_bytes=None, utilisation=None, temperature_c=None,
        healthy=healthy, reason="",
    )  # fmt: skip


@dataclass
class Engine:
    """A keeper as far as figures are concerned."""

    model: str | None
    life_id: str
    counters: Counters | None = None
    now: Load = field(default_factory=Load)
    deployment_id: str = ""

    def load(self) -> Load:
        return self.now


def counters(prompt: int, generated: int) -> Counters:
    read = Counters.__dataclass_fields__
    values = {
        "prompt_tokens": prompt,
        "generation_tokens": generated,
        "running": 0,
        "waiting": 0,
        "kv_usage": 0.0,
        "at": 1.0,
    }
    return Counters(**{name: values[name] for name in read if name in values})  # type: ignore[arg-type]


def shown(now: Now) -> dict[tuple[str, ...], float]:
    return {
        (
            sample.name.removeprefix("coderack_pool_"),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for metric in now.collect()
        for sample in metric.samples
    }


def test_two_deployments_of_one_name_are_one_model_during_an_upgrade() -> None:
    now = Now()
    desired = [deployment("old", "coder"), deployment("new", "coder", replicas=2)]
    rows = [row("old", 0, READY, "cpu:0"), row("new", 0, READY, "cpu:1"), row("new", 1, FAILED, "cpu:2")]
    engines = [
        Engine("coder", "a", now=Load(running=2, waiting=1, kv_usage=0.25)),
        Engine("coder", "b", now=Load(running=3)),
    ]
    now.picture = picture(desired, rows, [device("cpu:0"), device("cpu:1", healthy=False)], {"cpu:3"}, engines)
    found = shown(now)
    assert found["replicas_wanted", "coder"] == 3
    assert (found["replicas", "coder", "ready"], found["replicas", "coder", "failed"]) == (2, 1)
    assert (found["requests_running", "coder"], found["requests_waiting", "coder"]) == (5, 1)
    assert found["kv_usage_ratio", "coder"] == 0.25
    assert (found["device_healthy", "cpu:0"], found["device_healthy", "cpu:1"]) == (1, 0)
    assert (found["devices_held", "replica"], found["devices_held", "fine_tune"]) == (3, 1)


def test_a_wanted_model_without_any_replica_shows_zero_ready_ones() -> None:
    now = Now()
    now.picture = picture([deployment("d", "coder")], [], [], set(), [])
    assert shown(now)["replicas", "coder", "ready"] == 0


def test_a_withdrawn_model_shows_until_its_last_replica_is_gone() -> None:
    now = Now()
    withdrawn = [deployment("d", "coder", running=False)]
    now.picture = picture(withdrawn, [row("d", 0, S.DRAINING)], [], set(), [])
    assert (shown(now)["replicas_wanted", "coder"], shown(now)["replicas", "coder", "draining"]) == (0, 1)
    now.picture = picture(withdrawn, [], [], set(), [])
    assert not [key for key in shown(now) if "coder" in key]


def test_tokens_never_fall_when_engines_come_and_go() -> None:
    def total(direction: str) -> float:
        return ENGINE_TOKENS.labels("sums", direction)._value.get()

    tokens = TokenSum()
    adopted = Engine("sums", "life-1", counters(1000, 2000))
    tokens.add([adopted])
    assert (total("input"), total("output")) == (0, 0)  # its past was another pool's to count
    tokens.add([replace(adopted, counters=counters(1010, 2005))])
    fresh = Engine("sums", "life-2", counters(0, 0))
    tokens.add([replace(adopted, counters=counters(1010, 2005)), fresh])
    tokens.add(
        [replace(fresh, counters=counters(7, 1)), Engine("sums", "unread"), Engine(None, "unknown", counters(9, 9))]
    )
    assert (total("input"), total("output")) == (17, 6)


def test_it_shows_what_each_device_tells():
    now = Now()
    card = replace(device("nvidia:0"), kind="nvidia", power_w=99.5, temperature_c=40)
    now.picture = picture([], [], [card], set(), [])
    found = {
        (sample.name, sample.labels["device"], sample.labels["kind"]): sample.value
        for family in now.collect()
        if family.name in {f"coderack_pool_device_{name}" for name in DEVICE_FIGURES}
        for sample in family.samples
    }
    figures = {name.removeprefix("coderack_pool_device_"): value for (name, *labels), value in found.items()}
    assert figures == {"memory_bytes": 1, "power_watts": 99.5, "temperature_celsius": 40, "foreign_processes": 0}
    assert {tuple(labels) for _, *labels in found} == {("nvidia:0", "nvidia")}
