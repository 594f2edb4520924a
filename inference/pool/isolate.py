"""Becomes another program that has no network: `python isolate.py [--gate FD | --with PID] -- argv...`.

The program gets a network namespace of its own in which only the loopback interface is up, so that the listeners which
an engine's libraries open on 127.0.0.1 can't be reached from the machine, and the engine reaches nothing. Its Unix
sockets work as before. Where the kernel forbids namespaces it says so in one line and goes on without.
With a gate it first waits for one byte there: the starter writes it once the start is on record; if the starter dies
before, nothing is started. With a parent's pid the program ends when that process does. This file uses the standard
library only and imports nothing of ours.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
PR_SET_PDEATHSIG = 1


def leave_network() -> None:
    """Move this process into a network namespace with only `lo`. Raises: OSError where the kernel forbids it."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            _unshare(CLONE_NEWNET)
        except PermissionError:  # root of a container: try as anybody else would
            _unshare_as_user(uid, gid)
    else:
        _unshare_as_user(uid, gid)
    _bring_up("lo")


def _unshare_as_user(uid: int, gid: int) -> None:
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # struct ifreq: 16 bytes of name, then the flags
        request = struct.pack("16sh14x", interface.encode(), 0)
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack("16sh14x", answer)[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", interface.encode(), flags | IFF_UP))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def pass_gate(descriptor: int) -> None:
    """Wait until the gate is opened; exit where its other end is closed instead."""
    opened = os.read(descriptor, 1)
    os.close(descriptor)
    if not opened:
        sys.exit("not started: the supervisor ended before the start was on record")


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("not started: whoever started it has ended")


def main(arguments: list[str]) -> None:
    options, argv = _parse(arguments)
    if options[:1] == ["--gate"]:
        pass_gate(int(options[1]))
    try:
        leave_network()
    except OSError as error:
        print(f"no network isolation here, going on without: {error}", file=sys.stderr, flush=True)  # noqa: T201
    if options[:1] == ["--with"]:
        _end_with(int(options[1]))
    os.chdir(os.environ.get("TMPDIR", "/"))  # not in the starter's folder: what a program finds there it may import
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is what this file is for
    except OSError as error:
        sys.exit(f"can't start {argv[0]}: {error}")


def _parse(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our own options (none, or two words) and the program's argv."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, argv = arguments[:end], arguments[end + 1 :]
    if not argv or (options and (len(options) != 2 or options[0] not in ("--gate", "--with"))):
        sys.exit("usage: isolate.py [--gate FD | --with PID] -- argv...")
    return options, argv


if __name__ == "__main__":
    main(sys.argv[1:])
