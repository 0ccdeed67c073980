"""Parse the URL of a diagnosis request into its endpoint and its page. Pure."""

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
    """A parsed URL.

    Attributes:
        url: The URL as staff and client read it.
        target: The HTTPS endpoint of its host.
        plain: Whether the URL begins with http://.
        path: The path with its query, in ASCII.
        http_port: The port of an http:// URL; None for the default port.
    """

    url: str
    target: Target
    plain: bool
    path: str
    http_port: int | None


def parse(text: str, https_port: int | None = None) -> DiagnosisRequest:
    """Parse a URL. Without a scheme, https is assumed.

    Args:
        text: What the user entered.
        https_port: The port of the HTTPS endpoint if the URL is http://.

    Raises:
        InvalidName: The text is not an http or https URL.
    """
    shown = printable(text, 100)
    # Without the "//", urlsplit would read "example.com:8443" as a URL with the scheme
    # "example.com". So a scheme counts only with it.
    url = (
        text.strip()
        if re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://", text)
        else f"https://{text.strip()}"
    )
    try:
        parts = urlsplit(url)
        # The port is parsed when it is read, so an invalid one raises here.
        port = parts.port
    except ValueError:
        raise InvalidName(
            f"'{shown}' is not a web address", "it cannot be parsed as a URL", _WRITE
        ) from None
    if port == 0:
        raise InvalidName(f"'{shown}' is not a web address", "port 0 is not a valid port", _WRITE)
    if parts.scheme not in ("http", "https"):
        raise InvalidName(
            f"'{shown}' is not a web address", "it must begin with http:// or https://", _WRITE
        )
    host = normalise_host(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Browsers percent-encode such characters before they send the request.
    if not path.isascii() or not path.isprintable() or " " in path:
        # The "%" is kept, so that what was escaped already is not escaped twice.
        path = quote(path, safe="%/:@!$&'()*+,;=~-._?")
    plain = parts.scheme == "http"
    shown_host = f"[{host}]" if ":" in host else display(host)
    clean = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{path}"
    # The port of an http:// URL does not reveal the HTTPS port of the host.
    secure_port = (https_port or 443) if plain else (port or 443)
    return DiagnosisRequest(clean, Target(host, secure_port), plain, path, port if plain else None)
