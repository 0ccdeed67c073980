"""The values of secrets, which the configuration names by ``env:NAME`` or ``file:PATH``."""

from __future__ import annotations

import os
from pathlib import Path

from certmgr.config.redaction import register
from inventory.errors import CertmgrError, ConfigError
from inventory.files import read_regular
from inventory.pasted import INVISIBLE

_MAX_SECRET = 65_536  # bytes


def secret(text: str) -> str:
    """Return the value of ``env:NAME`` or ``file:PATH``; any other text is returned unchanged.

    Secrets are resolved when they are used and are not stored in the settings.

    Raises:
        ConfigError: The environment variable is not set, or the file cannot be read.
    """
    kind, _, rest = text.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise ConfigError(
                f"The environment variable {rest} is not set", "the configuration refers to it"
            )
        register(value)
        return value
    if kind == "file":
        try:
            value = _text(read_regular(Path(rest), _MAX_SECRET)[:_MAX_SECRET])
        except CertmgrError as error:
            raise ConfigError(f"The secret file {rest} cannot be read", error.why) from None
        except UnicodeDecodeError:
            raise ConfigError(f"The secret file {rest} cannot be read", "it is not text") from None
        register(value)
        return value
    return text


def _text(data: bytes) -> str:
    """Return the text of a secret file without what an editor adds around it.

    PowerShell writes UTF-16, and editors of Windows a byte order mark.
    """
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if utf16 else "utf-8").strip(INVISIBLE)
