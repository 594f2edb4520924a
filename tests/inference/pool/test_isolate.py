"""The wrapper that takes a program's network away."""

import os
import socket
import subprocess
import sys

import pytest

from inference.pool import isolate

WRAPPER = [sys.executable, "-I", isolate.__file__]
INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


def run(*argv, **options):
    return subprocess.run([*WRAPPER, *argv], capture_output=True, text=True, timeout=20, check=False, **options)


def namespaces_allowed():
    return "going on without" not in run("--", "true").stderr


needs_namespaces = pytest.mark.skipif(not namespaces_allowed(), reason="this kernel forbids network namespaces here")


@needs_namespaces
def test_it_leaves_only_the_loopback_interface():
    assert run("--", sys.executable, "-c", INTERFACES).stdout.strip() == "['lo']"


@needs_namespaces
def test_it_brings_the_loopback_up_and_hides_its_listeners():
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname());"
        "print(s.getsockname()[1], flush=True); input()"
    )
    wrapped = [*WRAPPER, "--", sys.executable, "-c", program]
    with subprocess.Popen(wrapped, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        port = int(child.stdout.readline())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 2)
        child.communicate("\n")


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_works_for_an_ordinary_user_too():
    # becomes that user after its imports: the user may not be able to reach this Python's files
    program = f"""
import ctypes, importlib.util, os, socket
spec = importlib.util.spec_from_file_location("isolate", {isolate.__file__!r})
isolate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(isolate)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable again, as after an exec: else its /proc files belong to root
isolate.leave_network()
print(os.geteuid(), [name for _, name in socket.if_nameindex()])
"""
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    if "PermissionError" in got.stderr or "No space left" in got.stderr:
        pytest.skip("this kernel forbids user namespaces")
    assert got.stdout.strip() == "65534 ['lo']", got.stderr


def test_it_keeps_the_pid():
    with subprocess.Popen([*WRAPPER, "--", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True) as child:
        assert int(child.stdout.read()) == child.pid


def test_it_starts_nothing_when_its_starter_dies_first():
    reading, writing = os.pipe()
    os.close(writing)
    got = run("--gate", str(reading), "--", "echo", "started", pass_fds=[reading])
    os.close(reading)
    assert got.returncode != 0
    assert got.stdout == ""


def test_it_starts_once_the_gate_opens():
    reading, writing = os.pipe()
    os.write(writing, b"g")
    assert run("--gate", str(reading), "--", "echo", "started", pass_fds=[reading]).stdout == "started\n"
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("argv", [[], ["--"], ["--gate", "--", "true"], ["true"]])
def test_it_refuses_what_it_does_not_understand(argv):
    assert run(*argv).returncode != 0


def test_it_says_when_a_program_does_not_exist():
    assert "can't start /nowhere" in run("--", "/nowhere").stderr
