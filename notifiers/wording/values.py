"""Fixed phrases that checks put into evidence and that stand in sentences: they are translated like those."""

from __future__ import annotations

NOT_YOURS = "none of yours"
NOT_NAMED = "a CA that is not named here"
VALUES = frozenset({
    NOT_YOURS, NOT_NAMED,
    "it refuses us (403)", "it refuses us (406)", "it refuses us (451)", "it answers with an error of its own", "it does not answer in HTTP", "no time was left for it", "it has had enough of our questions (429)", "it is unavailable for the moment (503)",
    "a protection service asks for a browser (challenge page)", "the same address again", "more than 10 redirects",
    "no time was left to follow its redirects", "the server closed the connection without an answer", "no end to the HTTP answer",
    "no answer to the connection", "no end to the TLS handshake", "no end to the STARTTLS dialogue", "the page is larger than what we read",
    "the page did not come to its end in time", "the page is built so that it cannot be read in a few seconds", "the page breaks what reads it", "the visit failed by our own fault",
    "it redirects to a port that browsers do not open", "HTTP Basic login",
    "the name does not exist (NXDOMAIN)", "the name has no A and no AAAA record", "no resolver answered in time",
    "no reason was given", "its key became known to others", "a key of the issuer became known to others", "its owner changed", "it was replaced",
    "it is no longer used", "it is on hold", "the issuer withdrew it", "a key became known to others",
    "it has expired", "it is not valid yet", "it says that the certificate was revoked", "its responder does not know the certificate", "its signature is wrong",
    "it is about another certificate", "it cannot be read", "the certificate demands one, and none is sent",
    "the certificate is not the announced one", "no signed path leads to the announced CA", "the announced CA is not in the chain that was sent",
    "a record matches, and its path is not trusted", "a certificate of the path is not valid at this time", "the certificate of the announced CA does not cover the name",
    "the server closed the connection in the handshake", "the server wants a client certificate",
})  # fmt: skip
