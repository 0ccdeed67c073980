"""What each finding code has: severity, role, layer, texts, and how it is explained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from inventory.vocabulary import Severity


class Responsible(StrEnum):
    """Who is responsible for a finding. The parties of the domain decide who that is."""

    HOST = "host"
    DNS = "dns"
    HOLDER = "holder"  # who renews the certificate, otherwise who buys it
    HOLDER_OR_HOST = "holder-or-host"
    CLIENT = "client"
    STAFF = "staff"
    NONE = "none"

    @property
    def concerns_holder(self) -> bool:
        """Whether a new certificate may be the answer."""
        return self in (Responsible.HOLDER, Responsible.HOLDER_OR_HOST)


class Layer(StrEnum):
    """What must have been checked to close a finding."""

    DNS = "dns"
    TRANSPORT = "transport"
    TLS = "tls"  # a handshake
    CERTIFICATE = "certificate"
    HTTP = "http"  # a visit
    # A list of the CA, and CAA and TLSA: certmgr/revocation/job.py opens and closes their findings.
    REVOCATION = "revocation"
    POLICY = "policy"
    ZONES = "zones"  # a run from several zones (certmgr/inspection/zone_results.py)


class Visitor(StrEnum):
    """What a visitor of a site with the finding sees."""

    WARNING = (
        'A full-page warning ("Your connection is not private") instead of the site. Most'
        " visitors leave."
    )
    WARNING_LATER = (
        "Nothing today. From the named date on, a full-page warning instead of the site."
    )
    SOME_BROWSERS = (
        "The site in some browsers, and a full-page warning in others, mostly on mobile"
        " devices and in programs."
    )
    OTHER_SITE = (
        "The site, or another site or an error, depending on the address that the browser chooses."
    )
    REVOKED = "The site, or a warning once the browser has learned of the revocation."
    TLS_ERROR = (
        'An error of the browser ("This site can\'t provide a secure connection"), without a'
        " way to go on."
    )
    UNREACHABLE = 'An error of the browser ("This site can\'t be reached").'
    NOT_SECURE = (
        '"Not secure" in the address bar, and a warning at fields of a form. Recent browsers'
        " ask before they open the page."
    )
    MIXED = "A page with missing pictures or functions, or without the lock in the address bar."
    MAIL = (
        "Nothing in a browser. Mail programs or mail servers may refuse the connection or"
        " send without encryption."
    )
    FIREFOX = "An error in some browsers, such as Firefox."
    NEXT_ISSUANCE = "Nothing today. The next certificate cannot be issued."
    REMARK = "Nothing. It is a remark for administrators."
    PLACES = "The site in some places, and a fault, or another site, in others."
    UNKNOWN = "Unknown: the check gave no result. The site may be well."


class Fix(StrEnum):
    """How a web server is fixed: the tables of certmgr/cli/guidance/explanations.toml."""

    CERTIFICATE = "certificate"
    CHAIN = "chain"
    SITE = "site"
    TLS = "tls"
    LISTEN = "listen"
    REDIRECT = "redirect"
    HSTS = "hsts"
    STAPLE = "staple"
    CONTENT = "content"


class FindingText(NamedTuple):
    """The texts of a finding code, in English. Evidence fills the placeholders.

    Attributes:
        short: What is wrong, in a few words.
        sentence: One plain sentence for a client.
        instruction: An exact instruction for the person who acts.
    """

    short: str
    sentence: str
    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCode:
    """Everything that belongs to a finding code, except the check that finds it.

    Attributes:
        severity: The usual one. A check may use another if docs/findings.md states it.
        text: The usual texts.
        variants: ``variant`` of the evidence -> the texts of a case that another action fixes.
        when: Variant -> when it applies, as a heading of ``certmgr explain``.
        client: What a client has to do if we host and install; empty if that is the instruction of
            ``text``.
        client_variants: The same, by variant.
        fix: How a web server is fixed; None if nothing in its configuration helps.
    """

    severity: Severity
    role: Responsible
    layer: Layer
    visitor: Visitor
    text: FindingText
    variants: Mapping[str, FindingText] = field(default_factory=dict)
    when: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    client_variants: Mapping[str, str] = field(default_factory=dict)
    fix: Fix | None = None
