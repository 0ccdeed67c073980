"""English texts of findings.

notifiers/wording/sentences.py fills the placeholders with printable values. Text of rows is never
used as a template.
"""

from typing import NamedTuple


class FindingText(NamedTuple):
    """The texts of a finding code.

    Attributes:
        short: What is wrong, in a few words.
        sentence: One plain sentence for a client.
        instruction: An exact instruction for the person who acts.
    """

    short: str
    sentence: str
    instruction: str


FINDINGS: dict[str, FindingText] = {
    "name-not-found": FindingText(
        "name does not exist",
        "The name {host} does not exist in the DNS, so visitors cannot reach it.",
        "Create the A (and AAAA) record of {host} at its DNS provider, or renew the registration"
        " of the domain if it has expired.",
    ),
    "dns-failure": FindingText(
        "DNS did not answer",
        "We could not determine where {host} points: {answer}.",
        "Query the authoritative name servers of {host} directly (dig +trace {host}). If only"
        " our resolver fails, fix the resolver.",
    ),
    "address-refused": FindingText(
        "points to an internal address",
        "{host} points to an address that is not on the public internet: {addresses}.",
        "Correct the record of {host}, or allow that network in the configuration ([network] allow)"
        " if the service is meant to be internal.",
    ),
    "points-elsewhere": FindingText(
        "points elsewhere",
        "{host} points to {addresses}, which is not one of the provider's servers.",
        "If this is intended, you do not need to do anything. Otherwise set the A and AAAA"
        " records of {host} to the addresses of the server.",
    ),
    "foreign-address": FindingText(
        "foreign {kind} record {addresses}",
        "{host} also points to {addresses}, which is not one of the provider's servers. Visitors"
        " who get that address do not reach the site.",
        "Delete the {kind} record {addresses} of {host} in the DNS. No certificate has to be"
        " renewed for it.",
    ),
    "connection-timeout": FindingText(
        "no answer",
        "{host} ({addresses}) did not answer two attempts in time. That alone does not mean that"
        " it is down.",
        "Check from another network whether {addresses} answers on port {port}. If it does, a"
        " firewall blocks us.",
    ),
    "unreachable": FindingText(
        "unreachable since {since}",
        "{host} ({addresses}) has not answered {runs} checks since {since}.",
        "Start the server at {addresses}, or open port {port} in its firewall, or remove the record"
        " that points there.",
    ),
    "connection-failed": FindingText(
        "connection refused",
        "The server of {host} ({addresses}) refuses connections on port {port}.",
        "Start the service on port {port} at {addresses}, or retire this endpoint if it is no"
        " longer offered.",
    ),
    "https-missing": FindingText(
        "no HTTPS",
        "{host} cannot be opened over HTTPS: its server ({addresses}) refuses the connection.",
        "Install a certificate for {host} and let the web server at {addresses} listen on port"
        " {port}.",
    ),
    "not-tls": FindingText(
        "not TLS",
        "Something other than TLS answers on port {port} of {host} ({reason}), so browsers show an"
        " error.",
        "Turn TLS on for port {port} at {addresses} (nginx: 'listen {port} ssl;'; Apache:"
        " 'SSLEngine on').",
    ),
    "starttls-missing": FindingText(
        "no STARTTLS",
        "The mail or data service of {host} does not start TLS: {reason}.",
        "Turn STARTTLS on at {addresses}, port {port}, with a certificate for {host}.",
    ),
    "starttls-unknown": FindingText(
        "no answer about STARTTLS",
        "The mail or data service of {host} refused our check before TLS could be requested:"
        " {reason}.",
        "Let {addresses} accept connections from the machine that runs certmgr. If it refuses the"
        " name in EHLO, set [scan] ehlo_name.",
    ),
    "handshake-failed": FindingText(
        "TLS handshake fails",
        "A secure connection to {host} ({addresses}) cannot be established: {reason}.",
        "Check the error log of the server for the time of this scan. Then check the"
        " certificate, the key and the TLS settings for {host}.",
    ),
    "client-certificate-required": FindingText(
        "asks for a client certificate",
        "{host} accepts only visitors who have a client certificate.",
        "If this is intended, you do not need to do anything.",
    ),
    "tls-legacy-only": FindingText(
        "only {version}",
        "{host} offers nothing newer than {version}, which every current browser refuses.",
        "Turn TLS 1.2 and 1.3 on at {addresses} (nginx: 'ssl_protocols TLSv1.2 TLSv1.3;').",
    ),
    "tls-legacy-offered": FindingText(
        "offers {versions}",
        "{host} still offers {versions}, which is no longer needed.",
        "Turn {versions} off at {addresses} (nginx: 'ssl_protocols TLSv1.2 TLSv1.3;').",
    ),
    "ciphers-obsolete": FindingText(
        "only obsolete ciphers",
        "{host} offers only encryption that current browsers no longer accept ({cipher}).",
        "Allow current cipher suites at {addresses} (for example ECDHE with AES-GCM or CHACHA20).",
    ),
    "handshake-incompatible": FindingText(
        "refuses browsers",
        "Current browsers cannot connect to {host} at {addresses}: {detail}.",
        "At {addresses}, allow X25519 and P-256, RSA-PSS and ECDSA with SHA-256, and a certificate"
        " with an RSA or P-256 key. If the size of the ClientHello is the cause, update the"
        " firewall or load balancer that discards it.",
    ),
    "post-quantum-missing": FindingText(
        "no post-quantum key exchange",
        "{host} does not offer X25519MLKEM768; traffic that is recorded today can be decrypted"
        " once quantum computers exist.",
        "Update OpenSSL at {addresses} to 3.5 or later and allow X25519MLKEM768. You do not need"
        " to do this today.",
    ),
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
    "verification-disputed": FindingText(
        "verifiers disagree",
        "Our two verifiers disagree on the certificate of {host}; staff have to check it.",
        "Open {host} in current browsers and compare: {words}.",
    ),
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
    "revoked": FindingText(
        "revoked {since}",
        "The issuer revoked the certificate of {host} on {since} ({why}). Browsers that know"
        " this show a warning instead of the site.",
        "Ask the CA for the cause (serial {serial}, reason {reason}), create a new key, have a"
        " new certificate for {host} issued, and install both at {addresses}.",
    ),
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
    "unexpected-certificate": FindingText(
        "unexpected certificate",
        "{host} shows another certificate (serial {serial}) than the one that we installed and"
        " verified there.",
        "Find out who changed it at {addresses}. If an old certificate is back, replace it"
        " again. If the client has a new one, add it to its purchase (certmgr purchase attach).",
    ),
    "http-collects-secrets": FindingText(
        "password or card over HTTP",
        "A page of {host} asks for a password or a payment card without encryption ({url});"
        " browsers show 'Not secure'.",
        "Redirect {url} to HTTPS at {addresses}. If there is no certificate yet, install one"
        " first. The field: {field}.",
    ),
    "http-collects-input": FindingText(
        "form over HTTP",
        "A page of {host} accepts what visitors type without encryption ({url}); browsers show"
        " 'Not secure'.",
        "Redirect {url} to HTTPS at {addresses}. If there is no certificate yet, install one"
        " first. The field: {field}.",
    ),
    "http-served": FindingText(
        "served over HTTP",
        "{host} shows its pages without encryption ({url}); browsers show 'Not secure'.",
        "Redirect {url} to HTTPS at {addresses} (301). If there is no certificate yet, install"
        " one first.",
    ),
    "redirect-missing": FindingText(
        "no redirect to HTTPS",
        "{host} does not redirect visitors of {url} to HTTPS, so their connection stays without"
        " encryption.",
        "Redirect {url} to HTTPS at {addresses} (nginx: 'return 301 https://$host$request_uri;').",
    ),
    "redirect-insecure": FindingText(
        "HTTPS redirects to HTTP",
        "{host} sends its visitors from the secure address {url} to one without encryption ({to}).",
        "Remove the redirect from {url} to {to} at {addresses}. Check the web server and the"
        " settings of the site itself.",
    ),
    "redirect-broken": FindingText(
        "redirect leads to an error",
        "{host} cannot be opened: it redirects {url} to {to}, and browsers show an error there:"
        " {why}.",
        "Correct the redirect from {url} to {to} at {addresses}: {advice}.",
    ),
    "answer-invalid": FindingText(
        "answer that browsers refuse",
        "{host} cannot be opened: its server answers the request for {url} with {why}, and browsers"
        " show an error.",
        "Correct the web server, the proxy or the program that answers {url} at {addresses}. Each"
        " answer needs one status line, and Location, Content-Length and Content-Disposition at"
        " most once.",
    ),
    "redirect-loop": FindingText(
        "redirect loop",
        "{host} cannot be opened: it redirects {url} again and again ({why}).",
        "Find the two rules that redirect to each other ({path}) at {addresses}. Often one is in"
        " the web server, and the other in the site or its CDN.",
    ),
    "mixed-content": FindingText(
        "loads over HTTP",
        "The page {url} is secure, but loads or sends parts of it without encryption ({example});"
        " browsers block or mark them.",
        "Change these addresses from http:// to https:// in the site {host}: {urls}.",
    ),
    "hsts-missing": FindingText(
        "no HSTS",
        "{host} does not instruct browsers to use only HTTPS; visitors notice nothing.",
        "Once HTTPS works everywhere, send 'Strict-Transport-Security: max-age=31536000' at"
        " {addresses}; begin with a small max-age.",
    ),
    "http-unknown": FindingText(
        "page undetermined",
        "We could not determine what visitors of {host} see at {url}: {why}.",
        "Open {url} in a browser from another network. Allow our scanner there ([http] contact"
        " identifies it), or accept this finding.",
    ),
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
}

