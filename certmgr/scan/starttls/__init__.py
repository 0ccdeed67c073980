"""The plain-text dialogues before TLS: one file per protocol, and the registry of all.

To add a protocol, write a file with its dialogue, add it to :data:`DIALOGUES`, and add its name and
ports to ``inventory/targets.py`` and ``docs/targets.md``. ``dialogue.py`` has what the files share,
and the limits.
"""

from __future__ import annotations

from collections.abc import Callable

from certmgr.scan.starttls.dialogue import (
    MAX_DIALOGUE,
    MAX_LINES,
    MAX_REPLY,
    Dialogue,
    DialogueClient,
    DialogueFailed,
    ServerClosed,
    StartTlsRefused,
    StartTlsUndetermined,
)
from certmgr.scan.starttls.ftp import ftp
from certmgr.scan.starttls.imap import imap
from certmgr.scan.starttls.ldap import ldap
from certmgr.scan.starttls.lmtp import lmtp
from certmgr.scan.starttls.managesieve import managesieve
from certmgr.scan.starttls.mysql import mysql
from certmgr.scan.starttls.nntp import nntp
from certmgr.scan.starttls.pop3 import pop3
from certmgr.scan.starttls.postgres import postgres
from certmgr.scan.starttls.smtp import smtp
from certmgr.scan.starttls.xmpp import xmpp_client, xmpp_server

__all__ = (
    "DIALOGUES",
    "MAX_DIALOGUE",
    "MAX_LINES",
    "MAX_REPLY",
    "Dialogue",
    "DialogueClient",
    "DialogueFailed",
    "ServerClosed",
    "StartTlsRefused",
    "StartTlsUndetermined",
)

# Protocol, as in inventory/targets.py -> its dialogue.
DIALOGUES: dict[str, Callable[[DialogueClient], Dialogue]] = {
    "smtp": smtp,
    "lmtp": lmtp,
    "imap": imap,
    "pop3": pop3,
    "managesieve": managesieve,
    "ftp": ftp,
    "ldap": ldap,
    "nntp": nntp,
    "xmpp": xmpp_client,
    "xmpp-server": xmpp_server,
    "postgres": postgres,
    "mysql": mysql,
}
