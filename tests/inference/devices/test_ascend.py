"""Ascend cards through a tool that answers, lies, fails and hangs."""

import time
from pathlib import Path

import pytest

from inference.devices.ascend import AscendProbe
from inference.devices.errors import ToolFailed
from inference.devices.npu_smi import MIB
from inference.devices.tool import Tool
from tests.fakes.npu_smi import FakeNpuSmi, recorded

HEALTHY = {
    "info": recorded("info-25.5.1-910b3-with-process.txt").replace("| 5  ", "| 1  "),
    "info -m": recorded("mapping-910b3.txt"),
    "info -t topo": recorded("topo-8x910b3.txt"),
}


def probe_of(fake: FakeNpuSmi, is_present: bool = True) -> AscendProbe:
    return AscendProbe(Tool(fake.path), is_present)


def test_it_lists_the_chips(tmp_path: Path):
    fake = FakeNpuSmi(tmp_path, HEALTHY)
    probe = probe_of(fake)
    first, second = probe.read()
    assert (first.id, first.kind, first.name, first.group) == ("ascend:0", "ascend", "Ascend 910B3", "hccs-0")
    assert (first.memory_bytes, first.temperature_c, first.power_w) == (65536 * MIB, 45, 102.8)
    assert first.healthy
    assert first.processes == ()
    assert [(process.pid, process.name) for process in second.processes] == [(2290156, "VLLMEngineCore")]
    assert probe.read() == [first, second]
    assert fake.calls() == ["info", "info -m", "info -t topo", "info"], "what does not change is asked once"


def test_it_numbers_chips_as_engines_do(tmp_path: Path):
    answers = {"info": recorded("info-26.0.rc2-two-chips.txt"), "info -m": recorded("mapping-two-chips.txt")}
    devices = probe_of(FakeNpuSmi(tmp_path, answers)).read()
    assert [device.id for device in devices] == ["ascend:0", "ascend:1", "ascend:15"]
    assert [device.name for device in devices] == ["Ascend910"] * 3


def test_without_a_mapping_the_tables_own_numbers_serve(tmp_path: Path):
    devices = probe_of(FakeNpuSmi(tmp_path, {"info": recorded("info-26.0.rc2-two-chips.txt")})).read()
    assert [device.id for device in devices] == ["ascend:0", "ascend:1", "ascend:15"]


def test_it_says_why_a_chip_can_not_be_used(tmp_path: Path):
    answers = {"info": recorded("info-ill.txt"), "info -t health": recorded("health-warning.txt")}
    alarm, warning, silent, mute = probe_of(FakeNpuSmi(tmp_path, answers)).read()
    assert (alarm.healthy, alarm.reason) == (
        False, "npu-smi says Alarm: 80E01801 node type=SOC, sensor type=Temperature",
    )  # fmt: skip
    assert warning.healthy
    assert warning.reason.startswith("npu-smi warns: 80E01801")
    assert not silent.healthy
    assert "without readings" in silent.reason
    assert (mute.healthy, mute.reason) == (False, "npu-smi does not tell its memory")


def test_what_the_table_leaves_out_is_asked_for(tmp_path: Path):
    answers = {
        "info": recorded("info-24.1.rc1-8x910b3.txt").replace("3318 / 65536", "NA   / NA   "),
        "info -t usages": recorded("usages-910b.txt"),
        "info -t proc-mem -i 0": recorded("proc-mem-910b.txt"),
        "info -t proc-mem": "No process in device.\n",
    }
    first, *others = probe_of(FakeNpuSmi(tmp_path, answers)).read()
    assert (first.memory_bytes, first.memory_used_bytes) == (65536 * MIB, int(65536 * MIB * 0.05))
    assert [process.pid for process in first.processes] == [1654497]
    assert all(device.processes == () for device in others)


def test_a_tool_that_fails_is_no_empty_box(tmp_path: Path):
    fake = FakeNpuSmi(tmp_path, {"info": 255})
    with pytest.raises(ToolFailed, match="ended with status 255: dcmi model initialized failed"):
        probe_of(fake).read()
    assert probe_of(fake, is_present=False).read() == []
    assert AscendProbe(None, is_present=True).read() == [], "without the tool nothing can be said"


@pytest.mark.parametrize(("answer", "told"), [("hang", "did not answer within 0.5 s"), ("flood", "printed more than")])
def test_a_tool_that_hangs_or_floods_is_killed(tmp_path: Path, answer: str, told: str):
    fake = FakeNpuSmi(tmp_path, {"info": answer})
    tool = Tool(fake.path)
    began = time.monotonic()
    with pytest.raises(ToolFailed, match=told):
        tool.run("info", timeout_s=0.5 if answer == "hang" else 60)
    assert time.monotonic() - began < 60
    fake.answer({"info": "fine"})
    assert tool.run("info", timeout_s=60) == "fine", "a killed one is out of the way"


def test_no_second_tool_is_started_beside_one_that_no_signal_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = FakeNpuSmi(tmp_path, {"info": "hang"})
    tool = Tool(fake.path)
    killed = []
    with monkeypatch.context() as patched:
        patched.setattr("inference.devices.tool.os.killpg", lambda pid, _: killed.append(pid))
        patched.setattr("inference.devices.tool._REAP_S", 0.05)
        with pytest.raises(ToolFailed, match="did not answer"):
            tool.run("info", timeout_s=0.3)
    with pytest.raises(ToolFailed, match="still hangs"):
        tool.run("info")
    stuck = tool._stuck
    stuck.kill()
    stuck.wait()
    fake.answer({"info": "fine"})
    assert tool.run("info", timeout_s=60) == "fine"


def test_a_missing_tool_is_an_error_with_its_name(tmp_path: Path):
    with pytest.raises(ToolFailed, match="npu-smi info"):
        Tool(tmp_path / "npu-smi").run("info")
