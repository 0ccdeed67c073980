"""What somebody typed -> the URL, its endpoint and its page. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from inventory.errors import InvalidName
from inventory.names import display, normalise_host
from inventory.targets import Target
from inventory.text import printable

_WRITE = "Write https://shop.example.com/path."


@dataclass(frozen=True, slots=True)
class DiagnosisRequest:
    """``url``: as it is shown and said to the client.

    ``target``: the HTTPS endpoint of its host. ``plain``: http:// was asked for, then ``http_port``
    is its port. ``path``: with its query, in ASCII.
    """

    url: str
    target: Target
    plain: bool
    path: str
    http_port: int | None


def parse(text: str, https_port: int | None = None) -> DiagnosisRequest:
    """Without a scheme https is taken.

    ``https_port``: of the endpoint, where the URL is http://. Raises :class:`InvalidName`.
    """
    shown = printable(text, 100)
    url = (
        text.strip()
        if re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://", text)
        else f"https://{text.strip()}"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidName(f"'{shown}' is not a web address", "", _WRITE) from None
    if port == 0:
        raise InvalidName(f"'{shown}' is not a web address", "port 0 is no port", _WRITE)
    if parts.scheme not in ("http", "https"):
        raise InvalidName(
            f"'{shown}' is not a web address", "it begins with neither http:// nor https://", _WRITE
        )
    host = normalise_host(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        path = quote(path, safe="%/:@!$&'()*+,;=~-._?")
    plain = parts.scheme == "http"
    named = f"[{host}]" if ":" in host else display(host)
    clean = f"{parts.scheme}://{named}{f':{port}' if port else ''}{path}"
    secure_port = (https_port or 443) if plain else (port or 443)
    return DiagnosisRequest(clean, Target(host, secure_port), plain, path, port if plain else None)
