"""English texts of the notices to clients. Other languages are catalogues (locale/*.po)."""

from __future__ import annotations


class NoticePhrases:
    """The phrases by name."""

    greeting = "Hello {name},"
    you_by = "You need to act by {date}."
    you_now = "You need to act as soon as possible."
    we_act = "We are fixing it: {person} will have it done by {date}."
    we_act_unnamed = "We are fixing it, and plan to have it done by {date}."
    we_work = "We are working on it: {person} will have it done by {date}."
    we_work_unnamed = "We are working on it, and plan to have it done by {date}."
    escalated = "We passed it to our specialists (level 2). You will get an update by {date}."
    nothing_asked = "You do not need to do anything."
    resolved = "It is done, and we have closed the ticket. Thank you!"
    subject_you_by = "You need to act by {date}: {site}"
    subject_you_now = "You need to act now: {site}"
    subject_we = "We are fixing it: {site}"
    subject_work = "We are working on it: {site}"
    subject_escalated = "We are investigating: {site}"
    subject_resolved = "Done: {site}"
    stopped = "We stopped this and have closed the ticket."
    subject_stopped = "Stopped: {site}"
    window_title = "Certificate installation for {host} [{reference}]"
    subject_more = "{site} and {n} more"
    and_more_below = "{host} (and {n} more, see below)"
    deadline_ahead = "{host} does not yet comply with the rule that applies from {date}: {title}."
    deadline_past = "{host} does not comply with the rule that has applied since {date}: {title}."
    resolved_cover = "{host} shows a new certificate on every address."
    resolved_fault = "The fault is fixed: {what}"
    resolved_deadline = "{host} now complies with: {title}."
    ended = "ended"
    handler = (
        "{person} is your contact at {provider}. Please quote the reference {reference} when"
        " you write or call."
    )
    handler_plain = (
        "We at {provider} take care of this. Please quote the reference {reference} when you"
        " write or call."
    )
    answer = "Simply reply to this message. You will get an answer within {time}."
    thanks = "Kind regards"
    announcement_complies = "{host}: it complies. You do not need to do anything."
    announcement_fails = "{host}: {what} {do}"
    announcement_unknown = "{host}: it is not determined yet. We will check again."
    announcement_title = "{title}: what it means for your sites"
    announcement_from = "It applies from {date}."


# Headings and labels of the templates.
LABELS = (
    "Reference",
    "Certificate",
    "issued by",
    "ends",
    "Still open from before",
    "What to do",
    "Names",
    "Your sites",
)
