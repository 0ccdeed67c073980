"""Words for verdicts, for the outcome of a diagnosis, and for who acts."""

# With a mark in front, because colours are missing in mails, logs and for some readers.
VERDICTS = {"ok": "✓ ok", "attention": "! attention", "fault": "✗ fault", "unknown": "? unknown"}
OUTCOMES = {
    "you-act": "You need to act.",
    "we-act": "We are fixing it.",
    "escalated": "It has to be checked by our specialists (level 2).",
}
ACTORS = {"client": "the client", "provider": "we", "staff": "staff must check", "none": "no one"}
