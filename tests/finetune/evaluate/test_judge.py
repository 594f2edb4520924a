"""Wrong and hostile programs in the real sandbox. A hostile one answers "done" where its attack worked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.evaluate import judge as judging
from finetune.evaluate.errors import SandboxBroken
from finetune.evaluate.judge import TOO_SLOW, Outcome, Trial, judge, judge_many
from finetune.evaluate.sandbox import Limits, Sandbox

REPO = Path(__file__).resolve().parents[3]
REFERENCE = "def double(n):\n    return 2 * n\n"
TEST = "def check(candidate):\n    assert candidate(4) == 8\n    assert candidate(n=-1) == -2\n"
ATTACKED = "def check(candidate):\n    said = candidate()\n    assert said == 'refused', said\n"
PASSED = Outcome(True, "right")


def run(place: Sandbox, program: str, limits: Limits | None = None) -> Outcome:
    return judge(replace(place, limits=limits or place.limits), Trial(program, "double", REFERENCE, TEST))


def attack(place: Sandbox, body: str) -> Outcome:
    """Whether the body was kept from its aim: it runs in a function that says so when an exception stops it."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    program = (
        f"def attack():\n    try:\n{lines}    except (OSError, MemoryError, RuntimeError):\n        return 'refused'\n"
    )
    return judge(place, Trial(program + "    return 'done'\n", "attack", "", ATTACKED))


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """Nothing of a run lives on: neither as our child nor, its parent lost, as anybody's."""
    before = set(sandboxed())
    yield
    left = set(sandboxed()) - before  # some may be another test process's, which end as well
    deadline = time.monotonic() + 60  # a loaded machine is slow at ending them, too
    while left & set(sandboxed()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left & set(sandboxed())


def sandboxed() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"/inside.py" in (entry / "cmdline").read_bytes():
                yield int(entry.name)
        except OSError:
            continue


def test_a_right_program_passes(place: Sandbox, no_process_left: None) -> None:
    assert run(place, REFERENCE) == PASSED


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("def double(n):\n    return n\n", "wrong"),
        ("def double(n):\n    return None\n", "wrong"),
        ("def double(n):\n    return 1 / 0\n", "raised"),
        ("def double(n):\n    raise SystemExit(0)\n", "raised"),
        ("def half(n):\n    return n\n", "raised"),
        ("double = 8\n", "raised"),
        ("def double(n:\n", "raised"),
        ("raise KeyboardInterrupt\n", "raised"),
        ("", "raised"),
        ("def double(n):\n    return object()\n", "unreadable"),
        (
            "def double(n):\n    return '[' * 300 + ']' * 300\nclass double:\n    def __init__(self, n): pass\n",
            "unreadable",
        ),
    ],
)
def test_a_wrong_program_fails_and_the_reason_is_told(place: Sandbox, program: str, why: str) -> None:
    assert run(place, program) == Outcome(False, why)


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos._exit(0)\n",
        "import os\ndef double(n):\n    os._exit(0)\n",
        "import sys\nsys.exit(0)\n",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    ],
)
def test_ending_without_an_answer_fails(place: Sandbox, program: str) -> None:
    outcome = run(place, program)
    assert not outcome.passed
    assert outcome.why in ("ended", "raised")


VERDICTS = 'b\'ready\\n{"passed": true, "why": "right"}\\n\''


@pytest.mark.parametrize(
    "program",
    [
        f"print('PASS')\nprint({VERDICTS}.decode(), flush=True)\n",
        # Into every descriptor there might be, before and instead of an answer.
        f"import os\nfor fd in range(256):\n    try: os.write(fd, {VERDICTS})\n    except OSError: pass\nos._exit(0)\n",
        # An object that is equal to everything does not get out of its process.
        "class Same:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef double(n):\n    return Same()\n",
        "class Same(int):\n    def __eq__(self, other): return True\ndef double(n):\n    return Same(5)\n",
        "class Odd:\n    def __repr__(self): return '__import__(\"os\")._exit(0)'\ndef double(n):\n    return Odd()\n",
        "def double(n):\n    import inspect\n    for frame in inspect.stack():\n"
        "        frame.frame.f_globals['namespace'] = {}\n    return n\n",
    ],
)
def test_a_verdict_can_not_be_forged(place: Sandbox, program: str) -> None:
    assert not run(place, program).passed


def test_the_program_never_sees_its_tests(place: Sandbox) -> None:
    program = (
        "import gc, sys\n"
        "WANTED = 'kcehc fed', ')1-=n('\n"  # backwards, not to find its own words
        "def double(n):\n"
        "    found = [repr(o) for o in gc.get_objects() if isinstance(o, (dict, list, tuple, set))]\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        found.append(repr(frame.f_locals)); frame = frame.f_back\n"
        "    seen = any(text[::-1] in one for one in found for text in WANTED)\n"
        "    return 'seen' if seen else 2 * n\n"
    )
    assert run(place, program) == PASSED
    assert not run(place, "HELD = ['def check']\n" + program).passed


