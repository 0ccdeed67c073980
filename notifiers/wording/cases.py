"""English texts about orders and installation cases.

``{...}`` are filled with values that were made printable; dates are written as the reader's
language does. Other languages are catalogues (locale/*.po).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class CaseText(NamedTuple):
    """``what``: where it stands, in one sentence.

    ``do``: what the client does now; empty where nothing.
    """

    what: str
    do: str = ""


_NEVER = "Send us the certificate (never a key)."
# By state, and where it matters by who acts.
STEPS: dict[str, CaseText] = {
    "requested": CaseText("We prepare a new certificate for {names}."),
    "requested-own": CaseText(
        "A new certificate for {names} is due, and its key is made by you.",
        "Make a key and a CSR (certificate signing request) that names {names}, and send us the CSR"
        " (never the key).",
    ),
    "csr-ready": CaseText("Key and CSR of the new certificate for {names} are made."),
    "waiting-purchase": CaseText(
        "A new certificate for {names} has to be ordered or reissued at {vendor}.",
        "Order it ({product}), or have it reissued under your order {order}, with the CSR below. "
        + _NEVER
        + " We install it.",
    ),
    "waiting-free": CaseText(
        "A new certificate for {names} has to be ordered.",
        "Order it from a vendor of your choice, or have it reissued where you bought it, with the"
        " CSR below. " + _NEVER + " We install it.",
    ),
    "requested-incident": CaseText(
        "The certificate of {names} must be replaced by {until}: after that it may no longer be"
        " valid, and visitors may see a warning. We prepare a new one."
    ),
    "waiting-incident": CaseText(
        "The certificate of {names} must be replaced by {until}: after that it may no longer be"
        " valid, and visitors may see a warning.",
        "Have it reissued where you bought it, with the CSR below (it has a new key). "
        + _NEVER
        + " We install it.",
    ),
    "waiting-own": CaseText(
        "A new certificate for {names} has to be ordered or reissued with your own CSR.",
        "Order it where you like, with the CSR that you sent us. "
        + _NEVER
        + " For the installation we agree with you how its key comes to the server.",
    ),
    "waiting-again-own": CaseText(
        "What you sent us for {names} cannot be installed: {problems}",
        "Have it corrected with the CSR that you sent us, and send us the new certificate (never a"
        " key).",
    ),
    "waiting-again": CaseText(
        "What you sent us for {names} cannot be installed: {problems}",
        "Have it corrected by {vendor} with the CSR below, and send us the new certificate (never a"
        " key).",
    ),
    "waiting-renewal": CaseText(
        "Your order {order} for {names} ends on {order_end}, and a new one is needed.",
        "Buy it again at {vendor} or another vendor of your choice ({product}), with the CSR"
        " below. " + _NEVER[:-1] + ", and tell us the new order number. We install it.",
    ),
    "waiting-us": CaseText("We order the new certificate for {names} at {vendor}."),
    "received": CaseText("We have your certificate for {names}, and check it."),
    "checked": CaseText(
        "Your certificate for {names} is right: it can be installed.",
        "Reply that you agree to the installation ({fee}), and at which time it suits you; we"
        " propose a window of {minutes} minutes.",
    ),
    "checked-approved": CaseText(
        "Your certificate for {names} is right, and you agreed. We propose a time for the"
        " installation."
    ),
    "window-agreed": CaseText(
        "We install the certificate for {names} on {window}; it takes {minutes} minutes at most."
        " Your sites stay reachable."
    ),
    "installed": CaseText(
        "The certificate for {names} is installed. We now look whether every address shows it."
    ),
    "seen-live": CaseText("Every address shows the new certificate for {names}."),
    "reopened": CaseText("We look at the certificate of {names} again: {why}"),
    "closed": CaseText(
        "The new certificate for {names} is live on every address: serial {serial}, valid until"
        " {not_after}. Before, {before}.",
        "Next date: {next}.",
    ),
    "cancelled": CaseText("The installation for {names} was stopped: {why}"),
}

OLD_IS_BACK = "the earlier certificate is shown again"
PHRASES = (
    OLD_IS_BACK,
    "your vendor",
    "domain validation",
    "organisation validation",
    "extended validation",
    "one name",
    "several names",
    "wildcard",
    "no fee",
    "fee {amount}",
    "the earlier certificate ended on {date}",
    "there was none",
    "on {date} it must be reissued; we write to you in time",
    "on {date} your order ends; we write to you in time",
    "on {date} it ends; we write to you in time",
    "none known",
)

ORDERS: dict[str, CaseText] = {
    "order-ending": CaseText(
        "Your order {order} for {names} ends on {date}. After that no certificate of it is valid.",
        "Buy it again, at {vendor} or another vendor of your choice, by the day named above:"
        " certificate and installation take their time. Tell us the new order number.",
    ),
    "dcv-ending": CaseText(
        "A new certificate under your order {order} is due on {issue}, and {vendor} then asks again"
        " for proof that {names} are yours.",
        "When {vendor} asks, complete the domain validation (a DNS record, a file, or a mail), or"
        " forward the request to us.",
    ),
    "organisation-ending": CaseText(
        "A new certificate under your order {order} is due on {issue}, and {vendor} then checks"
        " your organisation again.",
        "When {vendor} calls or writes, answer their questions about your organisation; have your"
        " register entry at hand.",
    ),
}

# About what came back from a vendor. Each can be forwarded to the client as it is.
MATERIAL: dict[str, str] = {
    "only-chain": "It holds only certificates of the CA, and not your own one.",
    "unreadable": "It cannot be read as a certificate.",
    "wrong-key": (
        "The certificate (serial {serial}, for {names}) was made for another key than the one of"
        " our CSR, so it cannot be used with it. Please have it issued again with our CSR."
    ),
    "names-missing": (
        "The certificate does not cover {names}; it covers {has}. Please have it issued again with"
        " all names."
    ),
    "names-extra": "The certificate also covers {names}.",
    "certificate-expired": "The certificate ended on {not_after}. Please send the current one.",
    "certificate-not-yet-valid": "The certificate is valid only from {not_before} on.",
    "san-missing": "The certificate has no subject alternative names, which browsers insist on.",
    "self-signed": (
        "The certificate is signed by nobody but itself, so browsers would warn. It has to come"
        " from a public CA."
    ),
    "untrusted-root": (
        "The certificate comes from '{root}', which browsers do not trust. It has to come from a"
        " public CA."
    ),
    "ca-distrusted": (
        "The certificate comes from {ca}, which browsers no longer trust. Please choose another CA."
    ),
    "intermediate-expired": (
        "A certificate of the CA behind it ('{intermediate}') ended on {not_after}. Please ask the"
        " CA for the current chain."
    ),
    "chain-incomplete": (
        "The certificate of the CA behind it ('{missing}') is missing. Please send the chain"
        " (intermediate certificate) too."
    ),
    "chain-completed": "The CA's intermediate certificate was not with it; we added it.",
    "certificate-malformed": (
        "The certificate breaks a rule: {problems}. Please have it issued again."
    ),
    "validity-too-long": (
        "The certificate is valid for {days} days, and browsers accept at most {allowed}. Please"
        " have it issued again."
    ),
    "key-weak": "Its key ({key}) is too weak, or of a kind that browsers refuse.",
    "signature-weak": (
        "It is signed with {signature}, which browsers refuse. Please have it issued again."
    ),
    "verification-disputed": "Our two ways of checking it disagree ({words}); we look at it.",
    "ends-no-later": "It ends on {not_after}, which is no later than the present one ({present}).",
    "other-key-missing": "The certificate for our other key ({key}) has not come yet.",
    "key-sent": (
        "A private key was sent with it. Never send a private key: who reads it on the way can pass"
        " for your site."
    ),
    "key-unreadable": "A private key was sent with it that its password does not open.",
    "csr-sent-back": "It also holds a CSR, which is not needed.",
    "damaged-part": "A part of it is damaged.",
    "csr-old-key": "The CSR is for the key that must not be used any more. Make a new key.",
    "csr-signature": "The signature of the CSR is wrong: it was changed after it was made.",
    "csr-key": (
        "The key of the CSR ({key}) is too weak, or of a kind that browsers refuse. Make one of RSA"
        " 2048 to 4096, P-256 or P-384."
    ),
    "csr-names": "The CSR does not name {names}.",
    "csr-extra": "The CSR also names {names}, which are not part of this case.",
}

# Events of a client's report and calendar.
DATES: dict[str, str] = {
    "order": "Order {order} ends",
    "certificate": "Certificate of order {order} must be reissued",
    "dcv": "Domain validation of order {order} runs out",
    "organisation": "Organisation validation of order {order} runs out",
    "window": "Installation window {reference}",
}

INSTRUCTIONS = (
    "Give this CSR to your vendor when you order, reissue or renew. Every vendor has a field for"
    " it: paste everything from the first dash to the last.\n- Kind of server: choose 'other',"
    " 'nginx' or 'Apache' if you are asked.\n- Names: {names}\n- Validity: the longest that is"
    " offered.\n- Validation: by a DNS record, a file on the site, or a mail to the domain, as the"
    " vendor asks. We help with record and file.\n- What you get back (PEM, PKCS#7 or zip): send it"
    " to us with the reference {reference}. Never send a private key; we have it."
)


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its values; one that is not known is left empty."""

    class Known(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return ""

    return text.format_map(Known(values))
