"""The states of an issuance or a deployment, as symbols and words."""

from __future__ import annotations

SYMBOLS = {"waits": "…", "held": "!", "busy": "…", "untold": "?"}
WORDS = {
    "waits": "put off",
    "held": "waits for you",
    "busy": "not now",
    "untold": "in place, and nobody could tell whether it is live",
    "unseen": "in place, and not live",
    "failed": "failed",
    "rolled-back": "taken back",
    "staff": "somebody has to look",
}
