"""Symbols and words for the states of an issuance or a deployment."""

from __future__ import annotations

# A state without a symbol is a failure; the callers print "✗" for it.
SYMBOLS = {"waits": "…", "held": "!", "busy": "…", "untold": "?"}
WORDS = {
    "waits": "postponed",
    "held": "waits for your approval",
    "busy": "in use by another process",
    "untold": "deployed; whether it is live is undetermined",
    "unseen": "deployed, but not live",
    "failed": "failed",
    "rolled-back": "rolled back",
    "staff": "an administrator has to act",
}
