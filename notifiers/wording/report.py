"""English texts of a report. Other languages are catalogues (locale/*.po)."""

from __future__ import annotations


class ReportPhrases:
    """The phrases by name. One ending in ``_many`` is the plural of the phrase before it."""

    title = "HTTPS report"
    no_sites = "Our inventory contains no site of yours."
    you_now = "{n} site needs your action now. See below what to do."
    you_now_many = "{n} sites need your action now. See below what to do."
    you_by = "{n} site needs your action by {date}. See below what to do."
    you_by_many = "{n} sites need your action, the first by {date}. See below what to do."
    ours = "{n} site has a fault, and we take care of it. You do not need to do anything."
    ours_many = "{n} sites have faults, and we take care of them. You do not need to do anything."
    level_2 = "{n} site has a fault, and we determine what has to be done. We will write to you."
    level_2_many = (
        "{n} sites have faults, and we determine what has to be done. We will write to you."
    )
    some_unknown = (
        "{n} site could not be tested, and we will test it again. You do not need to do anything"
        " now."
    )
    some_unknown_many = (
        "{n} sites could not be tested, and we will test them again. You do not need to do anything"
        " now."
    )
    good_until = "Your sites comply today, but not with a coming rule. See below what to do."
    all_good = "Your sites comply with the rules for HTTPS today. You do not need to do anything."
    at_once = "as soon as possible"
    until = "by {date}"
    we_act_do = "{person} is fixing it {by}."
    we_act_do_unnamed = "We are fixing it, and plan to have it done {by}."
    escalated_do = "Our specialists (level 2) have to check it and determine what has to be done."
    site_ok = "Everything that we tested is in order."
    certificate_until = "Its certificate, issued by {issuer}, is valid until {date}."
    certificate_until_of = "The certificate that it shows is valid until {date}."
    trust_ends = "{browser} trusts this certificate only until {date}, before it expires."
    trust_ends_about = (
        "{browser} trusts this certificate only until about {date}, before it expires."
    )
    certificate_ended_of = "The certificate that it shows expired on {date}."
    no_page = "No page is expected under this name, so its pages are not checked."
    accepted_fault = (
        "{n} site has a fault that was accepted. No other fault was seen. You do not need to do"
        " anything."
    )
    accepted_fault_many = (
        "{n} sites have faults that were accepted. No other fault was seen. You do not need to do"
        " anything."
    )
    how_without_pages = (
        "We open every address that the DNS gives for a site, and check the certificate as a"
        " browser does. Its pages were not opened."
    )
    certificate_ended = "Its certificate, issued by {issuer}, expired on {date}."
    accepted = "Accepted by {provider} until {date}: {what}"
    your_provider = "your provider"
    never = "{host} was not checked yet."
    differs = "We are finding out why {host} does not look the same from all places."
    known_since = "The information about its certificate is from {date}."
    certificate_ends = "Certificate ends"
    certificates_end = "Certificates end"
    step = "{step} by {date} ({who})"
    step_late = "{step}: was due by {date}, late ({who})"
    why_first = (
        "Without HTTPS, others on the network, for example in the same Wi-Fi, can read and"
        " change what your visitors see and send."
    )
    why_secrets = (
        "{host} asks for a password or a payment card without HTTPS. Browsers have marked this"
        " as 'Not secure' since January 2017."
    )
    why_inputs = (
        "{host} has a form without HTTPS. Browsers have marked this as 'Not secure' since"
        " October 2017."
    )
    why_served = (
        "{host} shows pages without HTTPS. Browsers have marked every such page as 'Not secure'"
        " since July 2018."
    )
    why_good = "With HTTPS, your visitors see no warning, and others cannot read what they type."
    why_announced = (
        "Chrome has announced that from October 2026 it warns all users before the first visit"
        " to a site without HTTPS. It is not confirmed that this has started."
    )
    measured = "Last measured on {date}."
    how = (
        "We open every address that the DNS gives for a site, check the certificate as a browser"
        " does, and open its pages over HTTP and HTTPS."
    )
    limits = "Pages behind a login, and what a page loads only by its scripts, are not tested."
    renewed_by_us = "We renew it automatically."
    renewed_by_us_trouble = (
        "We renew it automatically; at the moment this does not work, and we take care of it."
    )
    renewed_by_panel = "It is renewed by the hosting panel."
    renewed_by_cdn = "It is renewed by the CDN (content delivery network)."
    renewed_by_automation = "It is renewed by your automation."
    renewed_by_purchase = "It is renewed by hand, under the order {order}, which ends on {date}."
    renewed_by_none = "It does not renew automatically, and we know of no order that renews it."
    days_left = "{n} day left"
    days_left_many = "{n} days left"
    expired = "ended"
    badge = "HTTPS in order"
    badge_tested = "tested on {date}"
    badge_title = "HTTPS in order: {n} site of {client}, tested on {date}"
    badge_title_many = "HTTPS in order: {n} sites of {client}, tested on {date}"


# With a mark in front, because a printed page may have no colours.
STATES = {
    "ok": "✓ in order",
    "attention": "! needs attention",
    "fault": "✗ fault",
    "unknown": "? undetermined",
}
STEPS = {
    "decide": "Decide on a certificate",
    "buy": "Order it",
    "validate": "Complete the CA's validation",
    "install": "Install it",
    "configure": "Set up the site",
}
WHO = {"client": "you", "provider": "we", "staff": "we find out who"}
# Reasons of an undetermined rule, as certmgr/compliance states them, in the words of a client.
NOTES = {
    "it was not checked yet": "It was not checked yet.",
    "plain HTTP was not checked yet": "Its pages were not opened yet.",
    "whether it is from a public CA could not be determined": (
        "We could not determine whether a certificate is from a public CA."
    ),
    "it was issued within 48 hours of the change, so the older limit may apply": (
        "One certificate was issued within 48 hours of a change of rules, so we cannot determine"
        " which rule applies to it."
    ),
}
# Headings and labels of the pages.
LABELS = (
    "Client",
    "As of",
    "Your contact",
    "What you need to do",
    "What we are doing",
    "To be checked by our specialists (level 2)",
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
    "The same holds for",
    "Remarks that are not urgent",
    "Next date",
)
