"""Texts of the notices to clients, in English; other languages are catalogues (locale/*.po)."""

from __future__ import annotations


class NoticePhrases:
    greeting = "Hello {name},"
    you_by = "You need to act by {date}."
    you_now = "You need to act as soon as possible."
    we_act = "We are fixing it: {person} has it done by {date}. You need do nothing."
    escalated = (
        "We passed it to our specialists (level 2); you hear from us again by {date}. You need do"
        " nothing."
    )
    resolved = "It is done, and we close it. Thank you!"
    subject_you_by = "You need to act by {date}: {site}"
    subject_you_now = "You need to act now: {site}"
    subject_we = "We are fixing it: {site}"
    subject_escalated = "We are looking into it: {site}"
    subject_resolved = "Done: {site}"
    stopped = "We stopped this, and close it."
    subject_stopped = "Stopped: {site}"
    window_title = "Certificate installation for {host} [{reference}]"
    subject_more = "{site} and {n} more"
    deadline_ahead = "{host} does not yet meet what holds from {date}: {title}."
    deadline_past = "{host} does not meet what has held since {date}: {title}."
    resolved_cover = "{host} shows a new certificate on every address."
    resolved_fault = "The fault is gone: {what}"
    resolved_deadline = "{host} now meets: {title}."
    ended = "ended"
    handler = (
        "{person} takes care of this at {provider}. Please name the reference {reference} when you"
        " write or call."
    )
    handler_plain = (
        "We at {provider} take care of this. Please name the reference {reference} when you write"
        " or call."
    )
    answer = "Simply reply to this message; you get an answer within {time}."
    thanks = "Kind regards"
    bulletin_comply = "{host}: nothing to do, it complies."
    bulletin_fails = "{host}: {what} {do}"
    bulletin_unknown = "{host}: it could not be told yet; we look again."
    bulletin_title = "{title}: what it means for your sites"
    bulletin_from = "It holds from {date}."


# Headings and labels of the templates.
LABELS = (
    "Reference",
    "Certificate",
    "issued by",
    "ends",
    "Still open from before",
    "What to do",
    "Your sites",
)
