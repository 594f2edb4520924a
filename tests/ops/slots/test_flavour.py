from __future__ import annotations

from pathlib import Path

import pytest

from ops.slots.errors import UnknownFlavour
from ops.slots.flavour import MachineFacts, choose, read_facts

NOTHING = MachineFacts(nvidia_driver=False, ascend_devices=False, npu_smi=False)


@pytest.mark.parametrize(
    ("facts", "flavour"),
    [
        (NOTHING, "cpu"),
        (MachineFacts(nvidia_driver=True, ascend_devices=False, npu_smi=False), "cuda"),
        (MachineFacts(nvidia_driver=False, ascend_devices=True, npu_smi=False), "ascend"),
        (MachineFacts(nvidia_driver=False, ascend_devices=False, npu_smi=True), "ascend"),
    ],
)
def test_it_follows_what_the_machine_has(facts: MachineFacts, flavour: str) -> None:
    assert choose(facts) == flavour
    assert choose(facts, "auto") == flavour


def test_an_override_wins() -> None:
    assert choose(MachineFacts(nvidia_driver=True, ascend_devices=False, npu_smi=False), "cpu") == "cpu"


def test_it_refuses_an_unknown_override() -> None:
    with pytest.raises(UnknownFlavour, match="rocm"):
        choose(NOTHING, "rocm")


def test_it_sees_an_nvidia_driver(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    assert read_facts(tmp_path).nvidia_driver


def test_it_sees_ascend_cards_and_not_their_control_device(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/davinci_manager").touch()
    assert not read_facts(tmp_path).ascend_devices
    (tmp_path / "dev/davinci0").touch()
    assert read_facts(tmp_path).ascend_devices
