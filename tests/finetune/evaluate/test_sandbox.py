from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.evaluate import sandbox
from finetune.evaluate.errors import SandboxMissing
from finetune.evaluate.syscalls import REFUSED, seccomp_filter

REPO = Path(__file__).resolve().parents[3]
NOBODY = 65534


def test_without_bubblewrap_nothing_runs_and_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxMissing, match="apt-get install bubblewrap"):
        sandbox.find()


def test_a_bubblewrap_that_is_not_allowed_to_work_is_named_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxMissing, match=r"No permissions to create new namespace.*user namespaces"):
        sandbox.find()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_unprivileged_user_has_a_sandbox_too(tmp_path: Path) -> None:
    """With a Python that this user may reach; a Python below root's home is not."""
    source = (
        "from finetune.evaluate import sandbox\nfrom finetune.evaluate.judge import Trial, judge\n"
        "trial = Trial('def f(): return 1', 'f', '', 'def check(c): assert c() == 1')\n"
        "bomb = Trial('import os\\ndef f(): os.fork()', 'f', '', 'def check(c): c()')\n"
        "place = sandbox.find()\nprint(judge(place, trial).passed, judge(place, bomb).why)\n"
    )
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        try:
            told = run_as_nobody(python, source)
        except PermissionError:
            continue
        assert told.stdout == "True raised\n", told.stderr
        return
    pytest.skip("no Python and no checkout that another user may read")


def run_as_nobody(python: str, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-B", "-c", source],
        cwd=REPO,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_refuses_exactly_the_listed_calls(machine: str) -> None:
    column = ["x86_64", "aarch64"].index(machine)
    listed = {numbers[column] for numbers in REFUSED.values()}
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    code = seccomp_filter(machine)
    verdicts = {number: interpret(code, architecture, number) for number in range(460)}
    assert {number for number, verdict in verdicts.items() if verdict == 0x00050001} == listed
    assert {verdict for number, verdict in verdicts.items() if number not in listed} == {0x7FFF0000}
    assert interpret(code, architecture, 0x40000000 + 57) == 0x00050001
    assert interpret(code, 0x40000003, 57) == 0x80000000


def test_an_unknown_processor_runs_nothing() -> None:
    with pytest.raises(SandboxMissing, match="riscv64"):
        seccomp_filter("riscv64")


def interpret(code: bytes, architecture: int, number: int) -> int:
    """The kernel's packet filter machine, as far as the filter uses it."""
    steps = list(struct.iter_unpack("=HBBI", code))
    at, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = steps[at]
        match operation:
            case 0x20:
                loaded = {0: number, 4: architecture}[value]
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x35:
                at += if_true if loaded >= value else if_false
            case 0x06:
                return int(value)
        at += 1