def test_it_inherits_three_pipes_and_no_more(place: Sandbox) -> None:
    body = (
        "import os, stat\nfound = []\nfor fd in range(3, 9999):\n    try: found.append(stat.S_ISFIFO(os.fstat(fd).st_mode))\n"
        "    except OSError: pass\nif found == [True] * 3: return 'refused'"
    )
    held = os.open(REPO, os.O_RDONLY)
    try:
        assert attack(place, body) == PASSED
    finally:
        os.close(held)


def test_an_endless_loop_costs_its_processor_time_and_fails(place: Sandbox, no_process_left: None) -> None:
    started = time.monotonic()
    outcome = run(place, "def double(n):\n    while True: pass\n", Limits(cpu_s=1, wall_s=120))
    assert outcome == Outcome(False, "ended")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("where", ["while True: time.sleep(9)\n", "def double(n):\n    while True: time.sleep(9)\n"])
def test_a_program_that_sleeps_is_ended(place: Sandbox, no_process_left: None, where: str) -> None:
    assert run(place, f"import time\n{where}", Limits(wall_s=2)) == Outcome(False, TOO_SLOW)


def test_a_fork_bomb_does_not_get_one_process(place: Sandbox, no_process_left: None) -> None:
    assert attack(place, "import os\nos.fork()") == PASSED
    assert attack(place, "import threading\nthreading.Thread(target=print).start()") == PASSED
    assert attack(place, "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])") == PASSED
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
    assert not run(place, bomb, Limits(cpu_s=1)).passed


def test_memory_is_bounded_however_it_is_asked_for(place: Sandbox) -> None:
    assert attack(place, "held = bytearray(2**30)") == PASSED
    assert attack(place, "held = []\nwhile True: held.append('x' * 10**6)") == PASSED
    assert attack(place, "import os\nos.memfd_create('m')") == PASSED


def test_temporary_files_are_bounded(place: Sandbox) -> None:
    many = "for i in range(200):\n    with open(f'/tmp/{i}', 'wb') as file: file.write(bytes(2**19))"
    assert attack(place, many) == PASSED
    large = "with open('/tmp/one', 'wb', buffering=0) as file:\n    while True: file.write(bytes(2**19))"
    assert attack(place, large) in (PASSED, Outcome(False, "ended"))  # one file's limit may come as a signal
    assert attack(place, "open('/tmp/small', 'w').write('x')\nreturn 'refused'") == PASSED


def test_nothing_but_tmp_can_be_written(place: Sandbox) -> None:
    body = (
        "import os\nwritten = []\nfor folder, below, _ in os.walk('/'):\n"
        "    try: open(os.path.join(folder, 'x'), 'w').close()\n"
        "    except OSError: continue\n    written.append(folder)\nif written == ['/tmp']: return 'refused'"
    )
    assert attack(place, body) == PASSED


