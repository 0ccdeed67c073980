"""The fixed texts of a report, in English; other languages are catalogues (locale/*.po)."""

from __future__ import annotations


class ReportPhrases:
    title = "HTTPS report"
    no_sites = "There is no site of yours in our inventory."
    you_now = "{n} site needs you now: below is what to do."
    you_now_many = "{n} sites need you now: below is what to do."
    you_by = "{n} site needs you by {date}: below is what to do."
    you_by_many = "{n} sites need you, the first by {date}: below is what to do."
    ours = "You need do nothing: {n} site has a fault, and it is with us."
    ours_many = "You need do nothing: {n} sites have faults, and they are with us."
    some_unknown = "You need do nothing now: {n} site could not be tested, and we look again."
    some_unknown_many = "You need do nothing now: {n} sites could not be tested, and we look again."
    good_until = "Your sites comply today, but not with a rule that comes: below is what to do."
    all_good = "Your sites comply with HTTPS today, and you need do nothing."
    at_once = "as soon as possible"
    until = "by {date}"
    we_act_do = "You need do nothing. {person} is mending it, {by}."
    escalated_do = (
        "You need do nothing. It was passed to our specialists (level 2), who find out what has to"
        " be done."
    )
    site_ok = "Everything that we tested is in order."
    certificate_until = "It has a certificate of {issuer}, valid until {date}."
    certificate_until_of = "The certificate that it shows is valid until {date}."
    certificate_ended_of = "The certificate that it shows ended on {date}."
    no_page = "No page is expected under this name, so its pages are not looked at."
    all_accepted = "You need do nothing: your sites comply, or their faults were accepted."
    how_without_pages = (
        "We open every address that the DNS gives for a site, and check the certificate as a"
        " browser does. Its pages were not opened."
    )
    certificate_ended = "Its certificate of {issuer} ended on {date}."
    accepted = "Accepted by {by} until {date} ({reason}): {what}"
    never = "{host} was not looked at yet."
    known_since = "What is said of its certificate is what we saw on {date}."
    certificate_ends = "Certificate ends"
    step = "{step} by {date} ({who})"
    step_late = "{step}: was due by {date}, late ({who})"
    why_first = (
        "Without HTTPS, everybody on the way, in the same Wi-Fi for example, can read and change"
        " what your visitors see and send."
    )
    why_secrets = (
        "{host} asks for a password or a payment card without it, and browsers have called that"
        " 'Not secure' since January 2017."
    )
    why_inputs = (
        "{host} has a form without it, and browsers have called that 'Not secure' since October"
        " 2017."
    )
    why_served = (
        "{host} shows pages without it, and browsers have called every such page 'Not secure' since"
        " July 2018."
    )
    why_good = "With it, your visitors see no warning, and what they type reaches you unread."
    why_announced = (
        "Chrome has announced a warning for everybody before the first visit to a site without"
        " HTTPS, from October 2026; that it has begun is not confirmed."
    )
    measured = "Last measured on {date}, from {vantage}."
    how = (
        "We open every address that the DNS gives for a site, check the certificate as a browser"
        " does, and open its pages over HTTP and HTTPS."
    )
    limits = "Pages behind a login, and what a page loads only by its scripts, are not tested."
    days_left = "{n} day left"
    days_left_many = "{n} days left"
    expired = "ended"


STATES = {
    "ok": "✓ in order",
    "attention": "! needs attention",
    "fault": "✗ fault",
    "unknown": "? could not be told",
}
STEPS = {
    "decide": "Decide on a certificate",
    "buy": "Order it",
    "validate": "Complete the CA's validation",
    "install": "Install it",
    "configure": "Set up the site",
}
WHO = {"client": "you", "provider": "we", "staff": "we find out who"}
NOTES = {
    "it was not looked at yet": "It was not looked at yet.",
    "plain HTTP was not asked yet": "Its pages were not opened yet.",
    "whether it is of a public CA could not be told": (
        "Whether a certificate is of a public CA could not be told."
    ),
    "it was issued within 48 hours of the change, so the older limit may hold": (
        "One certificate was issued within 48 hours of a change of rules; which one holds cannot be"
        " told from it."
    ),
}
# The headings and labels of the pages.
LABELS = (
    "Client",
    "As of",
    "Your contact",
    "What you need to do",
    "What we are doing",
    "Passed to level 2",
    "Dates ahead",
    "Your sites",
    "Why HTTPS matters",
    "How this was measured",
    "What could not be tested",
    "Nothing.",
    "Site",
    "State",
    "Measured",
    "What we saw",
    "When",
    "announced, not confirmed",
    "Concerns",
    "of browsers and CAs",
    "our deadline",
    "certificate",
    "order",
    "installation",
    "today",
    "Time line of the dates ahead; the list below has the same in words",
    "Days until each certificate ends; the table of sites has the same in words",
    "Certificates",
    "Page",
    "of",
    "Steps",
    "There are no dates ahead.",
    "and {n} more",
    "none",
    "Reports",
    "not known",
    "late",
    "This report concerns only the sites of this client.",
    "Prepared by",
)
