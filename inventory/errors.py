"""Errors that a user can cause or fix. Each states what happened, why, and what to do.

CertmgrError                exit 3: the action failed
|-- UsageError              exit 2: the call was wrong
|   |-- InvalidName         an invalid name, address, port or protocol
|   |-- ConfigError         the configuration file, or an environment variable
|   `-- NotFound            a record that does not exist
|-- Conflict                a record that exists already or prevents the change
|-- DatabaseError           the database cannot be opened, written or migrated
|   `-- DatabaseVersion     the database has another version
`-- Busy                    another process holds the lock of the database
"""

from __future__ import annotations

import logging
import traceback


class CertmgrError(Exception):
    """Base class of these errors.

    Attributes:
        what: What happened.
        why: The reason.
        todo: What to do.
        exit_code: Exit code of the command.
    """

    exit_code = 3

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.todo = what, why, todo

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(f": {self.why}")
        # Some reasons are sentences of another library and end with a full stop already.
        if not "".join(parts).endswith((".", "?")):
            parts.append(".")
        if self.todo:
            parts.append(f" {self.todo}")
        return "".join(parts)

    def __reduce__(self) -> tuple[type[CertmgrError], tuple[str, str, str]]:
        # The default pickling would pass only the first argument to the constructor.
        return type(self), (self.what, self.why, self.todo)


class UsageError(CertmgrError):
    """A wrong call, such as an invalid argument."""

    exit_code = 2


class InvalidName(UsageError):
    """An invalid name, address, port or protocol."""


class ConfigError(UsageError):
    """An error in the configuration file or an environment variable."""


class NotFound(UsageError):
    """A record that does not exist."""


class Conflict(CertmgrError):
    """A record that exists already or prevents the change."""


class DatabaseError(CertmgrError):
    """The database cannot be opened, written or migrated."""


class DatabaseVersion(DatabaseError):
    """The database has a version that this program cannot use."""


class Busy(CertmgrError):
    """Another process holds the lock of the database."""


def log_internal_error(logger: logging.Logger, what: str) -> None:
    """Log that something ended with an internal error, from within its ``except`` clause.

    The error itself is for programmers, so only the most detailed log (-vv) contains it.
    """
    logger.warning("%s ended with an internal error", what)
    logger.debug("the internal error: %s", traceback.format_exc())


# A message for those who operate certmgr. Its cause is in the log, since it helps only programmers.
INTERNAL_ERROR = "an internal error of certmgr; certmgr -vv logs it"


def abort_reason(error: BaseException) -> str:
    """Return why a job ended early, for those who operate certmgr.

    The text of an internal error is for programmers, so it is in no reason.
    """
    if isinstance(error, CertmgrError):
        return str(error)
    return INTERNAL_ERROR if isinstance(error, Exception) else "it was interrupted"
