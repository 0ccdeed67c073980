"""Findings about what the CA and the DNS state of a certificate."""

from inventory.finding_codes.client_texts import REISSUE
from inventory.finding_codes.kinds import (
    FindingCode,
    FindingText,
    Fix,
    Layer,
    Responsible,
    Visitor,
)
from inventory.vocabulary import Severity

ISSUANCE: dict[str, FindingCode] = {
    # The old key may be known to others, which is why a new one is asked for.
    "revoked": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOLDER,
        layer=Layer.REVOCATION,
        visitor=Visitor.REVOKED,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "revoked {since}",
            "The issuer revoked the certificate of {host} on {since} ({why}). Browsers that"
            " know this show a warning instead of the site.",
            "Ask the CA for the cause (serial {serial}, reason {reason}), create a new key,"
            " have a new certificate for {host} issued, and install both at {addresses}.",
        ),
        client=REISSUE,
    ),
    # Browsers accept such a certificate, so clients are not asked to do anything.
    "revocation-unknown": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.REVOCATION,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "revocation unknown",
            "Since {since} we could not determine whether the certificate of {host} was"
            " revoked: {detail}.",
            "Fetch {source} from here and from another network. If the CA is at fault, report"
            " it to the CA. If we are, fix our outgoing connection (plain HTTP, our resolver).",
        ),
    ),
    "staple-invalid": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.FIREFOX,
        fix=Fix.STAPLE,
        text=FindingText(
            "OCSP staple not valid",
            "The confirmation (OCSP) that the server of {host} has to send with its"
            " certificate is missing or not valid: {problem}. Some browsers show an error.",
            "Let the server at {addresses} fetch a new OCSP response (nginx: 'ssl_stapling"
            " on;' with a 'resolver', then reload). If the certificate does not require one,"
            " you can turn stapling off.",
        ),
        when={
            "expired": "If the response has expired",
            "reissue": "If the certificate requires a response that no one issues",
        },
        variants={
            "expired": FindingText(
                "OCSP staple expired",
                "The confirmation (OCSP) that the server of {host} sends with its certificate has"
                " expired. Browsers ignore it; some other programs end the connection.",
                "Let the server at {addresses} fetch a new OCSP response (nginx: 'ssl_stapling"
                " on;' with a 'resolver', then reload), or turn stapling off.",
            ),
            "reissue": FindingText(
                "certificate requires an OCSP staple that no one issues",
                "The certificate of {host} requires a confirmation (OCSP), and its CA does not"
                " offer that service. Some browsers show an error, whatever the server sends.",
                "Have the certificate of {host} issued again without 'must-staple' (TLS"
                " Feature), install it at {addresses}, and reload the server.",
            ),
        },
        client_variants={
            "reissue": (
                "Have the certificate of {host} issued again where you bought it, without"
                " 'must-staple': ask us first for the request file (CSR), and send us the new"
                " certificate (never a key). We install it."
            )
        },
    ),
    # SCTs may come by TLS or OCSP too, which this check cannot always see.
    "sct-missing": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOLDER,
        layer=Layer.CERTIFICATE,
        visitor=Visitor.WARNING,
        fix=Fix.CERTIFICATE,
        text=FindingText(
            "too few SCTs seen",
            "The certificate of {host} contains {embedded} of {needed} required proofs of"
            " public logging; the server may send others separately.",
            "Open {host} in Chrome; if it shows ERR_CERTIFICATE_TRANSPARENCY_REQUIRED, have"
            " the certificate reissued.",
        ),
        client=REISSUE,
    ),
    "caa-mismatch": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.DNS,
        layer=Layer.POLICY,
        visitor=Visitor.NEXT_ISSUANCE,
        text=FindingText(
            "CAA forbids our CA",
            "The DNS does not allow the CA that would issue the next certificate of {host}"
            " ({ca}) to do so.",
            'At the DNS provider of {found_at}, add the record: CAA 0 issue "{ca}". Present:'
            " {record}.",
        ),
    ),
    "dane-mismatch": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.DNS,
        layer=Layer.POLICY,
        visitor=Visitor.MAIL,
        text=FindingText(
            "TLSA does not match",
            "The DNS announces another certificate for {host} than its server shows"
            " ({reason}). Clients that check this, such as many mail servers, refuse the"
            " connection.",
            "Publish this record at {name}: TLSA {needed}. Remove outdated records. Or install"
            " the announced certificate at {addresses}.",
        ),
    ),
}
