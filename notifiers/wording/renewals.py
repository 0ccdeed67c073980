"""English texts about a renewal that is planned. Other languages are catalogues (locale/*.po)."""

from __future__ import annotations

# Which party does the work, and until when. Each output uses these words, so that status, report,
# diagnosis and message agree.
PLANNED = {
    "us": "planned, by us, until {date}",
    "panel": "planned, by the hosting panel, until {date}",
    "cdn": "planned, by the CDN, until {date}",
    "automation": "planned, by the automation of the site, until {date}",
}
PLANNED_BY_PERSON = "planned, by {person}, until {date}"
PLANNED_SENTENCE = "The renewal of its certificate is {plan}."
PLANNED_MESSAGE = (
    "The certificate of {host} ends on {end}. Its renewal is {plan}. You do not need to do anything"
    " for it."
)
