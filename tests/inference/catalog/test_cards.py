"""Which hardware of the catalog a box has."""

from __future__ import annotations

import pytest

from inference.catalog.cards import hardware_of
from inference.catalog.errors import NoProfile
from inference.devices.info import DeviceInfo

MIB = 1 << 20


def box(name: str, mib: int, count: int = 8, kind: str = "nvidia") -> list[DeviceInfo]:
    return [DeviceInfo(f"{kind}:{n}", kind, name, mib * MIB) for n in range(count)]


# Memory as nvidia-smi and npu-smi show it for these cards.
@pytest.mark.parametrize(
    ("name", "mib", "hardware"),
    [
        ("NVIDIA H20", 97_871, "h20-96"),
        ("NVIDIA H20", 143_771, "h20-141"),
        ("NVIDIA H20-3e", 143_771, "h20-141"),
        ("NVIDIA H800", 81_559, "h800"),
        ("NVIDIA H100 80GB HBM3", 81_559, "h100"),
        ("NVIDIA H100 PCIe", 81_559, "h100"),
        ("NVIDIA H200", 143_771, "h200"),
        ("NVIDIA A100-SXM4-80GB", 81_920, "a100"),
        ("NVIDIA A100 80GB PCIe", 81_920, "a100"),
        ("NVIDIA A800-SXM4-80GB", 81_920, "a800"),
        ("NVIDIA L40S", 46_068, "l40s"),
    ],
)
def test_it_knows_the_cards_that_presets_are_for(name: str, mib: int, hardware: str) -> None:
    assert hardware_of(box(name, mib)) == hardware


@pytest.mark.parametrize(
    ("name", "mib", "hardware"),
    [("Ascend 910B2", 65_536, "910b2"), ("Ascend 910B2C", 65_536, "910b2"), ("Ascend 910B3", 65_536, "910b3"),
     ("Ascend 910B4", 32_768, "910b4")],
)  # fmt: skip
def test_it_knows_ascend_cards(name: str, mib: int, hardware: str) -> None:
    assert hardware_of(box(name, mib, kind="ascend")) == hardware


@pytest.mark.parametrize(
    ("name", "mib", "kind"),
    [
        ("NVIDIA A100-SXM4-40GB", 40_960, "nvidia"),
        ("NVIDIA H20", 49_140, "nvidia"),
        ("NVIDIA GeForce RTX 4090", 24_564, "nvidia"),
        ("Ascend910", 65_536, "ascend"),
        ("Ascend 910B4-1", 65_536, "ascend"),
    ],
)
def test_it_refuses_other_cards_with_the_list(name: str, mib: int, kind: str) -> None:
    with pytest.raises(NoProfile, match=r"h20-96, h20-141, h800, .*, cpu") as refused:
        hardware_of(box(name, mib, kind=kind))
    assert name in str(refused.value)


def test_it_refuses_a_mixed_box() -> None:
    with pytest.raises(NoProfile, match="4 × NVIDIA H20 with 103 GB, 4 × NVIDIA L40S with 48 GB"):
        hardware_of(box("NVIDIA H20", 97_871, 4) + box("NVIDIA L40S", 46_068, 4))


def test_cards_that_can_not_be_read_do_not_count() -> None:
    lost = DeviceInfo("nvidia:7", "nvidia", "unknown", 0, healthy=False, reason="NVML: GPU is lost")
    assert hardware_of([*box("NVIDIA H20", 97_871, 7), lost]) == "h20-96"
    with pytest.raises(NoProfile, match="can be read"):
        hardware_of([lost])


def test_a_box_without_cards_is_a_cpu() -> None:
    assert hardware_of([DeviceInfo("cpu:0", "cpu", "EPYC", 1)]) == "cpu"
