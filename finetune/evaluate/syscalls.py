"""The system calls that generated code is refused, as a seccomp filter in the kernel's own byte format.

Resource limits bind root less than others (a fork bomb is not stopped by one), and some memory counts against no limit;
the filter closes both, and the doors to the kernel that no program under test needs.
"""

from __future__ import annotations

import platform
import struct

from finetune.evaluate.errors import SandboxMissing

ALLOW, REFUSE_WITH_EPERM, KILL = 0x7FFF0000, 0x00050001, 0x80000000
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
X32_BIT = 0x40000000

# linux/audit.h
AUDIT_NUMBERS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Numbers from the kernel's tables: (x86_64, aarch64); None where there is no such call.
REFUSED: dict[str, tuple[int | None, int]] = {
    # new processes and threads
    "fork": (57, 220),
    "vfork": (58, 220),
    "clone": (56, 220),
    "clone3": (435, 435),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # the network, and sockets of any kind
    "socket": (41, 198),
    "socketpair": (53, 199),
    # other namespaces and file systems
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    # other processes, and parts of the kernel known for their holes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
}


def seccomp_filter(machine: str = platform.machine()) -> bytes:
    """The filter for this processor, to be given to bubblewrap.

    Raises: SandboxMissing on a processor whose system call numbers are not known here.
    """
    if machine not in AUDIT_NUMBERS:
        known = " and ".join(AUDIT_NUMBERS)
        raise SandboxMissing(
            f"generated code runs on {known} only: the sandbox does not know the system calls of {machine}"
        )
    column = list(AUDIT_NUMBERS).index(machine)
    numbers = sorted({call[column] for call in REFUSED.values()} - {None}, key=lambda number: number or 0)
    steps = [
        _step(LOAD, ARCHITECTURE_AT),
        _step(JUMP_EQUAL, AUDIT_NUMBERS[machine], if_true=1),
        _step(RETURN, KILL),
        _step(LOAD, NUMBER_AT),
        # x86-64's second set of numbers for the same calls; no other processor's numbers reach that far.
        _step(JUMP_AT_LEAST, X32_BIT, if_false=1),
        _step(RETURN, REFUSE_WITH_EPERM),
    ]
    for number in numbers:
        steps += [_step(JUMP_EQUAL, number or 0, if_false=1), _step(RETURN, REFUSE_WITH_EPERM)]
    return b"".join([*steps, _step(RETURN, ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction of the kernel's packet filter machine: struct sock_filter of linux/filter.h."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
