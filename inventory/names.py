"""DNS names and addresses. Pure.

A-labels are stored, and U-labels are displayed. UTS 46 maps the typed text.

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
# Underscores are not allowed in host names, but exist in practice.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# UTS 46 treats the ideographic full stops as dots.
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_EXAMPLE = "Give a name such as shop.example.com."


def _invalid_name(name: str, why: str) -> InvalidName:
    return InvalidName(f"'{printable(name, 80)}' is not a domain name", why, _EXAMPLE)


def _label(label: str, name: str) -> str:
    if label.isascii():
        label = label.lower()
        if not _LABEL.fullmatch(label):
            raise _invalid_name(
                name,
                (
                    f"the part '{printable(label, 70)}' breaks the DNS rules"
                    if label
                    else "it has an empty part"
                ),
            )
        return label

    try:
        # UTS 46 maps capitals and full-width letters first, as browsers do.
        return idna.encode(label, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise _invalid_name(name, printable(str(error), 120)) from None


def normalise(name: str) -> str:
    """Return a typed name in A-labels, as it is stored.

    Underscores are allowed. One trailing dot is removed.

    Raises:
        InvalidName: The name or a label is empty, contains spaces, is too long, or is an address.
    """
    stripped = name.strip()
    if not stripped:
        raise InvalidName("A domain name is empty", "", _EXAMPLE)
    # IDNA conversion of a very long text is slow, so it is refused first.
    if len(stripped) > 4 * MAX_NAME:
        raise _invalid_name(
            name, f"it has {len(stripped)} characters, and a name has at most {MAX_NAME}"
        )
    labels = _DOTS.split(stripped)
    if labels[-1] == "" and len(labels) > 1:
        labels.pop()
    result = ".".join(_label(label, name) for label in labels)
    if len(result) > MAX_NAME:
        raise _invalid_name(
            name, f"it has {len(result)} characters, and a name has at most {MAX_NAME}"
        )
    # A name such as 1.2.3.4 would otherwise pass as a domain name.
    if labels[-1].isdigit():
        raise _invalid_name(name, "its last part is a number, as in an IP address")
    return result


@lru_cache(maxsize=65536)
def display(name: str) -> str:
    """Return a stored name for display.

    An A-label becomes a U-label if that is valid and printable.
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
            # A label with control or format characters stays an A-label, so that it cannot mislead.
            shown.append(decoded if printable(decoded) == decoded else label)
        else:
            shown.append(label)
    return ".".join(shown)


def as_ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return the text as an address, or None if it is not an address.

    Brackets are allowed. An address with a zone (``%eth0``) is not accepted.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in bare or not (":" in bare or bare[:1].isdigit()):
        return None
    try:
        return ip_address(bare)
    except ValueError:
        return None


def certificate_name(text: str) -> str:
    """Return a typed name as a certificate has it: a DNS name, ``*.example.com``, or an address.

    Raises:
        InvalidName: The text is none of these.
    """
    value = text.strip()
    if value.startswith("*."):
        return f"*.{normalise(value[2:])}"
    address = as_ip(value)
    return str(address) if address is not None else normalise(value)


def normalise_host(text: str) -> str:
    """Return a host as it is stored: an address in its shortest form, or a name in A-labels."""
    address = as_ip(text.strip())
    return str(address) if address is not None else normalise(text)


def is_ehlo_name(text: str) -> bool:
    """Return whether mail servers accept a text in EHLO: a name in ASCII or an address literal.

    Sources: RFC 5321 4.1.2 and 4.1.3.
    """
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        address = as_ip(literal.removeprefix("IPv6:"))
        return address is not None and (address.version == 6) == literal.startswith("IPv6:")
    try:
        return text.isascii() and normalise(text) == text.lower()
    except InvalidName:
        return False


def matches(pattern: str, host: str) -> bool:
    """Return whether a dNSName of a certificate covers a host. Both are in lower case.

    A ``*`` stands for exactly the leftmost label (RFC 9525 6.3), and a dNSName never covers an
    address (RFC 9525 6.5). As in Chrome (``X509Certificate::VerifyHostname``), a wildcard directly
    below a suffix that a registry administers covers no host, and a final dot is ignored.
    """
    # The first character excludes nearly all names, and this function is called for each of them.
    if not host or as_ip(host) is not None:
        return False
    pattern = pattern.removesuffix(".")
    # A literal asterisk is not a host.
    if pattern == host:
        return "*" not in pattern
    if not pattern.startswith("*."):
        return False
    _, dot, parent = host.partition(".")
    if not dot or parent != pattern[2:] or "*" in parent:
        return False
    # A name of digits only is not a DNS name, even if it is not an address either.
    return not host.replace(".", "").isdigit() and registry_suffix(host) != parent


@lru_cache(maxsize=1)
# The list is large, so it is loaded on first use.
def _suffixes():  # type: ignore[no-untyped-def]
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


def load_suffixes() -> None:
    """Read the list of public suffixes now, for processes that are forked from this one."""
    _suffixes()


@lru_cache(maxsize=16384)
def registered_domain(name: str) -> str:
    """Return the registered domain of a name: the label below its public suffix, and the suffix.

    For a public suffix, and for a name with one label, the name itself is returned.
    """
    return str(_suffixes().privatesuffix(name) or name)


@lru_cache(maxsize=1)
def _registry_suffixes():  # type: ignore[no-untyped-def]
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


@lru_cache(maxsize=16384)
def registry_suffix(name: str) -> str:
    """Return the suffix of a name that a registry administers, such as ``co.uk``.

    Only the ICANN part of the Public Suffix List counts: the owner of a private suffix
    (``github.io``) holds certificates for all names below it. An unknown top-level domain is a
    suffix. If the name itself is a suffix, the result is empty.
    """
    suffix = _registry_suffixes().publicsuffix(name)
    return "" if suffix is None or suffix == name else str(suffix)


# RFC 5321 4.1.2, Dot-string. Quoted local parts and SMTPUTF8 are not supported.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def mail_address(text: str) -> str:
    """Return an e-mail address with its host in A-labels.

    Raises:
        InvalidName: Mail cannot be sent to the address.
    """
    local, at, host = text.rpartition("@")
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local) or "." not in host:
        raise InvalidName(
            f"'{printable(text, 80)}' is not an e-mail address",
            "mail can be sent only to ASCII names at a domain",
            "Write name@example.com.",
        )
    return f"{local}@{normalise(host)}"