def test_the_data_directory_and_the_rest_of_the_machine_are_not_there(place: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("x")
    assert attack(place, f"open({str(tmp_path / 'secret_key')!r}).read()") == PASSED
    for path in ("/etc/passwd", "/proc/self/environ", "/var", "/home", "/dev/null", "/bin/sh", str(REPO), "/sys"):
        assert attack(place, f"import os\nos.stat({path!r})") == PASSED, path


def test_the_environment_holds_nothing_of_ours(place: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODERACK_TOKEN", "value")
    body = "import os\nif set(os.environ) <= {'LD_LIBRARY_PATH', 'PWD', 'LC_CTYPE'}: return 'refused'"
    assert attack(place, body) == PASSED


def test_there_is_no_network(place: Sandbox) -> None:
    assert attack(place, "import socket\nsocket.socket()") == PASSED
    assert attack(place, "import socket\nsocket.socketpair()") == PASSED


def test_killing_everything_in_sight_ends_only_itself(place: Sandbox, no_process_left: None) -> None:
    program = "import os, signal\nfor pid in (os.getppid(), 1, -1): os.kill(pid, signal.SIGKILL)\n"
    assert run(place, program) in (Outcome(False, "ended"), Outcome(False, "raised"))
    assert run(place, REFERENCE) == PASSED


def test_it_can_not_become_root_or_leave_its_namespaces(place: Sandbox) -> None:
    libc = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    for call in ("libc.unshare(0x10000000)", "libc.mount(0, b'/tmp', b'tmpfs', 0, 0)", "libc.chroot(b'/tmp')"):
        assert attack(place, f"{libc}if {call} == -1: raise OSError") == PASSED, call
    capabilities = (
        f"{libc}if libc.prctl(24, 0) or all(libc.prctl(23, n) in (0, -1) for n in range(41)): return 'refused'"
    )
    assert attack(place, capabilities) == PASSED
    # PR_GET_NO_NEW_PRIVS, and a limit that only a privileged process may raise.
    assert attack(place, f"{libc}if libc.prctl(39, 0, 0, 0, 0) == 1: return 'refused'") == PASSED
    raise_it = (
        "import resource\ntry: resource.setrlimit(resource.RLIMIT_NPROC, (9, 9))\nexcept ValueError: return 'refused'"
    )
    assert attack(place, raise_it) == PASSED


def test_what_it_prints_is_thrown_away(place: Sandbox) -> None:
    started = time.monotonic()
    program = "import sys\nfor _ in range(2000): print('x' * 10**5); sys.stderr.write('y' * 10**5)\n"
    assert run(place, program + REFERENCE) == PASSED
    assert time.monotonic() - started < 10


def test_an_endless_answer_fails(place: Sandbox) -> None:
    assert run(place, "def double(n):\n    return 'x' * 10**7\n") == Outcome(False, "endless")
    assert not run(
        place,
        "import os\nwhile True:\n    for fd in range(3, 32):\n"
        "        try: os.write(fd, b'[' * 10**5)\n        except OSError: pass\n",
    ).passed


def test_a_deeply_nested_answer_harms_nobody(place: Sandbox) -> None:
    program = "class Deep:\n    def __repr__(self): return '[' * 10**5\ndef double(n):\n    return Deep()\n"
    assert run(place, program) == Outcome(False, "unreadable")


def test_an_overlong_program_is_not_run(place: Sandbox) -> None:
    assert run(place, REFERENCE + "#" * judging.MAX_PROGRAM_CHARS).why == "the program is too long"


def test_a_program_that_is_no_valid_text_fails_alone(place: Sandbox) -> None:
    assert run(place, "x = '\ud800'\n" + REFERENCE) == PASSED
    assert run(place, "\0" + REFERENCE) == Outcome(False, "raised")


def test_outcomes_stand_in_the_order_of_the_trials(place: Sandbox) -> None:
    wrong = "import time\ntime.sleep(0.3)\ndef double(n):\n    return 0\n"
    trials = [Trial(program, "double", REFERENCE, TEST) for program in (wrong, REFERENCE, wrong, REFERENCE)]
    assert [outcome.passed for outcome in judge_many(place, trials)] == [False, True, False, True]


def test_a_sandbox_that_does_not_start_is_an_error_and_no_verdict(place: Sandbox) -> None:
    with pytest.raises(SandboxBroken):
        run(replace(place, bwrap=Path("/bin/false")), REFERENCE)


SLEEPER = "import time\ntime.sleep(90)\n"


@pytest.mark.parametrize("after_s", [0.0, 0.004, 0.008, 0.012, 0.016, 0.024, 0.5])
def test_nothing_outlives_its_killed_parent(place: Sandbox, no_process_left: None, after_s: float) -> None:
    source = (
        "from finetune.evaluate.judge import Trial, judge\nfrom finetune.evaluate.sandbox import Sandbox\n"
        "from pathlib import Path\nprint('begins', flush=True)\n"
        f"judge(Sandbox(Path({str(place.bwrap)!r})), Trial({SLEEPER!r}, 'double', {REFERENCE!r}, {TEST!r}))\n"
    )
    parents = [subprocess.Popen([sys.executable, "-c", source], cwd=REPO, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for parent in parents:
            assert parent.stdout is not None
            parent.stdout.readline()
        time.sleep(after_s)
    finally:
        for parent in parents:
            parent.kill()
            parent.communicate()


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_a_sandbox_ends_with_its_life(place: Sandbox, no_process_left: None, tmp_path: Path, after_s: float) -> None:
    """Where nothing else ends it: as one that was left behind."""
    (tmp_path / "program").write_text(SLEEPER)
    (calls, _calls), (_answers, answers) = os.pipe(), os.pipe()
    try:
        with (tmp_path / "program").open("rb") as program:
            running = place.start(["candidate", str(calls), str(answers), "double"], program.fileno(), [calls, answers])
        time.sleep(after_s)
        assert running.child.poll() is None
        os.close(running.life)
        assert running.child.wait(30) != 0
    finally:
        for descriptor in (calls, _calls, _answers, answers):
            os.close(descriptor)


def test_running_many_leaks_no_descriptor_and_no_thread(place: Sandbox) -> None:
    trials = [Trial(REFERENCE, "double", REFERENCE, TEST)] * 4
    judge_many(place, trials)
    before = len(os.listdir("/proc/self/fd"))
    judge_many(place, trials)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
