"""NVIDIA cards through NVML: readings, health, links and what becomes of a card that fails."""

import os
from pathlib import Path

import pynvml
import pytest

from inference.devices.errors import DeviceError
from inference.devices.nvidia import NvidiaProbe, probe
from tests.fakes.nvml import Card, FakeNvml


def test_it_reads_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(Card(processes=[(os.getpid(), 3 << 30), (2**30, None)])).install(monkeypatch)
    [card] = NvidiaProbe().read()
    assert (card.id, card.kind, card.name, card.healthy, card.reason) == ("nvidia:0", "nvidia", "NVIDIA H20", True, "")
    assert (card.memory_bytes, card.memory_used_bytes) == (97_871 << 20, 600 << 20)
    assert (card.utilisation, card.temperature_c, card.power_w) == (0.07, 40, 110.5)
    ours, elsewhere = card.processes
    assert (ours.pid, ours.memory_bytes) == (os.getpid(), 3 << 30)
    assert ours.name == Path("/proc/self/comm").read_text().strip()
    assert (elsewhere.name, elsewhere.memory_bytes) == ("", None)


def test_what_a_card_does_not_support_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = frozenset(
        {"load", "temperature", "power", "mig", "remapped", "ecc", "slowed", "processes", "events", "uuid"}
    )
    FakeNvml(Card(unsupported=silent)).install(monkeypatch)
    [card] = NvidiaProbe().read()
    assert (card.utilisation, card.temperature_c, card.power_w, card.processes) == (None, None, None, ())
    assert card.healthy


@pytest.mark.parametrize(
    ("card", "healthy", "told"),
    [
        (Card(mig=1), False, "MIG is on"),
        (Card(uncorrected=3), False, "3 uncorrected ECC errors"),
        (Card(remapped=(0, 1, 0, 1)), False, "could not be remapped"),
        (Card(remapped=(0, 1, 1, 0)), True, "reset the card when it is free"),
        (Card(slowed=pynvml.nvmlClocksEventReasonHwThermalSlowdown), True, "slowed down by heat"),
        (Card(remapped=(5, 0, 0, 0)), True, ""),
    ],
)
def test_it_tells_ill_cards_from_well_ones(
    monkeypatch: pytest.MonkeyPatch, card: Card, healthy: bool, told: str
) -> None:
    FakeNvml(card).install(monkeypatch)
    [read] = NvidiaProbe().read()
    assert read.healthy is healthy
    assert told in read.reason
    assert bool(read.reason) is bool(told)


def test_a_fatal_xid_takes_the_card_out_until_it_was_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(Card(), Card()).install(monkeypatch)
    probe = NvidiaProbe()
    assert all(card.healthy for card in probe.read())
    nvml.events.extend([(0, 31), (1, 13), (1, 48), (1, 43)])  # 13, 31 and 43 are faults of programs
    first, second = probe.read()
    assert first.healthy
    assert (second.healthy, second.reason) == (False, "XID 48: an uncorrectable memory error")
    assert not probe.read()[1].healthy, "it is not forgotten"
    nvml.cards[1].error = pynvml.NVML_ERROR_RESET_REQUIRED
    assert probe.read()[1].reason == "NVML: GPU requires restart"
    nvml.cards[1].error = None
    assert all(card.healthy for card in probe.read())


def test_a_lost_card_stays_listed_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(Card(), Card()).install(monkeypatch)
    probe = NvidiaProbe()
    probe.read()
    nvml.cards[0].error = pynvml.NVML_ERROR_GPU_IS_LOST
    lost, other = probe.read()
    assert (lost.id, lost.healthy, lost.reason) == ("nvidia:0", False, "NVML: GPU is lost")
    assert other.healthy
    opened = nvml.num_inits
    probe.read()
    assert nvml.num_inits == opened + 1, "a card that is back has a new handle"


def test_a_failing_driver_is_no_empty_box(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(Card()).install(monkeypatch)
    probe = NvidiaProbe()
    assert len(probe.read()) == 1
    nvml.error = pynvml.NVML_ERROR_UNKNOWN
    with pytest.raises(DeviceError, match="Unknown Error"):
        probe.read()
    with pytest.raises(DeviceError):
        probe.read()
    nvml.error = None
    assert len(probe.read()) == 1
    nvml.error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(DeviceError, match="mismatch"):
        NvidiaProbe(is_present=True).read()
    assert NvidiaProbe(is_present=False).read() == []
    nvml.error = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert NvidiaProbe(is_present=True).read() == [], "a container that was given no card"


def test_it_groups_cards_by_nvlink_and_else_by_pcie(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(*(Card() for _ in range(5))).install(monkeypatch)
    nvml.nvlinks = {(0, 1)}
    nvml.near = {(0, 1), (2, 3)}
    assert [card.group for card in NvidiaProbe().read()] == ["nvlink-0", "nvlink-0", "pcie-1", "pcie-1", ""]


@pytest.mark.gpu
def test_it_reads_real_cards() -> None:
    real = probe(None)
    cards = real.read()
    if not cards:
        pytest.skip("no NVIDIA driver here")
    for card in cards:
        assert card.memory_bytes > 2**30
        assert 0 < card.memory_used_bytes <= card.memory_bytes
        assert card.power_w is None or 0 < card.power_w < 2000
        assert card.temperature_c is None or 0 < card.temperature_c < 120
        assert card.healthy or card.reason
    assert [card.id for card in real.read()] == [card.id for card in cards]
