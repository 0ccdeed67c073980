"""English texts of findings by code.

The texts stand in a file per subject, as the checks do. This module joins them, and has the texts
that depend on more than the code. notifiers/wording/sentences.py fills the placeholders with
printable values. Text of rows is never used as a template.
"""

from notifiers.wording.english_certificate import CERTIFICATE
from notifiers.wording.english_connection import CONNECTION
from notifiers.wording.english_page import PAGE
from notifiers.wording.finding_text import FindingText

# In the order in which a visitor meets the faults: documentation and catalogues keep it.
FINDINGS: dict[str, FindingText] = {
    **CONNECTION,
    **CERTIFICATE,
    **PAGE,
    "too-large": FindingText(
        "too large to read",
        "We could not read everything that the server of {host} sends: {reason}.",
        "At {addresses}: a handshake should hold only the leaf and its intermediates; a page should"
        " be readable in its first megabyte.",
    ),
    "scanner-error": FindingText(
        "could not be checked",
        "We could not check {host}: {error}{reason}.",
        "The cause is on the machine that scans. The client does not need to do anything.",
    ),
    # What only some vantage points see. Staff read it, and never a client.
    "zone-difference": FindingText(
        "differs by vantage point",
        "{host} does not look the same from all vantage points ({zones}).",
        "Compare what {seen} and {missing} see.",
    ),
}

# A server that is down for several names.
_DOWN = FindingText(
    "server does not accept connections",
    "The server of {host} does not accept connections on port {port}. This is a fault of the"
    " server, and not of a certificate: none has to be bought or installed for it.",
    "Start the service on port {port} at {addresses}, or open the port in its firewall. No"
    " certificate has to be installed for it.",
)

# Staff read it: what a lineage renews is never a task of a client.
_LINEAGE = (
    "The lineage {lineage} renews the certificate of {host}. Find out what it waits for: certmgr"
    " lineage show {lineage}."
)

_OTHER_CA = (
    "Get a certificate for {host} from a CA whose certificates all have EC keys, or RSA keys of"
    " 2048 bits or more, and install it with its chain at {addresses}."
)

# Findings of a code that another action fixes: (code, "variant" of the evidence).
VARIANTS: dict[tuple[str, str], FindingText] = {
    ("https-missing", "server-down"): _DOWN,
    ("connection-failed", "server-down"): _DOWN,
    ("unreachable", "server-down"): _DOWN,
    ("certificate-expiring", "lineage"): CERTIFICATE["certificate-expiring"]._replace(
        instruction=_LINEAGE
    ),
    ("certificate-expired", "lineage"): CERTIFICATE["certificate-expired"]._replace(
        instruction=_LINEAGE
    ),
    # A CDN or a new server may be meant, and its deletion would take the site from its visitors.
    ("foreign-address", "valid"): FindingText(
        "unknown address {addresses}",
        "{host} also points to {addresses}, which is not one of the provider's servers. It serves a"
        " valid certificate of {host}, as a CDN or another server of the site does.",
        "If it was set up on purpose (a CDN or a new server), keep the record, and inform the"
        " provider, so that the address is known. Otherwise delete the {kind} record {addresses} of"
        " {host} in the DNS. No certificate has to be renewed for it.",
    ),
    ("foreign-address", "mixed"): FindingText(
        "foreign {kind} record {delete}",
        "{host} also points to {delete}, which is not one of the provider's servers. Visitors who"
        " get that address do not reach the site. It points to {keep} too, which serves a valid"
        " certificate, as a CDN or another server of the site does.",
        "Delete the {kind} record {delete} of {host} in the DNS. Keep the record of {keep} if it"
        " was set up on purpose (a CDN or a new server); otherwise delete it too. No certificate"
        " has to be renewed for it.",
    ),
    ("foreign-address", "same-certificate"): FindingText(
        "unknown address {addresses}",
        "{host} also points to {addresses}, which is not in the networks of the provider. It serves"
        " the same certificate as the provider's server.",
        "If {addresses} is ours, add it to [network] provider in the configuration, or to its"
        " server. Otherwise delete the {kind} record {addresses} of {host} in the DNS.",
    ),
    ("zone-difference", "reach"): FindingText(
        "not reachable from {missing}",
        "{host} is reachable from {seen}, and not from {missing}: {reason}.",
        "Find out whether a geo block, a firewall or a route keeps {missing} out. If it is"
        " intended, accept the finding, or end the assignment (certmgr zone unassign).",
    ),
    ("zone-difference", "verdict"): FindingText(
        "{codes} only from {seen}",
        "{host} shows {codes} to {seen}, and not to {missing}.",
        "Compare the addresses of {host} from both vantage points. Often one server of several, or"
        " one place of a content network, still has an old state.",
    ),
    ("zone-difference", "certificate"): FindingText(
        "other certificate for {missing}",
        "{host} shows other certificates to {missing} than to {seen}.",
        "If a content network or several servers serve {host}, this is usual. Otherwise find out"
        " who answers to {missing}.",
    ),
    ("zone-difference", "dns"): FindingText(
        "other addresses for {missing}",
        "{host} has other addresses in the DNS of {missing} than in that of {seen}.",
        "If the DNS of {host} answers by location, this is usual. Otherwise compare its name"
        " servers.",
    ),
    ("key-weak", "new-kind"): FindingText(
        "key that few browsers know ({key})",
        "The key of the certificate of {host} ({key}) is of a kind that only the newest browsers"
        " know; others show an error.",
        "Create a key that all browsers know (EC P-256 or RSA 2048), have the certificate reissued,"
        " and install both at {addresses}.",
    ),
    # A new key of the server does not change the key of the CA.
    ("key-weak", "ca"): FindingText(
        "weak key of the CA ({key})",
        "The key of a CA above the certificate of {host} ({certificate}, {key}) is too weak, or of"
        " a kind that browsers refuse.",
        _OTHER_CA,
    ),
    ("key-weak", "ca-new-kind"): FindingText(
        "key of the CA that few browsers know ({key})",
        "The key of a CA above the certificate of {host} ({certificate}, {key}) is of a kind that"
        " only the newest browsers know; others show an error.",
        _OTHER_CA,
    ),
    ("staple-invalid", "expired"): FindingText(
        "OCSP staple expired",
        "The confirmation (OCSP) that the server of {host} sends with its certificate has expired."
        " Browsers ignore it; some other programs end the connection.",
        "Let the server at {addresses} fetch a new OCSP response (nginx: 'ssl_stapling on;' with"
        " a 'resolver', then reload), or turn stapling off.",
    ),
    ("staple-invalid", "reissue"): FindingText(
        "certificate requires an OCSP staple that no one issues",
        "The certificate of {host} requires a confirmation (OCSP), and its CA does not offer that"
        " service. Some browsers show an error, whatever the server sends.",
        "Have the certificate of {host} issued again without 'must-staple' (TLS Feature), install"
        " it at {addresses}, and reload the server.",
    ),
}

