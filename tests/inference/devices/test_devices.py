"""What this machine has, as devices."""

import os

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.devices import detect, device_order, open_probe
from inference.devices.cpu import CpuProbe, split_cores
from inference.devices.errors import DeviceError, UnknownDeviceKind
from tests.fakes.nvml import Card, FakeNvml


def test_it_splits_this_machine_into_virtual_devices():
    cores = os.sched_getaffinity(0)
    devices = detect("cpu")
    assert [device.id for device in devices] == [f"cpu:{n}" for n in range(max(3, min(4, len(cores))))]
    assert {core for device in devices for core in device.cores} == cores
    assert all(device.healthy and device.memory_bytes > 0 for device in devices)


@pytest.mark.parametrize(("cores", "count"), [(1, 3), (2, 3), (3, 3), (16, 4)])
def test_it_has_room_for_two_engines_and_a_fine_tune(monkeypatch, cores, count):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert len(CpuProbe().read()) == count


def test_it_takes_the_number_of_devices_from_the_setting():
    [device] = detect("cpu", cpu_devices=1)
    assert set(device.cores) == os.sched_getaffinity(0)


def test_it_measures_utilisation_between_two_readings():
    probe = CpuProbe(1)
    assert probe.read()[0].utilisation is None
    sum(number * number for number in range(3_000_000))
    assert 0 <= probe.read()[0].utilisation <= 1


@given(st.integers(1, 200), st.integers(1, 16))
def test_it_shares_cores_evenly(cores, count):
    shares = split_cores(list(range(cores)), count)
    assert len(shares) == count
    assert {core for share in shares for core in share} <= set(range(cores))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    if count <= cores:
        assert sum(sizes) == cores == len({core for share in shares for core in share})


def test_it_finds_no_cards_without_a_driver():
    assert isinstance(detect("nvidia"), list)


def test_it_finds_something_on_every_machine():
    assert open_probe("auto").read()


def test_it_refuses_an_unknown_kind():
    with pytest.raises(UnknownDeviceKind, match="auto, nvidia, ascend, cpu"):
        detect("abacus")


def test_it_sorts_devices_by_number():
    assert sorted(["cpu:10", "cpu:2", "cpu:0"], key=device_order) == ["cpu:0", "cpu:2", "cpu:10"]


def test_it_takes_the_kind_that_has_devices_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(Card(), Card()).install(monkeypatch)
    probe = open_probe("auto")
    assert [device.id for device in probe.read()] == ["nvidia:0", "nvidia:1"]
    nvml.error = pynvml.NVML_ERROR_UNKNOWN
    with pytest.raises(DeviceError):
        probe.read()
