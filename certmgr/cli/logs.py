"""Logging to standard error: as text or as JSON lines, with the id of the run on every line.

Without ``-v`` only warnings are shown, ``-v`` adds what the program does to the outside, ``-vv``
adds each connection. Results never go to the log: they are printed by the commands.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal

from certmgr.config.redaction import redact
from inventory.text import printable

LogFormat = Literal["text", "json"]
FORMATS: tuple[LogFormat, ...] = ("text", "json")
PACKAGES = ("certmgr", "notifiers", "inventory")
_LEVELS = {0: logging.WARNING, 1: logging.INFO}
# A message may quote a server's answer.
_MAX_MESSAGE = 2000


class _Formatter(logging.Formatter):
    """One line per record: time in UTC, level, run, logger and message."""

    def __init__(self, log_format: LogFormat, run_id: str) -> None:
        super().__init__()
        self._json, self._run_id = log_format == "json", run_id

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        # Quoted texts are hostile: control characters would break lines or move the cursor.
        message = printable(redact(record.getMessage()), _MAX_MESSAGE)
        if not self._json:
            return f"{time} {record.levelname} [{self._run_id}] {record.name}: {message}"
        fields = {
            "time": time,
            "level": record.levelname.lower(),
            "run": self._run_id,
            "logger": record.name,
            "message": message,
        }
        return json.dumps(fields, ensure_ascii=False)


def configure(verbosity: int, log_format: LogFormat) -> str:
    """Send the log of our packages to standard error, and return the id of this run."""
    # Runs that overlap, or that are appended to one file by cron, are distinguished by the id.
    run_id = os.urandom(4).hex()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format, run_id))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(_LEVELS.get(verbosity, logging.DEBUG))
        # The root logger would print the line again if an application configured it.
        logger.propagate = False
    # Warnings of libraries, which may quote an answer: Python would print them as they are.
    fallback = logging.StreamHandler(sys.stderr)
    fallback.setLevel(logging.WARNING)
    fallback.setFormatter(_Formatter(log_format, run_id))
    logging.lastResort = fallback
    return run_id