# A server that is down for several names.
_DOWN = FindingText(
    "server does not accept connections",
    "The server of {host} does not accept connections on port {port}. This is a fault of the"
    " server, and not of a certificate: none has to be bought or installed for it.",
    "Start the service on port {port} at {addresses}, or open the port in its firewall. No"
    " certificate has to be installed for it.",
)

# Findings of a code that another action fixes: (code, "variant" of the evidence).
VARIANTS: dict[tuple[str, str], FindingText] = {
    ("https-missing", "server-down"): _DOWN,
    ("connection-failed", "server-down"): _DOWN,
    ("unreachable", "server-down"): _DOWN,
    ("foreign-address", "valid"): FindingText(
        "foreign {kind} record {addresses}",
        "{host} also points to {addresses}, which is not one of the provider's servers. It serves a"
        " valid certificate, but its visitors see the site of another server.",
        "Delete the {kind} record {addresses} of {host} in the DNS. No certificate has to be"
        " renewed for it.",
    ),
    ("foreign-address", "same-certificate"): FindingText(
        "unknown address {addresses}",
        "{host} also points to {addresses}, which is not in the networks of the provider. It serves"
        " the same certificate as the provider's server.",
        "If {addresses} is ours, add it to [network] provider in the configuration, or to its"
        " server. Otherwise delete the {kind} record {addresses} of {host} in the DNS.",
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

# What a client has to do if we host and install. The instruction above is then for our staff.
# Clients who host elsewhere get the instruction above.
# Clients must never send a private key. So the key is created where it is used, and the order is
# placed with its CSR.
_RENEW = (
    "Renew the certificate of {host} where you bought it: ask us for the CSR first, and send us the"
    " new certificate (never a key). We install it."
)
_ORDER = (
    "Order a certificate for {host} from a vendor of your choice: ask us for the CSR first, and"
    " send us the certificate (never a key). We install it."
)
_REISSUE = (
    "Have the certificate of {host} issued again where you bought it: ask us for the CSR first, and"
    " send us the new certificate (never a key). We install it."
)
CLIENT_VARIANTS = {
    ("staple-invalid", "reissue"): (
        "Have the certificate of {host} issued again where you bought it, without 'must-staple':"
        " ask us for the CSR first, and send us the new certificate (never a key). We install it."
    ),
}
CLIENT_DO = {
    "https-missing": _ORDER,
    "self-signed": _ORDER,
    "untrusted-root": _ORDER,
    "ca-distrusted": (
        "Order a certificate for {host} from another CA than {ca}: ask us for the CSR first, and"
        " send us the certificate (never a key). We install it."
    ),
    "trust-ending": (
        "Ask your vendor for a certificate for {host} that leads to another root than '{root}': ask"
        " us for the CSR first, and send us the certificate (never a key) before {until}. We"
        " install it."
    ),
    "certificate-expired": _RENEW,
    "certificate-expiring": _RENEW,
    "name-mismatch": (
        "Order a certificate that names {host}, or have yours issued again with that name: ask us"
        " for the CSR first, and send us the certificate (never a key). We install it."
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

VERDICTS = {"ok": "✓ ok", "attention": "! attention", "fault": "✗ fault", "unknown": "? unknown"}
OUTCOMES = {
    "you-act": "You need to act.",
    "we-act": "We are fixing it.",
    "escalated": "It was passed to level 2.",
}
ACTORS = {"client": "the client", "provider": "we", "staff": "staff must check", "none": "no one"}
