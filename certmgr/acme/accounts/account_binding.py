"""The key of an external account binding (RFC 8555 7.3.4), in the forms in which CAs show it.

Pure.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode

from inventory.errors import UsageError
from inventory.pasted import bare, plain

# A key id and an HMAC key have up to about 100 characters.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
# Fewer bytes can be guessed. RFC 7518 3.2 asks for 32, and some CAs give out 16.
_MIN_KEY = 16


def hmac_key(text: str) -> str:
    """Return an HMAC key as base64url without padding.

    CAs show it as base64url or as base64, with or without padding. A copied value may have quotes,
    blanks or line ends around it, and typographic dashes in it.

    Raises:
        UsageError: It is neither, or too short to be a key.
    """
    compact = bare("".join(plain(text).split()))
    if not _BASE64.fullmatch(compact):
        raise _unreadable("it must be base64url or base64, as the CA shows it")
    stripped = compact.rstrip("=").replace("-", "+").replace("_", "/")
    # One character alone in a group of four carries no byte.
    if len(stripped) % 4 == 1:
        raise _unreadable("a character is missing, or one too many was copied")
    key = b64decode(stripped + "=" * (-len(stripped) % 4))
    if len(key) < _MIN_KEY:
        raise _unreadable(f"it has {len(key)} bytes, and a key has {_MIN_KEY} or more")
    return urlsafe_b64encode(key).rstrip(b"=").decode()


def _unreadable(why: str) -> UsageError:
    return UsageError(
        "The key of the external account binding cannot be read",
        why,
        "Copy the HMAC key again. It is another value than the key id.",
    )
