"""Invitations in a mail as mail programs expect them. Pure.

Outlook, Gmail and Thunderbird offer an invitation only if it is an alternative of the text, as
``text/calendar`` with its method as a parameter (RFC 6047 2.4). An attachment with the same content
stays for calendars that import files.
"""

from __future__ import annotations

import re
from email import message_from_string
from email.message import Message
from email.mime.text import MIMEText

_METHOD = re.compile(r"^METHOD:([A-Z]{1,20})\r?$", re.MULTILINE)


def with_invitation(raw: str) -> str:
    """Return a composed mail with its first calendar file as an alternative of its text.

    A mail without a calendar file is returned unchanged. Mail programs read one invitation per
    mail, so further files stay attachments.
    """
    message = message_from_string(raw)
    attached = next((p for p in message.walk() if p.get_content_type() == "text/calendar"), None)
    texts = next(
        (p for p in message.walk() if p.get_content_type() == "multipart/alternative"), None
    )
    # A template without HTML has no alternative to attach to.
    if attached is None or texts is None:
        return raw
    data = attached.get_payload(decode=True)
    assert isinstance(data, bytes)
    calendar = data.decode("utf-8")
    method = _METHOD.search(calendar)
    # It is no invitation, and Outlook would refuse it without a method.
    if method is None:
        return raw
    texts.attach(_alternative(calendar, method[1]))
    # With the type text/calendar, Outlook would show a second invitation.
    attached.set_type("application/ics")
    return message.as_string()


def _alternative(calendar: str, method: str) -> Message:
    part = MIMEText(calendar, "calendar", "utf-8")
    part.set_param("method", method)
    # A header of whole mails, which MIMEText adds to parts too.
    del part["MIME-Version"]
    return part
