"""DNS names and addresses.

Pure. A-labels are stored, U-labels are shown, UTS 46 maps what is typed.

Sources: RFC 1035 2.3.4 (lengths), RFC 5891 and UTS 46 (internationalised labels), RFC 9525 6.3
(wildcards), CA/Browser Forum BR 1.6.1 (what a wildcard name is).
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import idna

from inventory.errors import InvalidName
from inventory.text import printable

MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_TODO = "Give a name such as shop.example.com."


def _bad(name: str, why: str) -> InvalidName:
    return InvalidName(f"'{printable(name, 80)}' is not a domain name", why, _TODO)


def _label(label: str, name: str) -> str:
    if label.isascii():
        label = label.lower()
        if not _LABEL.fullmatch(label):
            raise _bad(
                name,
                (
                    f"the part '{printable(label, 70)}' breaks the DNS rules"
                    if label
                    else "it has an empty part"
                ),
            )
        return label

    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise _bad(name, printable(str(error), 120)) from None


def normalise(name: str) -> str:
    """A typed name as the A-labels that are stored.

    Underscores are allowed; one trailing dot is removed.

    Raises :class:`InvalidName` for spaces, empty names and labels, over 253 characters, or an IP
    address.
    """
    stripped = name.strip()
    if not stripped:
        raise InvalidName("A domain name is empty", "", _TODO)
    if len(stripped) > 4 * MAX_NAME:
        raise _bad(name, f"it has {len(stripped)} characters, and a name has at most {MAX_NAME}")
    labels = _DOTS.split(stripped)
    if labels[-1] == "" and len(labels) > 1:
        labels.pop()
    result = ".".join(_label(label, name) for label in labels)
    if len(result) > MAX_NAME:
        raise _bad(name, f"it has {len(result)} characters, and a name has at most {MAX_NAME}")
    if labels[-1].isdigit():
        raise _bad(name, "its last part is a number, as in an IP address")
    return result


@lru_cache(maxsize=65536)
def display(name: str) -> str:
    """A stored name as a person reads it: U-labels where they are valid and printable, else the
    A-label.
    """
    if "xn--" not in name:
        return name

    shown = []
    for label in name.split("."):
        if label.startswith("xn--"):
            try:
                decoded = idna.decode(label)
            except (idna.IDNAError, UnicodeError):
                decoded = label
            shown.append(decoded if printable(decoded) == decoded else label)
        else:
            shown.append(label)
    return ".".join(shown)


def as_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address that ``text`` is (brackets allowed), or None.

    A zone (``%eth0``) makes it none.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in bare or not (":" in bare or bare[:1].isdigit()):
        return None
    try:
        return ip_address(bare)
    except ValueError:
        return None


def normalise_host(text: str) -> str:
    """A host as it is stored: an address in its shortest form, or a name in A-labels."""
    address = as_ip(text.strip())
    return str(address) if address is not None else normalise(text)


def matches(pattern: str, host: str) -> bool:
    """Whether a certificate's dNSName covers ``host`` (both lower case).

    A ``*`` is the whole leftmost label and no more (RFC 9525 6.3).

    A wildcard right under a public suffix covers nothing, as in browsers.
    """
    if pattern == host:
        return "*" not in pattern
    if not pattern.startswith("*."):
        return False
    rest = pattern[2:]
    _, dot, parent = host.partition(".")
    return (
        bool(dot)
        and parent == rest
        and "." in rest
        and "*" not in rest
        and not is_public_suffix(rest)
    )


@lru_cache(maxsize=1)
def _suffixes():  # type: ignore[no-untyped-def]
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@lru_cache(maxsize=16384)
def registered_domain(name: str) -> str:
    """The name under a public suffix that its holder registered; the name itself when it is a
    suffix or has one label.
    """
    return str(_suffixes().privatesuffix(name) or name)


@lru_cache(maxsize=16384)
def is_public_suffix(name: str) -> bool:
    """Whether ``name`` is in the Public Suffix List: anyone may register names below it."""
    return bool(_suffixes().is_public(name))


# RFC 5321 4.1.2, Dot-string. Quoted local parts and SMTPUTF8 are not sent to.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def mail_address(text: str) -> str:
    """local@host with the host as an A-label: an address that mail can be sent to.

    Raises :class:`InvalidName`.
    """
    local, at, host = text.rpartition("@")
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local) or "." not in host:
        raise InvalidName(
            f"'{printable(text, 80)}' is not an e-mail address",
            "mail can be sent to ASCII names at a domain",
            "Write name@example.com.",
        )
    return f"{local}@{normalise(host)}"
