"""English texts of findings about DNS, connections and TLS."""

from notifiers.wording.finding_text import FindingText

CONNECTION: dict[str, FindingText] = {
    "name-not-found": FindingText(
        "name does not exist",
        "The name {host} does not exist in the DNS, so visitors cannot reach it.",
        "Create the A (and AAAA) record of {host} at its DNS provider, or renew the registration"
        " of the domain if it has expired.",
    ),
    # A result that is undetermined is never worded as a fault of the site.
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
    # Often intended, for example behind a CDN, so nothing is asked for.
    "points-elsewhere": FindingText(
        "points elsewhere",
        "{host} points to {addresses}, which is not one of the provider's servers.",
        "If this is intended, you do not need to do anything. Otherwise set the A and AAAA"
        " records of {host} to the addresses of the server.",
    ),
    # Clients answer to a warning by renewing, which would not help here: the text excludes it.
    "foreign-address": FindingText(
        "foreign {kind} record {addresses}",
        "{host} also points to {addresses}, which is not one of the provider's servers. Visitors"
        " who get that address do not reach the site.",
        "Delete the {kind} record {addresses} of {host} in the DNS. No certificate has to be"
        " renewed for it.",
    ),
    # One machine that gets no answer proves nothing about the site.
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
    # A remark: the operator decided it.
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
    # No browser requires it yet, so the text asks for nothing today.
    "post-quantum-missing": FindingText(
        "no post-quantum key exchange",
        "{host} does not offer X25519MLKEM768; traffic that is recorded today can be decrypted"
        " once quantum computers exist.",
        "Update OpenSSL at {addresses} to 3.5 or later and allow X25519MLKEM768. You do not need"
        " to do this today.",
    ),
}
