"""What the client was notified of, in words for staff: sent, failed, waiting and held. Pure."""

from __future__ import annotations

from collections.abc import Callable

from inventory.records import HeldMessage, NoticeAbout


def delivery_text(notice: NoticeAbout, stamp: Callable[[int], str]) -> str:
    """Return what became of a notice.

    Args:
        notice: The notice.
        stamp: Turns epoch seconds into text.
    """
    to = f" to {notice.sent_to or notice.contact}" if notice.sent_to or notice.contact else ""
    reason = f": {notice.error}" if notice.error else ""
    match str(notice.state):
        case "sent":
            sent = f" {stamp(notice.sent_at)}" if notice.sent_at else ""
            acknowledged = f", acknowledged {stamp(notice.acked_at)}" if notice.acked_at else ""
            return f"sent{sent}{to}{acknowledged}"
        # A lease ends if its worker dies, so a leased notice still waits.
        case "queued" | "leased":
            return f"waits since {stamp(notice.created_at)}, not sent yet{to}{reason}"
        case "sending":
            return f"is being sent{to}"
        # The connection ended before the result was known. Staff must promise neither that the
        # client has read it nor that it will be sent again.
        case "unknown":
            return f"may have arrived, since {stamp(notice.created_at)}{to}{reason}"
        case _:
            # A bounce can come after the message was sent, so both facts are reported.
            sent = f"sent {stamp(notice.sent_at)}, " if notice.sent_at else ""
            return f"{sent}not delivered{to}{reason}"


def topic_of(key: str) -> str:
    """Return what a ticket's key is about: the code of a fault, or its kind."""
    kind, _, rest = key.partition(":")
    parts = rest.split(":")
    if kind == "fault" and len(parts) > 1:
        return parts[1]
    return "end of the certificate" if kind == "cover" else kind


def held_text(held: HeldMessage, stamp: Callable[[int], str]) -> str:
    """Return why the client was not notified yet."""
    verb = "held" if held.action == "hold" else "waits"
    return f"{topic_of(held.subject)}: {verb} since {stamp(held.first_at)}: {held.reason}"
