"""Words of installation cases and incidents. Pure."""

from enum import StrEnum


class CaseState(StrEnum):
    """The states of an installation case (certmgr/cases/states.py has the transitions)."""

    REQUESTED = "requested"
    CSR_READY = "csr-ready"
    WAITING = "waiting-purchase"
    RECEIVED = "received"
    CHECKED = "checked"
    WINDOW = "window-agreed"
    INSTALLED = "installed"
    LIVE = "seen-live"
    CLOSED = "closed"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    REOPENED = "reopened"


class VerificationState(StrEnum):
    """The result of a verification.

    ``absent``: the certificate is served nowhere. ``unknown``: undetermined, which must not be
    shown as a missing installation.
    """

    LIVE = "live"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class CaseKind(StrEnum):
    """Why a case was opened. ``incident``: the certificate must be replaced by a time."""

    NEW = "new"
    RENEWAL = "renewal"
    REISSUE = "reissue"
    INCIDENT = "incident"


class WindowState(StrEnum):
    """The installation window of a case. A cancelled one is still removed from calendars."""

    NONE = "none"
    AGREED = "agreed"
    CANCELLED = "cancelled"


class IncidentKind(StrEnum):
    """How the certificates of an incident were selected.

    ``server-lost``: they are good, and are installed again for the hosts of an emptied server.
    """

    SERIALS = "serials"
    SPKI = "spki"
    ISSUER = "issuer"
    SERVER = "server"
    SERVER_LOST = "server-lost"


class IncidentCategory(StrEnum):
    """Who replaces a certificate of an incident. Only ``ours`` and ``client`` need a case."""

    REPLACED = "replaced"  # no server presents it any more
    AUTOMATIC = "automatic"
    REINSTALL = "reinstall"  # it is good, and is installed again on the server
    OURS = "ours"
    CLIENT = "client"
    UNKNOWN = "unknown"  # not in the inventory, or of no client for certain