# The text of chain-incomplete if the issuer is not known here. A private root is usually not sent,
# so it cannot be distinguished from an intermediate that is missing.
ISSUER_UNKNOWN = FindingText(
    "issuer not known",
    "The certificate of {host} comes from '{missing}', whose certificate was not sent and is not"
    " known here. Either that CA is not trusted here, or the chain is incomplete. Visitors may see"
    " a warning.",
    "If '{missing}' is a private CA, name its root certificate with --ca-file ([trust] ca_files)."
    " Otherwise the chain is incomplete: install the full chain at {addresses}, with the"
    " certificate of '{missing}' after the leaf certificate (nginx: fullchain in"
    " 'ssl_certificate').",
)

# What a client has to do if we host and install. The instructions above are then for our staff;
# only clients who host elsewhere get them. Clients must never send a private key, so the key is
# created where it is used, and the order is placed with its CSR.
_CSR = "ask us first for the request file (CSR)"
_RENEW = (
    "Renew the certificate of {host} where you bought it: " + _CSR + ", and send us the new"
    " certificate (never a key). We install it."
)
_ORDER = (
    "Order a certificate for {host} from a vendor of your choice: " + _CSR + ", and send us the"
    " certificate (never a key). We install it."
)
_REISSUE = (
    "Have the certificate of {host} issued again where you bought it: " + _CSR + ", and send us the"
    " new certificate (never a key). We install it."
)
_OTHER_ISSUER = (
    "Ask your vendor for a certificate for {host} from another CA certificate than {certificate}: "
    + _CSR
    + ", and send us the certificate (never a key). We install it."
)
CLIENT_VARIANTS = {
    ("key-weak", "new-kind"): _REISSUE,
    ("key-weak", "ca"): _OTHER_ISSUER,
    ("key-weak", "ca-new-kind"): _OTHER_ISSUER,
    ("staple-invalid", "reissue"): (
        "Have the certificate of {host} issued again where you bought it, without 'must-staple': "
        + _CSR
        + ", and send us the new certificate (never a key). We install it."
    ),
}
CLIENT_DO = {
    "https-missing": _ORDER,
    "self-signed": _ORDER,
    "untrusted-root": _ORDER,
    "ca-distrusted": (
        "Order a certificate for {host} from another CA than {ca}: " + _CSR + ", and send us the"
        " certificate (never a key). We install it."
    ),
    "trust-ending": (
        "Ask your vendor for a certificate for {host} that leads to another root than '{root}': "
        + _CSR
        + ", and send us the certificate (never a key) before {until}. We install it."
    ),
    "certificate-expired": _RENEW,
    "certificate-expiring": _RENEW,
    "name-mismatch": (
        "Order a certificate that names {host}, or have yours issued again with that name: "
        + _CSR
        + ", and send us the certificate (never a key). We install it."
    ),
    "san-missing": _REISSUE,
    "certificate-malformed": _REISSUE,
    "validity-too-long": _REISSUE,
    "key-weak": _REISSUE,
    "signature-weak": _REISSUE,
    "sct-missing": _REISSUE,
    "revoked": _REISSUE,
    "certificate-not-yet-valid": (
        "Ask your vendor for a certificate that is valid now, and send it to us (never a key). We"
        " install it."
    ),
}

# With a mark in front, because colours are missing in mails, logs and for some readers.
VERDICTS = {"ok": "✓ ok", "attention": "! attention", "fault": "✗ fault", "unknown": "? unknown"}
OUTCOMES = {
    "you-act": "You need to act.",
    "we-act": "We are fixing it.",
    "escalated": "It has to be checked by our specialists (level 2).",
}
ACTORS = {"client": "the client", "provider": "we", "staff": "staff must check", "none": "no one"}
