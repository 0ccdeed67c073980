"""Limits for a process that parses foreign bytes. This module performs I/O.

A fault in a parser then reaches neither the network nor a file, and the machine keeps its memory.
"""

from __future__ import annotations

import ctypes
import resource
import sys

# linux/sched.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38


def confine(memory: int) -> bool:
    """Limit this process before it reads the first foreign byte.

    It gets ``memory`` bytes of address space, writes no file and no core, gains no rights by
    starting programs, and has no network if the system allows a separate namespace. CPU time is
    limited by the caller, per input.

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
    return any(libc.unshare(flags) == 0 for flags in choices)
