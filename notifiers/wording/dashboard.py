"""English texts of the dashboard. Other languages are catalogues (locale/*.po)."""

from __future__ import annotations


class DashboardPhrases:
    """The phrases by name. One ending in ``_many`` is the plural of the phrase before it."""

    faults = "{n} site has a fault that visitors notice or soon will."
    faults_many = "{n} sites have faults that visitors notice or soon will."
    unknowns = "No fault is known, but {n} site could not be tested."
    unknowns_many = "No fault is known, but {n} sites could not be tested."
    attention = "No site has a fault, and {n} needs attention."
    attention_many = "No site has a fault, and {n} need attention."
    all_good = "Everything that was tested is in order."
    no_sites = "The inventory contains no site."
    sites = "{n} site"
    sites_many = "{n} sites"
    server_refuses = "The server {server} refuses connections on port {port}."
    server_silent = "The server {server} does not answer on port {port}."
    fixed_by = "{person} fixes it until {date}."
    causes = "{n} cause"
    causes_many = "{n} causes"
    scan_complete = "The last scan ended on {date} and was complete."
    scan_other = "The last scan ended on {date} and was not complete: {reason}"
    scan_none = "No scan has ended yet."
    scan_past = "This page shows what was known on that day."
    automatic = "{share} of {total} names are renewed automatically."
    ended = "{n} certificate is still served after its end."
    ended_many = "{n} certificates are still served after their end."
    peak = "Certificates that end per week over 400 days; most in the week of {date}: {n}"
    trust_reason = "{browser} stops trusting it"
    trust_reason_about = "{browser} stops trusting it at about this time"


SEVERITIES = {
    "critical": "Critical",
    "high": "High",
    "medium": "Medium",
    "low": "Low",
    "undetermined": "Undetermined",
}
KINDS = {
    "server": "server",
    "certificate": "certificate",
    "name server": "name server",
    "client": "client",
}
# Short forms, since the report to clients addresses its reader and this page does not.
ACTORS = {
    "client": "the client",
    "provider": "we",
    "staff": "staff must check",
    "none": "no one",
}
CASE_STATES = {
    "requested": "requested",
    "csr-ready": "CSR is ready",
    "waiting-purchase": "waiting for the certificate",
    "received": "certificate received",
    "checked": "certificate checked",
    "window-agreed": "window agreed",
    "installed": "installed",
    "seen-live": "verified live",
    "reopened": "reopened",
}
RENEWALS = {
    "lineage": "by certmgr (ACME)",
    "panel": "by the hosting panel",
    "cdn": "by the CDN",
    "stated": "by the client's automation, as recorded",
    "learned": "by an automation that scans observed",
    "purchase": "by hand, under a purchase",
    "none": "by hand, without a purchase",
}
COMPLIANCE = {
    "complies": "complies",
    "will-not-comply": "will not comply",
    "does-not-comply": "does not comply",
    "not-determined": "undetermined",
    "waived": "waived",
}
# Headings and labels of the page.
LABELS = (
    "Certificates of all clients",
    "For administrators: this page names all clients.",
    "Faults by severity",
    "There is nothing to fix.",
    "Who acts",
    "Where",
    "Sites",
    "Clients",
    "Certificates that end",
    "Week from",
    "Automatic",
    "By hand",
    "The next 90 days, by week",
    "The next 400 days, by week",
    "Names that lose cover within 30 days",
    "No certificate ends within 30 days without being renewed automatically.",
    "Name",
    "End",
    "Renewal",
    "Deadlines ahead",
    "Rule",
    "Date",
    "Domains",
    "information only",
    "Open cases",
    "There are no open cases.",
    "Waits for the client",
    "Waits for us",
    "Overdue",
    "Automation",
    "How",
    "Names",
    "Trend over the last complete scans",
    "No complete scan of the whole inventory is stored.",
    "Scan",
    "Clients by urgency",
    "Faults",
    "Ends first",
    "Report",
    "As a table",
    "Not known for a past date.",
    "Contents",
)
