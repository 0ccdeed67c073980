"""Errors that a user can cause. Every one says what happened, why, and what to do.

CertmgrError                exit 3: it could not be done
|-- UsageError              exit 2: the call was wrong
|   |-- InvalidName         a name, an address, a port or a protocol that is none
|   |-- ConfigError         the configuration file, or an environment variable
|   `-- NotFound            a record that does not exist
|-- Conflict                a record that exists already, or is in the way
|-- DatabaseError           the database cannot be opened, written or migrated
|   `-- DatabaseVersion     it belongs to another version of certmgr
`-- Busy                    another scan holds the database
"""


class CertmgrError(Exception):
    """What happened (``what``), why (``why``) and what to do (``todo``); ``exit_code`` stands on
    the class.
    """

    exit_code = 3

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.todo = what, why, todo

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(f": {self.why}")
        if not "".join(parts).endswith((".", "?")):
            parts.append(".")
        if self.todo:
            parts.append(f" {self.todo}")
        return "".join(parts)

    def __reduce__(self) -> tuple[type["CertmgrError"], tuple[str, str, str]]:
        return type(self), (self.what, self.why, self.todo)


class UsageError(CertmgrError):
    exit_code = 2


class InvalidName(UsageError):
    pass


class ConfigError(UsageError):
    pass


class NotFound(UsageError):
    pass


class Conflict(CertmgrError):
    pass


class DatabaseError(CertmgrError):
    pass


class DatabaseVersion(DatabaseError):
    pass


class Busy(CertmgrError):
    pass
