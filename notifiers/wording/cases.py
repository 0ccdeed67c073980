"""English texts about orders and installation cases.

Placeholders are filled with printable values, and with dates in the style of the reader's language.
Other languages are catalogues (locale/*.po).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class CaseText(NamedTuple):
    """The texts for a state of a case, or for a date of an order.

    Attributes:
        what: The state, in one or two sentences.
        do: What the client has to do. Empty if there is nothing to do.
    """

    what: str
    do: str = ""


# Clients do send private keys by mail, so each instruction states it again.
_SEND_CERTIFICATE = "Send us the certificate (never a key)."
# By state, and by the person who acts if the text depends on that.
STEPS: dict[str, CaseText] = {
    "requested": CaseText("We are preparing a new certificate for {names}."),
    # Some clients must keep their keys, for example under a policy of their company.
    "requested-own": CaseText(
        "A new certificate for {names} is due. You create its key.",
        "Create a key and a CSR (certificate signing request) for {names}, and send us the CSR"
        " (never the key).",
    ),
    "csr-ready": CaseText("The key and the CSR of the new certificate for {names} are ready."),
    "waiting-purchase": CaseText(
        "A new certificate for {names} has to be ordered or reissued at {vendor}.",
        "Order it ({product}), or have it reissued under your order {order}, with the CSR below. "
        + _SEND_CERTIFICATE
        + " We install it.",
    ),
    "waiting-free": CaseText(
        "A new certificate for {names} has to be ordered.",
        "Order it from a vendor of your choice, or have it reissued where you bought it, with the"
        " CSR below. " + _SEND_CERTIFICATE + " We install it.",
    ),
    "requested-incident": CaseText(
        "The certificate of {names} must be replaced by {until}. After that it may no longer be"
        " valid, and visitors may see a warning. We are preparing a new one."
    ),
    "requested-own-incident": CaseText(
        "The certificate of {names} must be replaced by {until}. After that it may no longer be"
        " valid, and visitors may see a warning. You create the key of the new one.",
        "Create a new key and a CSR (certificate signing request) for {names}, and send us the CSR"
        " (never the key).",
    ),
    "waiting-own-incident": CaseText(
        "The certificate of {names} must be replaced by {until}. After that it may no longer be"
        " valid, and visitors may see a warning.",
        "Have it reissued where you bought it, with the CSR that you sent us. "
        + _SEND_CERTIFICATE
        + " For the installation, we will agree with you on how its key gets to the server.",
    ),
    # The key may be the cause of the incident, so the CSR has a new one.
    "waiting-incident": CaseText(
        "The certificate of {names} must be replaced by {until}. After that it may no longer be"
        " valid, and visitors may see a warning.",
        "Have it reissued where you bought it, with the CSR below (it has a new key). "
        + _SEND_CERTIFICATE
        + " We install it.",
    ),
    "waiting-own": CaseText(
        "A new certificate for {names} has to be ordered or reissued with your own CSR.",
        "Order it from a vendor of your choice, with the CSR that you sent us. "
        + _SEND_CERTIFICATE
        + " For the installation, we will agree with you on how its key gets to the server.",
    ),
    "waiting-again-own": CaseText(
        "What you sent us for {names} cannot be installed: {problems}",
        "Have it corrected with the CSR that you sent us, and send us the new certificate (never a"
        " key).",
    ),
    # A text that can be forwarded to the vendor as it is.
    "waiting-again": CaseText(
        "What you sent us for {names} cannot be installed: {problems}",
        "Have it corrected by {vendor} with the CSR below, and send us the new certificate (never a"
        " key).",
    ),
    "waiting-renewal": CaseText(
        "Your order {order} for {names} ends on {order_end}, and a new one is needed.",
        "Buy it again from {vendor} or another vendor of your choice ({product}), with the CSR"
        " below. " + _SEND_CERTIFICATE[:-1] + ", and the new order number. We install it.",
    ),
    "waiting-us": CaseText("We are ordering the new certificate for {names} from {vendor}."),
    # Without a purchase of ours, no vendor is known.
    "waiting-us-free": CaseText("We are ordering the new certificate for {names}."),
    "received": CaseText("We have received your certificate for {names} and are checking it."),
    "checked": CaseText(
        "Your certificate for {names} is correct and can be installed.",
        "Please reply that you agree to the installation ({fee}), and which time suits you. We"
        " propose a window of {minutes} minutes.",
    ),
    "checked-approved": CaseText(
        "Your certificate for {names} is correct, and you agreed to the installation. We will"
        " propose a time for it."
    ),
    # A switch of certificates ends no connection, which clients ask first.
    "window-agreed": CaseText(
        "We will install the certificate for {names} on {window}. It takes at most {minutes}"
        " minutes. Your sites stay reachable."
    ),
    "installed": CaseText(
        "The certificate for {names} is installed. We are now checking whether every address"
        " shows it."
    ),
    "seen-live": CaseText("Every address shows the new certificate for {names}."),
    "reopened": CaseText("We are checking the certificate of {names} again: {why}"),
    "closed": CaseText(
        "The new certificate for {names} is live on every address: serial {serial}, valid until"
        " {not_after}. Previously: {before}.",
        "Next date: {next}.",
    ),
    "cancelled": CaseText("The installation for {names} was stopped: {why}"),
}

OLD_CERTIFICATE_SERVED = "the earlier certificate is shown again"
PHRASES = (
    OLD_CERTIFICATE_SERVED,
    "your vendor",
    "domain validation",
    "organisation validation",
    "extended validation",
    "one name",
    "several names",
    "wildcard",
    "no fee",
    "fee {amount}",
    "a certificate that is valid until {date}",
    "a certificate that ended on {date}",
    "a certificate that had to be replaced",
    "there was none",
    "on {date} it must be reissued; we write to you in time",
    "on {date} your order ends; we write to you in time",
    "on {date} it ends; we write to you in time",
    "none known",
)

ORDERS: dict[str, CaseText] = {
    # Vendors limit each certificate to the paid term.
    "order-ending": CaseText(
        "Your order {order} for {names} ends on {date}. After that none of its certificates is"
        " valid.",
        "Buy it again, from {vendor} or another vendor of your choice, by the day named above,"
        " since certificate and installation take time. Send us the new order number.",
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

# Problems of a certificate or CSR that a client sent. Each can be forwarded to a vendor as it is.
UPLOAD_MESSAGES: dict[str, str] = {
    "only-chain": "It contains only certificates of the CA, and not yours.",
    "unreadable": "It cannot be read as a certificate.",
    "wrong-key": (
        "The certificate (serial {serial}, for {names}) was issued for another key than that of"
        " our CSR, so it cannot be used. Please have it issued again with our CSR."
    ),
    "names-missing": (
        "The certificate does not cover {names}; it covers {has}. Please have it issued again with"
        " all names."
    ),
    "names-extra": "The certificate also covers {names}.",
    "certificate-expired": "The certificate ended on {not_after}. Please send the current one.",
    "certificate-not-yet-valid": "The certificate is valid only from {not_before} on.",
    "san-missing": "The certificate has no subject alternative names, which browsers require.",
    "self-signed": (
        "The certificate is self-signed, so browsers would show a warning. It has to come from a"
        " public CA."
    ),
    "untrusted-root": (
        "The certificate comes from '{root}', which browsers do not trust. It has to come from a"
        " public CA."
    ),
    "trust-ending": (
        "{who} will not trust it from {until} on, before it ends on {not_after}. Please ask the CA"
        " for a chain to another root than '{root}'."
    ),
    "ca-distrusted": (
        "The certificate comes from {ca}, which browsers no longer trust. Please choose another CA."
    ),
    "intermediate-expired": (
        "An intermediate certificate of the CA ('{intermediate}') expired on {not_after}. Please"
        " ask the CA for the current chain."
    ),
    "issuer-not-yet-valid": (
        "A certificate of the CA ('{issuer}') becomes valid only on {not_before}. Please ask the CA"
        " for a chain that is valid now."
    ),
    "root-expired": (
        "The root certificate of the CA ('{root}') expired on {not_after}. Please ask the CA for a"
        " certificate under its current root."
    ),
    "chain-incomplete": (
        "The intermediate certificate of the CA ('{missing}') is missing. Please send the"
        " complete chain."
    ),
    "chain-completed": "The intermediate certificate of the CA was missing. We added it.",
    "certificate-malformed": (
        "The certificate breaks a rule: {problems}. Please have it issued again."
    ),
    "validity-too-long": (
        "The certificate is valid for {days} days, and browsers accept at most {allowed}. Please"
        " have it issued again."
    ),
    "key-weak": "Its key ({key}) is too weak, or of a kind that not all browsers accept.",
    "signature-weak": (
        "It is signed with {signature}, which browsers refuse. Please have it issued again."
    ),
    "verification-disputed": "Our two verifiers disagree on it ({words}). We are checking it.",
    "ends-no-later": "It ends on {not_after}, which is not later than the current one ({present}).",
    "other-key-missing": "The certificate for our other key ({key}) has not arrived yet.",
    "key-sent": (
        "A private key was sent with it. Never send a private key: others who read it can"
        " impersonate your site."
    ),
    "key-unreadable": "A private key was sent with it, but the password does not open it.",
    "csr-sent-back": "It also contains a CSR, which is not needed.",
    "damaged-part": "A part of it is damaged.",
    "csr-old-key": "The CSR is for the key that must no longer be used. Create a new key.",
    "csr-signature": "The signature of the CSR is wrong: the CSR was changed after it was created.",
    "csr-outdated": (
        "The CSR is signed with {hash}. Its signature is correct, but some CAs refuse such a CSR:"
        " then create one with SHA-256."
    ),
    "csr-key-sent": (
        "A private key was sent with the CSR. Never send a private key: create a new key and a new"
        " CSR if others may have read it."
    ),
    "csr-names-ordered": (
        "The CSR does not name {names}. Enter these names in the order form of the vendor."
    ),
    "csr-key": (
        "The key of the CSR ({key}) is too weak, or of a kind that some browsers refuse. Create a"
        " key with RSA 2048 to 4096, P-256 or P-384."
    ),
    "csr-names": "The CSR does not name {names}.",
    "csr-extra": "The CSR also names {names}, which are not part of this case.",
}

# Events in the report and the calendar of a client.
DATES: dict[str, str] = {
    "order": "Order {order} ends",
    "certificate": "Certificate of order {order} must be reissued",
    "dcv": "Domain validation of order {order} runs out",
    "organisation": "Organisation validation of order {order} runs out",
    "window": "Installation window {reference}",
}

# For the package of a case, which the client passes on to the vendor as it is.
INSTRUCTIONS = (
    "Give this CSR to your vendor when you order, reissue or renew. Every vendor has a field for"
    " it: paste everything from the first dash to the last.\n- Kind of server: choose 'other',"
    " 'nginx' or 'Apache' if you are asked.\n- Names: {names}\n- Validity: the longest that is"
    " offered.\n- Validation: by a DNS record, a file on the site, or a mail to the domain, as the"
    " vendor asks. We help with record and file.\n- What you get back (PEM, PKCS#7 or zip): send it"
    " to us with the reference {reference}. Never send a private key; we have it."
)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its values. Unknown placeholders are empty."""

    class Known(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return ""

    return text.format_map(Known(values))
