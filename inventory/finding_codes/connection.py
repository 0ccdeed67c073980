"""Findings about DNS, connections and TLS."""

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

# A server that is down for several names.
_DOWN = FindingText(
    "server does not accept connections",
    "The server of {host} does not accept connections on port {port}. This is a fault of the"
    " server, and not of a certificate: none has to be bought or installed for it.",
    "Start the service on port {port} at {addresses}, or open the port in its firewall. No"
    " certificate has to be installed for it.",
)

CONNECTION: dict[str, FindingCode] = {
    "name-not-found": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.DNS,
        layer=Layer.DNS,
        visitor=Visitor.UNREACHABLE,
        text=FindingText(
            "name does not exist",
            "The name {host} does not exist in the DNS, so visitors cannot reach it.",
            "Create the A (and AAAA) record of {host} at its DNS provider, or renew the"
            " registration of the domain if it has expired.",
        ),
    ),
    # A result that is undetermined is never worded as a fault of the site.
    "dns-failure": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.DNS,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "DNS did not answer",
            "We could not determine where {host} points: {answer}.",
            "Query the authoritative name servers of {host} directly (dig +trace {host}). If"
            " only our resolver fails, fix the resolver.",
        ),
    ),
    "address-refused": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.DNS,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "points to an internal address",
            "{host} points to an address that is not on the public internet: {addresses}.",
            "Correct the record of {host}, or allow that network in the configuration"
            " ([network] allow) if the service is meant to be internal.",
        ),
    ),
    # Often intended, for example behind a CDN, so nothing is asked for.
    # Where a name points is the decision of its owner, and not a fault.
    "points-elsewhere": FindingCode(
        severity=Severity.INFO,
        role=Responsible.DNS,
        layer=Layer.DNS,
        visitor=Visitor.REMARK,
        text=FindingText(
            "points elsewhere",
            "{host} points to {addresses}, which is not one of the provider's servers.",
            "If this is intended, you do not need to do anything. Otherwise set the A and AAAA"
            " records of {host} to the addresses of the server.",
        ),
    ),
    # Clients answer to a warning by renewing, which would not help here: the text excludes it.
    "foreign-address": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.DNS,
        layer=Layer.DNS,
        visitor=Visitor.OTHER_SITE,
        text=FindingText(
            "foreign {kind} record {addresses}",
            "{host} also points to {addresses}, which is not one of the provider's servers."
            " Visitors who get that address do not reach the site.",
            "Delete the {kind} record {addresses} of {host} in the DNS. No certificate has to"
            " be renewed for it.",
        ),
        when={
            "valid": "If the address serves another valid certificate of the name",
            "same-certificate": "If it serves the certificate of the provider's server",
            "mixed": "If only some of several addresses do",
        },
        variants={
            # A CDN or a new server may be meant, and its deletion would take the site from its
            # visitors.
            "valid": FindingText(
                "unknown address {addresses}",
                "{host} also points to {addresses}, which is not one of the provider's"
                " servers. It serves a valid certificate of {host}, as a CDN or another server"
                " of the site does.",
                "If it was set up on purpose (a CDN or a new server), keep the record, and"
                " inform the provider, so that the address is known. Otherwise delete the"
                " {kind} record {addresses} of {host} in the DNS. No certificate has to be"
                " renewed for it.",
            ),
            "mixed": FindingText(
                "foreign {kind} record {delete}",
                "{host} also points to {delete}, which is not one of the provider's servers."
                " Visitors who get that address do not reach the site. It points to {keep} too,"
                " which serves a valid certificate, as a CDN or another server of the site"
                " does.",
                "Delete the {kind} record {delete} of {host} in the DNS. Keep the record of"
                " {keep} if it was set up on purpose (a CDN or a new server); otherwise delete"
                " it too. No certificate has to be renewed for it.",
            ),
            "same-certificate": FindingText(
                "unknown address {addresses}",
                "{host} also points to {addresses}, which is not in the networks of the"
                " provider. It serves the same certificate as the provider's server.",
                "If {addresses} is ours, add it to [network] provider in the configuration, or"
                " to its server. Otherwise delete the {kind} record {addresses} of {host} in"
                " the DNS.",
            ),
        },
    ),
    # One machine that gets no answer proves nothing about the site.
    "connection-timeout": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "no answer",
            "{host} ({addresses}) did not answer two attempts in time. That alone does not"
            " mean that it is down.",
            "Check from another network whether {addresses} answers on port {port}. If it"
            " does, a firewall blocks us.",
        ),
    ),
    # Confirmed by several runs (certmgr/checks/transport.py), and so not undetermined.
    "unreachable": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNREACHABLE,
        fix=Fix.LISTEN,
        text=FindingText(
            "unreachable since {since}",
            "{host} ({addresses}) has not answered {runs} checks since {since}.",
            "Start the server at {addresses}, or open port {port} in its firewall, or remove"
            " the record that points there.",
        ),
        when={
            "server-down": "If the server is down for several names",
        },
        variants={"server-down": _DOWN},
    ),
    "connection-failed": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNREACHABLE,
        fix=Fix.LISTEN,
        text=FindingText(
            "connection refused",
            "The server of {host} ({addresses}) refuses connections on port {port}.",
            "Start the service on port {port} at {addresses}, or retire this endpoint if it is"
            " no longer offered.",
        ),
        when={
            "server-down": "If the server is down for several names",
        },
        variants={"server-down": _DOWN},
    ),
    "https-missing": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOLDER_OR_HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNREACHABLE,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "no HTTPS",
            "{host} cannot be opened over HTTPS: its server ({addresses}) refuses the connection.",
            "Install a certificate for {host} and let the web server at {addresses} listen on"
            " port {port}.",
        ),
        when={
            "server-down": "If the server is down for several names",
        },
        variants={"server-down": _DOWN},
        client=ORDER,
    ),
    "not-tls": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.TLS_ERROR,
        fix=Fix.LISTEN,
        text=FindingText(
            "not TLS",
            "Something other than TLS answers on port {port} of {host} ({reason}), so browsers"
            " show an error.",
            "Turn TLS on for port {port} at {addresses} (nginx: 'listen {port} ssl;'; Apache:"
            " 'SSLEngine on').",
        ),
    ),
    "starttls-missing": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.MAIL,
        text=FindingText(
            "no STARTTLS",
            "The mail or data service of {host} does not start TLS: {reason}.",
            "Turn STARTTLS on at {addresses}, port {port}, with a certificate for {host}.",
        ),
    ),
    "starttls-unknown": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.TRANSPORT,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "no answer about STARTTLS",
            "The mail or data service of {host} refused our check before TLS could be"
            " requested: {reason}.",
            "Let {addresses} accept connections from the machine that runs certmgr. If it"
            " refuses the name in EHLO, set [scan] ehlo_name.",
        ),
    ),
    "handshake-failed": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.TRANSPORT,
        visitor=Visitor.TLS_ERROR,
        fix=Fix.TLS,
        text=FindingText(
            "TLS handshake fails",
            "A secure connection to {host} ({addresses}) cannot be established: {reason}.",
            "Check the error log of the server for the time of this scan. Then check the"
            " certificate, the key and the TLS settings for {host}.",
        ),
    ),
    # A remark: the operator decided it.
    "client-certificate-required": FindingCode(
        severity=Severity.INFO,
        role=Responsible.NONE,
        layer=Layer.TLS,
        visitor=Visitor.REMARK,
        text=FindingText(
            "asks for a client certificate",
            "{host} accepts only visitors who have a client certificate.",
            "If this is intended, you do not need to do anything.",
        ),
    ),
    "tls-legacy-only": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.TLS,
        visitor=Visitor.TLS_ERROR,
        fix=Fix.TLS,
        text=FindingText(
            "only {version}",
            "{host} offers nothing newer than {version}, which every current browser refuses.",
            "Turn TLS 1.2 and 1.3 on at {addresses} (nginx: 'ssl_protocols TLSv1.2 TLSv1.3;').",
        ),
    ),
    "tls-legacy-offered": FindingCode(
        severity=Severity.LOW,
        role=Responsible.HOST,
        layer=Layer.TLS,
        visitor=Visitor.REMARK,
        fix=Fix.TLS,
        text=FindingText(
            "offers {versions}",
            "{host} still offers {versions}, which is no longer needed.",
            "Turn {versions} off at {addresses} (nginx: 'ssl_protocols TLSv1.2 TLSv1.3;').",
        ),
    ),
    "ciphers-obsolete": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.TLS,
        visitor=Visitor.TLS_ERROR,
        fix=Fix.TLS,
        text=FindingText(
            "only obsolete ciphers",
            "{host} offers only encryption that current browsers no longer accept ({cipher}).",
            "Allow current cipher suites at {addresses} (for example ECDHE with AES-GCM or"
            " CHACHA20).",
        ),
    ),
    "handshake-incompatible": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.TLS,
        visitor=Visitor.TLS_ERROR,
        fix=Fix.TLS,
        text=FindingText(
            "refuses browsers",
            "Current browsers cannot connect to {host} at {addresses}: {detail}.",
            "At {addresses}, allow X25519 and P-256, RSA-PSS and ECDSA with SHA-256, and a"
            " certificate with an RSA or P-256 key. If the size of the ClientHello is the"
            " cause, update the firewall or load balancer that discards it.",
        ),
    ),
    # No browser requires it yet, so the text asks for nothing today.
    "post-quantum-missing": FindingCode(
        severity=Severity.INFO,
        role=Responsible.HOST,
        layer=Layer.TLS,
        visitor=Visitor.REMARK,
        fix=Fix.TLS,
        text=FindingText(
            "no post-quantum key exchange",
            "{host} does not offer X25519MLKEM768; traffic that is recorded today can be"
            " decrypted once quantum computers exist.",
            "Update OpenSSL at {addresses} to 3.5 or later and allow X25519MLKEM768. You do"
            " not need to do this today.",
        ),
    ),
}
