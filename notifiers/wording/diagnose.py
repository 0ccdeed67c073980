"""English texts of the support desk: the message to a client, and questions.

Other languages are catalogues. The notes on possible answers are for staff only.
"""

from __future__ import annotations

# The message to the client.
# Sent by a person of the support desk, so each sentence can stand alone and be left out.
GREETING = "Hello {name},"
GREETING_PLAIN = "Hello,"
OPENED = "we opened {url} on {date}."
YOU_ACT = "You need to act:"
WE_ACT = "We are fixing it:"
ESCALATED = "We passed it to our specialists (level 2), reference {reference}:"
PASSED = "We passed it to our specialists (level 2), reference {reference}."
OUR_TURN = "Our specialists (level 2) have to check it:"
NO_ACTION = "You do not need to do anything."
NO_FAULT_FOUND = (
    "We see no fault from here. Please answer these questions, so that our specialists"
    " (level 2) can investigate:"
)
DONE_BY = "It will be done {by}; {person} takes care of it."
NEXT_UPDATE = "You do not need to do anything. We will write again as soon as we know more."
THANKS = "Kind regards"
DELETE_RECORD = "Please delete the {kind} record {address} of {host}."
# More records than a person changes one by one; a message names no more than this.
MAX_RECORDS = 8
MORE_RECORDS = "The same applies to {count} more wrong address records of {host}."
CREATE_RECORD = "Please create the {kind} record {address} of {host}."
DNS_OPERATORS = {
    "client": "You manage the DNS of this name, or a company does it for you.",
    "provider": "We manage the DNS of this name.",
    "staff": "The inventory does not name who manages the DNS of this name.",
}
NO_RENEWAL = "Please do not renew a certificate for this: a new one does not fix it."
KEEP_RECORD = (
    "Please keep the record of {addresses} if it was set up on purpose (a CDN or a new server),"
    " because it serves a valid certificate. Otherwise please delete it too."
)
CHECK_RECORD = (
    "Was the record of {addresses} set up on purpose (a CDN or a new server)? It serves a valid"
    " certificate. If so, please keep it and let us know; otherwise please delete it."
)
OR_SERVE = "If a server should answer there, please have it started instead."
PAGE_ERROR_CAUSE = (
    "{url} answers with the error {status}. The error comes from the site itself, and not"
    " from its certificate."
)
PAGE_ERROR_DO = "Please ask the developers of the site to check this page and its error log."
CHANGE_RECORD = "Please change the {kind} record of {host} from {old} to {new}."
RECORD_CAUSE = (
    "{host} also points to {address}, which does not answer correctly. Visitors who get that"
    " address see an error."
)
ELSEWHERE_CAUSE = (
    "{host} points to {addresses}, which is not our server and does not serve the site correctly."
)
CLOCK_CAUSE = (
    "The clock of the device shows {clock}, and the certificate of {host} is valid only from"
    " {start} to {end}."
)
CLOCK_DO = "Please set date and time of the device to automatic, and open {host} again."
MESSAGE_TEXTS = (
    GREETING,
    GREETING_PLAIN,
    OPENED,
    YOU_ACT,
    WE_ACT,
    ESCALATED,
    PASSED,
    OUR_TURN,
    NO_ACTION,
    NO_FAULT_FOUND,
    OR_SERVE,
    PAGE_ERROR_CAUSE,
    PAGE_ERROR_DO,
    DONE_BY,
    NEXT_UPDATE,
    THANKS,
    NO_RENEWAL,
    KEEP_RECORD,
    CHECK_RECORD,
    *DNS_OPERATORS.values(),
    DELETE_RECORD,
    MORE_RECORDS,
    CREATE_RECORD,
    CHANGE_RECORD,
    RECORD_CAUSE,
    ELSEWHERE_CAUSE,
    CLOCK_CAUSE,
    CLOCK_DO,
)

# Questions if no fault is found. The second text is for staff: what each answer would mean. The
# exact message first, because it excludes most causes.
QUESTIONS = (
    (
        "What is the exact message, with its code (or a picture of it)?",
        (
            "ERR_CERT_DATE_INVALID: the clock, or a certificate that another server serves."
            " ERR_CERT_COMMON_NAME_INVALID: another site answers there, a login page of a Wi-Fi for"
            " example. ERR_CERT_AUTHORITY_INVALID: a virus scanner or company proxy replaces the"
            " certificate, or an old device. 'Not secure' without an error: the page was opened"
            " over http://."
        ),
    ),
    (
        (
            "Which address exactly is in the address bar, with http:// or https://, with or without"
            " www?"
        ),
        "Another name is another site: run certmgr diagnose with exactly that address.",
    ),
    (
        "What date and time does the device show?",
        (
            "A wrong clock makes every certificate look expired or not valid yet: this one is valid"
            " {validity}. Try --visitor-clock."
        ),
    ),
    (
        "Which browser and which system, in which version?",
        (
            "Android before 7.1, Windows 7, macOS before 10.12 and iOS before 10 do not know newer"
            " root certificates; nothing at the site is wrong then."
        ),
    ),
    (
        "Does it also happen on another device, a mobile phone for example?",
        (
            "Only one device: its virus scanner, its extensions, its clock. All devices: continue"
            " with the network."
        ),
    ),
    (
        "Does it also happen over another network, the mobile one for example?",
        (
            "Only one network: a filter, a proxy, or a name server with an old answer. We see"
            " {addresses}; compare with nslookup {host} there."
        ),
    ),
    (
        "Since when, and does it happen every time?",
        (
            "Sometimes: one of several servers differs, or it happened during a renewal. See"
            " certmgr domain show {host}."
        ),
    ),
)
