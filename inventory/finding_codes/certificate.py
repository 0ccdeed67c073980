"""Findings about the certificate that a server sends."""

from inventory.finding_codes.client_texts import ORDER, OTHER_ISSUER, REISSUE, RENEW
from inventory.finding_codes.kinds import (
    FindingCode,
    FindingText,
    Fix,
    Layer,
    Responsible,
    Visitor,
)
from inventory.vocabulary import Severity

# Staff read it: what a lineage renews is never a task of a client.
_LINEAGE = (
    "The lineage {lineage} renews the certificate of {host}. Find out what it waits for: certmgr"
    " lineage show {lineage}."
)

CERTIFICATE: dict[str, FindingCode] = {
    "certificate-expired": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "expired {not_after}",
            "The certificate of {host} expired on {not_after}; visitors see a warning instead"
            " of the site.",
            "Renew the certificate of {host}, install it at {addresses}, and reload the server.",
        ),
        when={
            "lineage": "If a lineage renews it",
        },
        variants={
            "lineage": FindingText(
                "expired {not_after}",
                "The certificate of {host} expired on {not_after}; visitors see a warning"
                " instead of the site.",
                _LINEAGE,
            ),
        },
        client=RENEW,
    ),
    "certificate-expiring": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING_LATER,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "expires {not_after}",
            "The certificate of {host} expires on {not_after}; after that visitors see a warning.",
            "Renew the certificate of {host} and have it installed at {addresses} before"
            " {not_after}.",
        ),
        when={
            "lineage": "If a lineage renews it",
        },
        variants={
            "lineage": FindingText(
                "expires {not_after}",
                "The certificate of {host} expires on {not_after}; after that visitors see a"
                " warning.",
                _LINEAGE,
            ),
        },
        client=RENEW,
    ),
    # A wrong clock of our machine looks the same, so it is compared first.
    "certificate-not-yet-valid": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "not valid before {not_before}",
            "The certificate of {host} becomes valid only on {not_before}; until then visitors"
            " see a warning.",
            "Compare our clock ({our_clock}) first. If it is right, install the previous"
            " certificate at {addresses} until {not_before}.",
        ),
        client=(
            "Ask your vendor for a certificate that is valid now, and send it to us (never a"
            " key). We install it."
        ),
    ),
    "name-mismatch": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "wrong name",
            "The certificate that {host} shows is for other names ({names}), so visitors see a"
            " warning.",
            "Issue a certificate that covers {host}, or install the right one at {addresses}.",
        ),
        client=(
            "Order a certificate that names {host}, or have yours issued again with that name:"
            " ask us first for the request file (CSR), and send us the certificate (never a"
            " key). We install it."
        ),
    ),
    # The certificate shown belongs to another site; renewing the client's would not help.
    "default-certificate": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.SITE,
        text=FindingText(
            "site missing on the server",
            "The server at {addresses} does not know the site {host} and shows another's"
            " certificate.",
            "Create the virtual host for {host} with its certificate at {addresses}, or point"
            " {host} to the server that has it.",
        ),
    ),
    "san-missing": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "no SAN",
            "The certificate of {host} names it only in an outdated way (common name), which"
            " browsers no longer accept.",
            "Reissue the certificate with {host} as a subject alternative name and install it"
            " at {addresses}.",
        ),
        client=REISSUE,
    ),
    "self-signed": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "self-signed",
            "The certificate of {host} is self-signed, so visitors see a warning.",
            "Get a certificate for {host} from a public CA and install it at {addresses}.",
        ),
        client=ORDER,
    ),
    "certificate-malformed": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "malformed certificate",
            "The certificate of {host} breaks a rule for certificates: {problems}{reason}.",
            "Have the certificate of {host} reissued by the CA and install it at {addresses}.",
        ),
        client=REISSUE,
    ),
    "validity-too-long": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "valid too long ({days} days)",
            "The certificate of {host} is valid for {days} days, and browsers accept at most"
            " {allowed}.",
            "Have it reissued with at most {allowed} days and install it at {addresses}.",
        ),
        client=REISSUE,
    ),
    # A reissue with the old key would have the same fault.
    "key-weak": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "weak key ({key})",
            "The key of the certificate of {host} ({key}) is too weak, or of a kind that"
            " browsers refuse.",
            "Create a new key (EC P-256 or RSA 2048), have the certificate reissued, and"
            " install both at {addresses}.",
        ),
        when={
            "new-kind": "If only the newest browsers know the kind of key",
            "ca": "If the key is that of a CA above the certificate",
            "ca-new-kind": "If only the newest browsers know the kind of the key of that CA",
        },
        variants={
            "new-kind": FindingText(
                "key that few browsers know ({key})",
                "The key of the certificate of {host} ({key}) is of a kind that only the"
                " newest browsers know; others show an error.",
                "Create a key that all browsers know (EC P-256 or RSA 2048), have the"
                " certificate reissued, and install both at {addresses}.",
            ),
            # A new key of the server does not change the key of the CA.
            "ca": FindingText(
                "weak key of the CA ({key})",
                "The key of a CA above the certificate of {host} ({certificate}, {key}) is too"
                " weak, or of a kind that browsers refuse.",
                "Get a certificate for {host} from a CA whose certificates all have EC keys,"
                " or RSA keys of 2048 bits or more, and install it with its chain at"
                " {addresses}.",
            ),
            "ca-new-kind": FindingText(
                "key of the CA that few browsers know ({key})",
                "The key of a CA above the certificate of {host} ({certificate}, {key}) is of"
                " a kind that only the newest browsers know; others show an error.",
                "Get a certificate for {host} from a CA whose certificates all have EC keys,"
                " or RSA keys of 2048 bits or more, and install it with its chain at"
                " {addresses}.",
            ),
        },
        client=REISSUE,
        client_variants={"new-kind": REISSUE, "ca": OTHER_ISSUER, "ca-new-kind": OTHER_ISSUER},
    ),
    "signature-weak": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "weak signature ({signature})",
            "The certificate of {host} is signed with {signature}, which browsers refuse.",
            "Have the certificate reissued (SHA-256) and install it with its chain at {addresses}.",
        ),
        client=REISSUE,
    ),
    "inconsistent-deployment": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.SOME_BROWSERS,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "addresses differ",
            "The servers of {host} ({addresses}) show different certificates.",
            "Install the same certificate on every server of {host}: {expires}.",
        ),
    ),
    # Either a rollback that was not decided, or a renewal by the client; both have to be known.
    # Staff find out who replaced the certificate before a client is asked.
    "unexpected-certificate": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.STAFF,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.REMARK,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "unexpected certificate",
            "{host} shows another certificate (serial {serial}) than the one that we installed"
            " and verified there.",
            "Find out who changed it at {addresses}. If an old certificate is back, replace it"
            " again. If the client has a new one, add it to its purchase (certmgr purchase"
            " attach).",
        ),
    ),
}
