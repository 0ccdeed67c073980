"""URLs of redirects, as browsers resolve them, and what browsers do not open. Pure."""

from __future__ import annotations

import re
import socket
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host, registered_domain

# Browsers follow 2 MB. The request must fit one TLS record, with the cookies.
MAX_URL = 8_000
# Ports that browsers never open (Fetch standard, "bad port").
_BAD_PORTS = """
    0 1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110
    111 113 115 117 119 123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531
    532 540 548 554 556 563 587 601 636 989 990 993 995 1719 1720 1723 2049 3659 4045 4190
    5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
BAD_PORTS = frozenset(map(int, _BAD_PORTS.split()))
_PORTS = {"http": 80, "https": 443}
# A browser refuses a redirect to these. It gives other schemes to other programs.
_UNSAFE = frozenset({"about", "blob", "chrome", "data", "file", "javascript", "view-source"})
MAX_PORT = 65_535
# A scheme, and a host of letters, digits, dots, hyphens and underscores, perhaps with a port. The
# letter is looked for ahead: between two repetitions, it would take quadratic time.
_AUTHORITY = re.compile(
    r"(?i)(?:https?:)?//((?=[0-9._-]*[a-z])[a-z0-9._-]+)(?::([0-9]{1,5}))?(?![^/?#])"
)
# It opens neither of these, nor another program.
_NOT_OPENED = frozenset({"filesystem", "ws", "wss"})


def web_url(scheme: str, host: str, port: int, path: str) -> str:
    """Return a URL, with the port if it is not the usual one."""
    return f"{scheme}://{_authority(scheme, host, port)}{_quoted(path)}"


def _authority(scheme: str, host: str, port: int | None) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port in (None, _PORTS[scheme]) else f"{bracketed}:{port}"


def _quoted(text: str) -> str:
    return quote(text, safe="%/:@!$&'()*+,;=~-._?")


def resolved(url: str, reference: str) -> str | None:
    """Return a reference as an absolute http(s) URL in ASCII, or None if it is not one.

    The host is in A-label form. Fragment and user name are removed. The rules of the URL standard
    that servers depend on apply: a backslash is a slash, and any number of slashes may follow the
    scheme.
    """
    # C0 controls and blanks at both ends do not count, tabs and line ends nowhere (4.4).
    text = re.sub(r"[\t\r\n]", "", reference.strip("".join(map(chr, range(33)))))
    if len(text) > MAX_URL:
        return None
    head, question_mark, query = text.partition("?")
    head = head.replace("\\", "/")
    base = urlsplit(url).scheme
    match = re.match(r"(?i)(https?):(/*)", head)
    # With the scheme of the base and less than two slashes, a reference is relative.
    if match and (match[1].lower() != base or len(match[2]) >= 2):
        rest = head[match.end() :]
        if not rest or rest[0] == "#":
            return None
        head = f"{match[1].lower()}://{rest}"
    elif head.startswith("//"):
        head = "//" + head.lstrip("/")
    try:
        parts = urlsplit(urljoin(url, head + question_mark + query))
        # A browser decodes percent signs in a host (URL standard, host parser).
        named = unquote(parts.hostname or "")
        host = _ipv4(named) or normalise_host(named)
        port = parts.port
    except (ValueError, CertmgrError):
        return None
    if parts.scheme not in _PORTS:
        return None
    return urlunsplit(
        (
            parts.scheme,
            _authority(parts.scheme, host, port),
            _quoted(parts.path or "/"),
            _quoted(parts.query),
            "",
        )
    )


def _ipv4(host: str) -> str | None:
    """Return the address of a host such as 0x7f000001 or 127.1, which browsers accept."""
    if not re.fullmatch(r"(?:[0-9a-z]*\.)*(?:[0-9]+|0x[0-9a-f]*)\.?", host):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host.removesuffix(".")))
    except OSError:
        return None


def opens_other_program(location: str) -> bool:
    """Return whether a redirect leads to another program, such as a mail client or an app."""
    match = re.match(r"\s*([A-Za-z][A-Za-z0-9+.\-]*):", location)
    return match is not None and match[1].lower() not in _UNSAFE | _NOT_OPENED | set(_PORTS)


def is_impossible_name(reference: str) -> bool:
    """Return whether a reference is a valid URL, but of a host that cannot be in the DNS."""
    match = _AUTHORITY.match(reference.strip().replace("\\", "/"))
    return match is not None and int(match[2] or "0") <= MAX_PORT


def is_bad_port(url: str) -> bool:
    """Return whether a browser refuses to open the port of an http(s) URL."""
    return port_of(url) in BAD_PORTS


def port_of(url: str) -> int:
    """Return the port of an http(s) URL."""
    parts = urlsplit(url)
    return parts.port if parts.port is not None else _PORTS[parts.scheme]


def url_authority(url: str) -> str:
    """Return host and port of an http(s) URL."""
    return urlsplit(url).netloc


def host_of_url(url: str) -> str:
    """Return the host of an http(s) URL."""
    return urlsplit(url).hostname or ""


def leaves_site(location: str, host: str) -> bool:
    """Return whether a redirect leaves the site: to HTTPS at another registered domain."""
    other = host_of_url(location)
    if not location.startswith("https:") or other == host:
        return False
    return (
        as_ip(host) is not None
        or as_ip(other) is not None
        or registered_domain(other) != registered_domain(host)
    )
