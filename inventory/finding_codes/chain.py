"""Findings about the chain of a certificate, and about the trust of browsers in its CA."""

from inventory.finding_codes.client_texts import ORDER
from inventory.finding_codes.kinds import (
    FindingCode,
    FindingText,
    Fix,
    Layer,
    Responsible,
    Visitor,
)
from inventory.vocabulary import Severity

CHAIN: dict[str, FindingCode] = {
    # Browsers that cached the intermediate show no warning, so the operator often sees none.
    "chain-incomplete": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.SOME_BROWSERS,
        fix=Fix.CHAIN,
        text=FindingText(
            "intermediate missing",
            "The server of {host} does not send the certificate of '{missing}', so some"
            " visitors see a warning.",
            "Install the full chain at {addresses}: add the certificate of '{missing}' after"
            " the leaf certificate (nginx: fullchain in 'ssl_certificate').",
        ),
        when={
            "issuer-unknown": "If the issuer is not known here",
        },
        variants={
            # A private root is usually not sent, so it cannot be distinguished from an intermediate
            # that is missing.
            "issuer-unknown": FindingText(
                "issuer not known",
                "The certificate of {host} comes from '{missing}', whose certificate was not"
                " sent and is not known here. Either that CA is not trusted here, or the chain"
                " is incomplete. Visitors may see a warning.",
                "If '{missing}' is a private CA, name its root certificate with --ca-file"
                " ([trust] ca_files). Otherwise the chain is incomplete: install the full chain"
                " at {addresses}, with the certificate of '{missing}' after the leaf"
                " certificate (nginx: fullchain in 'ssl_certificate').",
            ),
        },
    ),
    "chain-disordered": FindingCode(
        severity=Severity.LOW,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.REMARK,
        fix=Fix.CHAIN,
        text=FindingText(
            "chain not in order",
            "The server of {host} sends its certificates in an unusual way; visitors notice"
            " nothing.",
            "At {addresses}, send the leaf certificate first, then each issuer in order,"
            " without the root certificate and without any other.",
        ),
    ),
    # Firefox searches longer, so the operator may see no warning.
    "chain-ambiguous": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.SOME_BROWSERS,
        fix=Fix.CHAIN,
        text=FindingText(
            "too many possible issuers",
            "The server of {host} sends so many certificates that Chrome gives up before it finds"
            " the right ones; visitors see a warning.",
            "At {addresses}, send after the leaf certificate only the certificates that issued"
            " it, each once: {issuers}.",
        ),
        when={
            "long": "If more certificates lie between the leaf and its root than Chrome follows",
        },
        variants={
            "long": FindingText(
                "chain too long",
                "Between the certificate of {host} and its root certificate lie so many others"
                " that Chrome gives up; visitors see a warning.",
                "Get a certificate for {host} from a CA that is closer to its root certificate,"
                " and install it at {addresses}.",
            ),
        },
    ),
    "intermediate-expired": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CHAIN,
        text=FindingText(
            "intermediate expired",
            "An intermediate certificate of {host} ('{intermediate}') expired on {not_after};"
            " visitors see a warning.",
            "Replace the chain at {addresses} with the current intermediate certificate of the CA.",
        ),
    ),
    "issuer-not-yet-valid": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "CA not valid before {not_before}",
            "A certificate of the CA of {host} ('{issuer}') becomes valid only on"
            " {not_before}; until then visitors see a warning.",
            "Compare our clock ({our_clock}) first. If it is right, install a certificate at"
            " {addresses} whose CA is valid now.",
        ),
    ),
    # Only devices with that root can be repaired, and not the server.
    "root-expired": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "CA root expired {not_after}",
            "The root certificate '{root}', to which the certificate of {host} belongs,"
            " expired on {not_after}; visitors see a warning.",
            "Renew the root certificate of the CA '{root}' and distribute it to all devices"
            " that trust it, and to this program ([trust] ca_files or --ca-file). Reissuing the"
            " certificate of {host} does not help.",
        ),
    ),
    "untrusted-root": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "untrusted CA",
            "The certificate of {host} comes from '{root}', which browsers do not trust.",
            "Get a certificate for {host} from a public CA and install it at {addresses}. If"
            " the CA is internal, name its root certificate with --ca-file.",
        ),
        client=ORDER,
    ),
    # Two verifiers disagree, so neither answer is given to a client.
    "verification-disputed": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "verifiers disagree",
            "Our two verifiers disagree on the certificate of {host}; staff have to check it.",
            "Open {host} in current browsers and compare: {words}.",
        ),
    ),
    # A private CA may issue what a public one may not.
    "profile-deviation": FindingCode(
        severity=Severity.INFO,
        role=Responsible.NONE,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.REMARK,
        text=FindingText(
            "not as public CAs issue",
            "The certificate of {host} differs from those of public CAs ({problems}); browsers"
            " that trust its private CA accept it.",
            "You do not need to do anything. A future browser may be stricter, so consider it"
            " when the private CA issues again.",
        ),
    ),
    "ca-distrusted": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "distrusted CA ({ca})",
            "The certificate of {host} comes from {ca}, which browsers no longer trust.",
            "Get a certificate for {host} from another CA and install it at {addresses}.",
        ),
        client=(
            "Order a certificate for {host} from another CA than {ca}: ask us first for the"
            " request file (CSR), and send us the certificate (never a key). We install it."
        ),
    ),
    # Renewal at the same CA would give the same root, so the text asks for another one.
    "trust-ending": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING_LATER,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "{who}: no trust from {until}",
            "The certificate of {host} loses the trust of {who} on {until}, before it expires"
            " on {not_after}; from then on visitors see a warning ({about}).",
            "Get a certificate for {host} that leads to another root than '{root}', and"
            " install it at {addresses} before {until}.",
        ),
        client=(
            "Ask your vendor for a certificate for {host} that leads to another root than"
            " '{root}': ask us first for the request file (CSR), and send us the certificate"
            " (never a key) before {until}. We install it."
        ),
    ),
}
