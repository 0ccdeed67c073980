"""English texts of findings about certificates, chains and revocation."""

from notifiers.wording.finding_text import FindingText

CERTIFICATE: dict[str, FindingText] = {
    "certificate-expired": FindingText(
        "expired {not_after}",
        "The certificate of {host} expired on {not_after}; visitors see a warning instead of the"
        " site.",
        "Renew the certificate of {host}, install it at {addresses}, and reload the server.",
    ),
    "certificate-expiring": FindingText(
        "expires {not_after}",
        "The certificate of {host} expires on {not_after}; after that visitors see a warning.",
        "Renew the certificate of {host} and have it installed at {addresses} before {not_after}.",
    ),
    # A wrong clock of our machine looks the same, so it is compared first.
    "certificate-not-yet-valid": FindingText(
        "not valid before {not_before}",
        "The certificate of {host} becomes valid only on {not_before}; until then visitors see a"
        " warning.",
        "Compare our clock ({our_clock}) first. If it is right, install the previous certificate at"
        " {addresses} until {not_before}.",
    ),
    "name-mismatch": FindingText(
        "wrong name",
        "The certificate that {host} shows is for other names ({names}), so visitors see a"
        " warning.",
        "Issue a certificate that covers {host}, or install the right one at {addresses}.",
    ),
    # The certificate shown belongs to another site; renewing the client's would not help.
    "default-certificate": FindingText(
        "site missing on the server",
        "The server at {addresses} does not know the site {host} and shows another's certificate.",
        "Create the virtual host for {host} with its certificate at {addresses}, or point {host} to"
        " the server that has it.",
    ),
    "san-missing": FindingText(
        "no SAN",
        "The certificate of {host} names it only in an outdated way (common name), which browsers"
        " no longer accept.",
        "Reissue the certificate with {host} as a subject alternative name and install it at"
        " {addresses}.",
    ),
    "self-signed": FindingText(
        "self-signed",
        "The certificate of {host} is self-signed, so visitors see a warning.",
        "Get a certificate for {host} from a public CA and install it at {addresses}.",
    ),
    # Browsers that cached the intermediate show no warning, so the operator often sees none.
    "chain-incomplete": FindingText(
        "intermediate missing",
        "The server of {host} does not send the certificate of '{missing}', so some visitors see a"
        " warning.",
        "Install the full chain at {addresses}: add the certificate of '{missing}' after the"
        " leaf certificate (nginx: fullchain in 'ssl_certificate').",
    ),
    "chain-disordered": FindingText(
        "chain not in order",
        "The server of {host} sends its certificates in an unusual way; visitors notice nothing.",
        "At {addresses}, send the leaf certificate first, then each issuer in order, without the"
        " root certificate and without any other.",
    ),
    "intermediate-expired": FindingText(
        "intermediate expired",
        "An intermediate certificate of {host} ('{intermediate}') expired on {not_after};"
        " visitors see a warning.",
        "Replace the chain at {addresses} with the current intermediate certificate of the CA.",
    ),
    "issuer-not-yet-valid": FindingText(
        "CA not valid before {not_before}",
        "A certificate of the CA of {host} ('{issuer}') becomes valid only on {not_before}; until"
        " then visitors see a warning.",
        "Compare our clock ({our_clock}) first. If it is right, install a certificate at"
        " {addresses} whose CA is valid now.",
    ),
    # Only devices with that root can be repaired, and not the server.
    "root-expired": FindingText(
        "CA root expired {not_after}",
        "The root certificate '{root}', to which the certificate of {host} belongs, expired on"
        " {not_after}; visitors see a warning.",
        "Renew the root certificate of the CA '{root}' and distribute it to all devices that trust"
        " it, and to this program ([trust] ca_files or --ca-file). Reissuing the certificate of"
        " {host} does not help.",
    ),
    "untrusted-root": FindingText(
        "untrusted CA",
        "The certificate of {host} comes from '{root}', which browsers do not trust.",
        "Get a certificate for {host} from a public CA and install it at {addresses}. If the CA"
        " is internal, name its root certificate with --ca-file.",
    ),
    # Two verifiers disagree, so neither answer is given to a client.
    "verification-disputed": FindingText(
        "verifiers disagree",
        "Our two verifiers disagree on the certificate of {host}; staff have to check it.",
        "Open {host} in current browsers and compare: {words}.",
    ),
    # A private CA may issue what a public one may not.
    "profile-deviation": FindingText(
        "not as public CAs issue",
        "The certificate of {host} differs from those of public CAs ({problems}); browsers that"
        " trust its private CA accept it.",
        "You do not need to do anything. A future browser may be stricter, so consider it when the"
        " private CA issues again.",
    ),
    "ca-distrusted": FindingText(
        "distrusted CA ({ca})",
        "The certificate of {host} comes from {ca}, which browsers no longer trust.",
        "Get a certificate for {host} from another CA and install it at {addresses}.",
    ),
    # Renewal at the same CA would give the same root, so the text asks for another one.
    "trust-ending": FindingText(
        "{who}: no trust from {until}",
        "The certificate of {host} loses the trust of {who} on {until}, before it expires on"
        " {not_after}; from then on visitors see a warning ({about}).",
        "Get a certificate for {host} that leads to another root than '{root}', and install it at"
        " {addresses} before {until}.",
    ),
    "certificate-malformed": FindingText(
        "malformed certificate",
        "The certificate of {host} breaks a rule for certificates: {problems}{reason}.",
        "Have the certificate of {host} reissued by the CA and install it at {addresses}.",
    ),
    "validity-too-long": FindingText(
        "valid too long ({days} days)",
        "The certificate of {host} is valid for {days} days, and browsers accept at most"
        " {allowed}.",
        "Have it reissued with at most {allowed} days and install it at {addresses}.",
    ),
    # A reissue with the old key would have the same fault.
    "key-weak": FindingText(
        "weak key ({key})",
        "The key of the certificate of {host} ({key}) is too weak, or of a kind that browsers"
        " refuse.",
        "Create a new key (EC P-256 or RSA 2048), have the certificate reissued, and install"
        " both at {addresses}.",
    ),
    "signature-weak": FindingText(
        "weak signature ({signature})",
        "The certificate of {host} is signed with {signature}, which browsers refuse.",
        "Have the certificate reissued (SHA-256) and install it with its chain at {addresses}.",
    ),
    # The old key may be known to others, which is why a new one is asked for.
    "revoked": FindingText(
        "revoked {since}",
        "The issuer revoked the certificate of {host} on {since} ({why}). Browsers that know"
        " this show a warning instead of the site.",
        "Ask the CA for the cause (serial {serial}, reason {reason}), create a new key, have a"
        " new certificate for {host} issued, and install both at {addresses}.",
    ),
    # Browsers accept such a certificate, so clients are not asked to do anything.
    "revocation-unknown": FindingText(
        "revocation unknown",
        "Since {since} we could not determine whether the certificate of {host} was revoked:"
        " {detail}.",
        "Fetch {source} from here and from another network. If the CA is at fault, report it to"
        " the CA. If we are, fix our outgoing connection (plain HTTP, our resolver).",
    ),
    "staple-invalid": FindingText(
        "OCSP staple not valid",
        "The confirmation (OCSP) that the server of {host} has to send with its certificate is"
        " missing or not valid: {problem}. Some browsers show an error.",
        "Let the server at {addresses} fetch a new OCSP response (nginx: 'ssl_stapling on;' with"
        " a 'resolver', then reload). If the certificate does not require one, you can turn"
        " stapling off.",
    ),
    "caa-mismatch": FindingText(
        "CAA forbids our CA",
        "The DNS does not allow the CA that would issue the next certificate of {host} ({ca}) to"
        " do so.",
        'At the DNS provider of {found_at}, add the record: CAA 0 issue "{ca}". Present: {record}.',
    ),
    "dane-mismatch": FindingText(
        "TLSA does not match",
        "The DNS announces another certificate for {host} than its server shows ({reason})."
        " Clients that check this, such as many mail servers, refuse the connection.",
        "Publish this record at {name}: TLSA {needed}. Remove outdated records. Or install the"
        " announced certificate at {addresses}.",
    ),
    # SCTs may come by TLS or OCSP too, which this check cannot always see.
    "sct-missing": FindingText(
        "too few SCTs seen",
        "The certificate of {host} contains {embedded} of {needed} required proofs of public"
        " logging; the server may send others separately.",
        "Open {host} in Chrome; if it shows ERR_CERTIFICATE_TRANSPARENCY_REQUIRED, have the"
        " certificate reissued.",
    ),
    "inconsistent-deployment": FindingText(
        "addresses differ",
        "The servers of {host} ({addresses}) show different certificates.",
        "Install the same certificate on every server of {host}: {expires}.",
    ),
    # Either a rollback that was not decided, or a renewal by the client; both have to be known.
    "unexpected-certificate": FindingText(
        "unexpected certificate",
        "{host} shows another certificate (serial {serial}) than the one that we installed and"
        " verified there.",
        "Find out who changed it at {addresses}. If an old certificate is back, replace it"
        " again. If the client has a new one, add it to its purchase (certmgr purchase attach).",
    ),
}
