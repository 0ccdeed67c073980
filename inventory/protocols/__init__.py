"""The protocols that start TLS with a plain-text dialogue (STARTTLS): one module per protocol.

To add a protocol, write a module that declares ``PROTOCOL``, a
:class:`~inventory.protocols.dialogue.StartTlsProtocol` with its name, ports and dialogue. The
syntax of targets, the scan and the help find it here, and ``make docs`` adds it to
``docs/targets.md``. ``dialogue.py`` has what the modules share, and the limits; ``replies.py`` has
the replies with a code of three digits.

Everything here is pure: a dialogue receives bytes and returns bytes, and the scan sends them.
"""

from __future__ import annotations

import sys

from inventory.protocols.dialogue import (
    MAX_DIALOGUE,
    MAX_LINES,
    MAX_REPLY,
    Dialogue,
    DialogueClient,
    DialogueFailed,
    ServerClosed,
    StartTlsProtocol,
    StartTlsRefused,
    StartTlsUndetermined,
)
from inventory.registry import declared

__all__ = (
    "MAX_DIALOGUE",
    "MAX_LINES",
    "MAX_REPLY",
    "STARTTLS",
    "Dialogue",
    "DialogueClient",
    "DialogueFailed",
    "ServerClosed",
    "StartTlsProtocol",
    "StartTlsRefused",
    "StartTlsUndetermined",
)

# Name -> protocol.
STARTTLS = {p.name: p for p in declared(sys.modules[__name__], "PROTOCOL", StartTlsProtocol)}
