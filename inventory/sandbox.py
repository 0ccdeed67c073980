"""Limits for a process that parses foreign bytes. This module performs I/O.

A fault in a parser then reaches neither the network nor a file, starts no program, and the machine
keeps its memory.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Mapping

# linux/sched.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# linux/prctl.h
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
# linux/seccomp.h
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
# linux/bpf_common.h: load a word, jump if equal, jump if greater or equal, return.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# struct seccomp_data: the number of the system call, then the architecture.
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
# The numbers of x32, a second set of calls on x86-64, begin here.
_X32 = 0x40000000

# What no parser needs: sockets (io_uring opens them too), other programs, and other processes.
# machine -> its number in linux/audit.h, and its numbers of socket, connect, execve, execveat,
# kill, ptrace, process_vm_readv, process_vm_writev, io_uring_setup and bpf.
_REFUSED: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 42, 59, 322, 62, 101, 310, 311, 425, 321)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 129, 117, 270, 271, 425, 280)),
}


def confine(memory: int) -> bool:
    """Limit this process before it reads the first foreign byte.

    It gets ``memory`` bytes of address space, writes no file and no core, and gains no rights by
    starting programs. If the system allows it, it has no network, by a separate namespace and by a
    filter of system calls, and starts no program. CPU time is limited by the caller, per input.

    Returns:
        Whether the process has no network.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # A crash by hostile input must not fill the disk with core files.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Pipes are not files, so the answers still get through.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Root may leave the network directly; another user needs a user namespace, which some
    # systems and containers refuse. Then the other limits remain.
    choices = (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET)
    separate = any(libc.unshare(flags) == 0 for flags in choices)
    # After the namespace: it needs no system call that is refused, and this order shows it.
    filtered = _refuse_calls(libc)
    return separate or filtered


def _refuse_calls(libc: ctypes.CDLL) -> bool:
    """Let the kernel refuse the system calls that no parser needs (seccomp).

    No library: that of seccomp is not installed everywhere, and this filter is a list of numbers.

    Returns:
        Whether the kernel accepted the filter.
    """
    known = _REFUSED.get(os.uname().machine)
    # Numbers of another machine would refuse other calls.
    if known is None or sys.maxsize < 2**32:
        return False
    architecture, numbers = known
    checks = [(_IF_AT_LEAST, _X32), *((_IF_EQUAL, n) for n in numbers)]
    # The jumps to the last line (refuse) and over the line after them; each counts from the next.
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 0, len(checks) + 2, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((code, len(checks) - i, 0, value) for i, (code, value) in enumerate(checks)),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
    ]
    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    # struct sock_fprog: the number of lines, and their address at the alignment of a pointer.
    header = struct.pack("@HP", len(program), ctypes.addressof(lines))
    result: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)
    return result == 0
