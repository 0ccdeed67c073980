"""One sample per template, to check templates before anything is decided."""

from __future__ import annotations

from typing import Any

SAMPLES: dict[str, dict[str, Any]] = {
    "client": {
        "language": "en",
        "subject": "s",
        "greeting": "g",
        "lead": "l",
        "also": ["a"],
        "offers": "o",
        "handler": "h",
        "answer": "a",
        "thanks": "t",
        "provider": "p",
        "blocks": [
            {
                "heading": "h",
                "reference": "CM-AAAAAA",
                "what": "w",
                "do": "d",
                "facts": [("label", "value")],
                "paste": "-----BEGIN",
            }
        ],
    },
    "announcement": {
        "language": "en",
        "subject": "s",
        "greeting": "g",
        "lead": "l",
        "text": "t",
        "lines": ["x"],
        "handler": "h",
        "answer": "a",
        "thanks": "t",
        "provider": "p",
    },
    "staff": {
        "subject": "s",
        "lead": "l",
        "sections": [
            {
                "heading": "h",
                "lines": [{"text": "x", "command": "c"}],
                "more": 1,
                "number": 1,
                "command": "c",
            }
        ],
        "footer": ["f"],
    },
}
