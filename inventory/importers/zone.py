"""Zone files: host names with an address or an alias, parsed by dnspython line by line.

BIND's format, as BIND, PowerDNS, Windows and providers write it, and the JSON of Route 53. One bad
line costs that line. Records that dnspython does not know (ALIAS, ANAME of several providers) are
aliases. ``$INCLUDE`` and ``$GENERATE`` are not followed but named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from inventory.errors import InvalidName, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.format import Certainty, ImportFormat, SourceSample, of_names
from inventory.importers.hosts import skip_reason
from inventory.importers.table import decode, read_source
from inventory.importers.zone_entries import entries, tokens
from inventory.names import normalise
from inventory.text import printable

# Bytes of a file: a zone of a million names has about 50 MB.
MAX_BYTES = 64_000_000
_UNCLOSED = "the record cannot be read: a parenthesis is not closed"
_TTL = re.compile(r"\d+|(\d+[wdhms])+", re.I)
# cli53 writes the aliases of Route 53 in a class of its name.
_CLASSES = ("in", "class1", "aws", "ch", "hs", "cs")
_OTHER_CLASSES = ("ch", "hs", "cs")
# Records of providers: aliases, and redirections by a web server of the provider.
_ALIASES = ("alias", "aname", "url", "redirect", "wr")
_ADDRESSES = ("a", "aaaa", "cname", "https", "svcb")
# Windows marks dynamic records: [AGE:3712345].
_AGE = re.compile(r"\s\[age:\d{1,12}\]", re.I)
# Windows and Cloudflare name the zone in a comment, because they write no $ORIGIN.
_NAMED_ZONE = re.compile(
    r"^;+\s*(?:domain:\s+(\S{1,255})"
    r"|database file .{0,300}\s(?!zone\.\s*$)(\S{1,255}?)(?:\s+zone)?\.)\s*$",
    re.I,
)
_SERVICE = re.compile(r"\s(?:https|svcb)\s+(.*)$", re.I)

# Many blanks must not be searched again from each of them.
_SIGN = re.compile(r"^\$(ORIGIN|TTL)\b|\sIN\s{1,200}SOA\s|\sSOA\s.{0,600}\(", re.I | re.M)


class _Malformed(ValueError):
    """A record that cannot be read, with the reason in words."""


class _LeftOut(ValueError):
    """A record that stands for names that it does not list, with the reason in words."""


def read(path: Path, client: str) -> Iterator[ImportRow | ImportProblem]:
    """Yield a row per host name of the zone; what is left out is a problem.

    Args:
        path: The zone file. Without $ORIGIN, the file name must be the name of the zone
            (``example.com``, ``db.example.com`` or ``example.com.zone``).
        client: Customer number of the names.

    Raises:
        UsageError: The file cannot be read or has no record at all.
    """
    # A blank that was copied from a web page separates words too.
    text = decode(read_source(path, MAX_BYTES)).replace("\u00a0", " ")
    found = _route53(path, text) if text.lstrip()[:1] == "{" else _names(path, text)
    seen: set[str] = set()
    records = 0
    problems: list[ImportProblem] = []
    for number, name, reason in found:
        records += not reason
        if reason:
            problems.append(ImportProblem(f"{path}:{number}", reason))
        # A host has several records, such as A and AAAA, and is one endpoint.
        elif name and name not in seen:
            seen.add(name)
            yield host_row(f"{path}:{number}", name, client)
    # A file without a valid record is another kind of file.
    if problems and not records and not any("$" in p.reason for p in problems):
        raise UsageError(f"{path} is not a zone file", problems[0].reason, "Correct that line.")
    yield from problems


def host_row(where: str, name: str, client: str) -> ImportRow | ImportProblem:
    """Return the row of a host name, or why it cannot be an endpoint."""
    if (reason := skip_reason(name)) is not None:
        return ImportProblem(where, f"'{printable(name, 80)}' {reason}")
    return ImportRow(where, client=client, domain=name)


def is_service(name: str) -> bool:
    """Return whether a name is that of a service and not of a host, such as _sip._tcp."""
    return name.startswith("_") or "._" in name


def _names(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, host name, reason) per record; one of the two texts is empty, or both."""
    zone = _Zone(path, text)
    for number, entry in entries(text):
        if not entry:
            yield number, "", _UNCLOSED
            continue
        try:
            name, reason = zone.read(_AGE.sub(" ", entry) if "[" in entry else entry)
        except _LeftOut as left:
            name, reason = "", str(left)
        except _Malformed as error:
            name, reason = "", f"the record cannot be read: {error}"
        except (dns.exception.DNSException, ValueError, UnicodeError):
            # The words of the library do not help a reader.
            shown = printable(" ".join(entry.split()[:3]), 80)
            why = "a name in it is not valid, or a quote is not closed"
            name, reason = "", f"the record cannot be read: {why} ({shown})"
        if name or reason or not entry.lstrip().startswith("$"):
            yield number, name, reason


class _Zone:
    """The origin and the last owner, while the records of a zone are read.

    Attributes:
        apex: The owner of the last SOA record; a file may have several zones.
        cuts: The names that the zone delegates to other servers.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.origin = _named_origin(text)
        self.owner: dns.name.Name | None = None
        self.apex: dns.name.Name | None = None
        self.cuts: set[dns.name.Name] = set()

    def read(self, entry: str) -> tuple[str, str]:
        """Return the host name of a record and why it is left out; both may be empty.

        Raises:
            UsageError: The name is relative, and the zone is unknown.
        """
        words = tokens(entry)
        if not words:
            return "", ""
        directive = words[0].upper()
        if directive == "$ORIGIN" and len(words) > 1:
            self.origin = dns.name.from_text(words[1], self.origin or dns.name.root)
            return "", ""
        if directive == "$TTL":
            return "", ""
        # Reported, because names behind it are missing in the import.
        if directive.startswith("$"):
            return "", _directive_reason(directive, words)
        # RFC 1035 5.1: a line that begins with a blank has the owner of the line before.
        inherits = entry[:1] in (" ", "\t")
        record = words if inherits else words[1:]
        if not inherits:
            self.owner = self._owner(words[0], record)
        if self.owner is None:
            return "", "the first record has no name"
        origin = self.origin if self.origin is not None else dns.name.root
        host = _host(self.owner, record, origin, entry)
        self._note_borders(self.owner, record)
        return host, self._border_reason(self.owner) if host else ""

    def _note_borders(self, owner: dns.name.Name, record: list[str]) -> None:
        kinds = [w.lower() for w in record[:3]]
        if "soa" in kinds:
            # Cloudflare writes the owner of this record without its last dot.
            doubled = self.origin is not None and owner.labels == (
                *self.origin.labels[:-1],
                *self.origin.labels,
            )
            self.apex = self.origin if doubled else owner
        elif "ns" in kinds and self.apex is not None and owner != self.apex:
            self.cuts.add(owner)

    def _border_reason(self, owner: dns.name.Name) -> str:
        """Return why the server of the zone does not answer for a name; empty if it does."""
        if self.apex is None:
            return ""
        # A name server ignores such a record. Its owner may be another client's.
        if not owner.is_subdomain(self.apex):
            return f"{_shown(owner)} is outside of the zone {_shown(self.apex)}"
        # RFC 1034 4.2.1: addresses at and below a cut are glue for the servers of the other zone.
        labels = len(owner.labels) - len(self.apex.labels)
        above = (dns.name.Name(owner.labels[n:]) for n in range(labels))
        if cut := next((n for n in above if n in self.cuts), None):
            return f"{_shown(owner)} belongs to the delegated zone {_shown(cut)}: import that zone"
        return ""

    def _owner(self, text: str, record: list[str]) -> dns.name.Name:
        # An export may have no $ORIGIN, because all of its names are absolute.
        if text != "@" and text.endswith("."):
            name = dns.name.from_text(text)
            if self.origin is None and any(w.upper() == "SOA" for w in record[:4]):
                self.origin = name
            return name
        if self.origin is None:
            self.origin = _origin(self.path)
        return self.origin if text == "@" else dns.name.from_text(text, self.origin)


def _shown(name: dns.name.Name) -> str:
    return printable(name.to_text(omit_final_dot=True), 80)


def _named_origin(text: str) -> dns.name.Name | None:
    """Return the zone that the comments at the beginning name."""
    for line in text[:4000].splitlines()[:20]:
        if match := _NAMED_ZONE.match(line):
            named = (match[1] or match[2]).rstrip(".")
            try:
                return dns.name.from_text(normalise(named) + ".")
            except InvalidName:
                continue
    return None


def _route53(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (0, host name, reason) per record set of ``aws route53 list-resource-record-sets``.

    Raises:
        UsageError: The file is other JSON.
    """
    try:
        sets = json.loads(text)["ResourceRecordSets"]
        records = [(str(r["Name"]), str(r["Type"])) for r in sets]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(
            f"{path} is not a zone",
            "it is JSON without the record sets of Route 53",
            "Export it with aws route53 list-resource-record-sets --hosted-zone-id ID.",
        ) from None
    for name, kind in records:
        if kind.lower() not in _ADDRESSES:
            yield 0, "", ""
            continue
        # Route 53 writes "*" as an octal escape.
        host = name.replace("\\052", "*").removesuffix(".").lower()
        yield 0, "" if is_service(host) else host, ""


def _directive_reason(directive: str, words: list[str]) -> str:
    argument = printable(words[1], 80) if len(words) > 1 else ""
    if directive == "$INCLUDE":
        return f"$INCLUDE {argument} is not followed: import that file too"
    if directive == "$GENERATE":
        return (
            f"$GENERATE {argument} is not expanded, because it can stand for millions of names:"
            " use named-compilezone -o - ZONE FILE"
        )
    return f"{printable(directive, 40)} is not a known directive"


def _host(owner: dns.name.Name, words: list[str], origin: dns.name.Name, entry: str) -> str:
    """Return the owner of an address or alias record; empty for other records.

    Raises:
        _Malformed: The record is malformed.
        _LeftOut: The record stands for names that it does not list.
        DNSException: A name is malformed.
    """
    rest = list(words)
    # TTL and class stand in any order before the type (RFC 1035 5.1).
    while rest and (_TTL.fullmatch(rest[0]) or rest[0].lower() in _CLASSES):
        # Hosts of other classes than IN are not on the Internet.
        if rest.pop(0).lower() in _OTHER_CLASSES:
            return ""
    if not rest:
        raise _Malformed("it has no type")
    kind, data = rest[0].lower(), rest[1:]
    # RFC 3597: TYPE1 is A.
    if re.fullmatch(r"type\d{1,5}", kind):
        kind = dns.rdatatype.to_text(dns.rdatatype.from_text(kind)).lower()
    if kind in _ALIASES:
        if not data:
            raise _Malformed(f"{kind.upper()} has no target")
        # Only the syntax is checked: the target may be anywhere.
        dns.name.from_text(data[0], origin)
    elif kind == "lua":
        # PowerDNS computes such a record; its first word is the type of the result.
        if not data or data[0].lower() not in _ADDRESSES:
            return ""
    elif kind in _ADDRESSES:
        _require_value(kind, data, origin, entry)
    elif kind == "dname":
        raise _LeftOut(
            f"the names below {_shown(owner)} lead to another domain (DNAME): add those that are"
            " sites with certmgr domain add"
        )
    else:
        # The other records name no host, and providers have types that no library knows.
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}", kind):
            raise _Malformed(f"'{printable(kind, 40)}' is not a record type")
        return ""
    host = owner.to_text(omit_final_dot=True)
    # Names such as _dmarc hold records for programs and have no web site.
    return "" if is_service(host) else host.lower()


def _require_value(kind: str, data: list[str], origin: dns.name.Name, entry: str) -> None:
    value = " ".join(data)
    # The quotes belong to the value: alpn="h2,h3".
    if kind in ("https", "svcb") and (quoted := _SERVICE.search(entry)):
        value = quoted[1].replace("(", " ").replace(")", " ")
    try:
        dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), value, origin)
    except (dns.exception.DNSException, ValueError, UnicodeError):
        raise _Malformed(f"'{printable(value, 60)}' is not a value of {kind.upper()}") from None


def _origin(path: Path) -> dns.name.Name:
    name = path.name.removeprefix("db.")
    for suffix in (".zone", ".txt", ".db", ".dns", ".hosts"):
        name = name.removesuffix(suffix)
    try:
        if "." not in name:
            raise InvalidName("The name has no dot")
        return dns.name.from_text(normalise(name) + ".")
    except InvalidName:
        raise UsageError(
            f"The zone of {path} is unknown",
            "the file has no $ORIGIN, and its name is not the name of a zone",
            "Name the file after the zone: db.example.com.",
        ) from None


def _is_route53(sample: SourceSample) -> bool:
    return sample.text.lstrip()[:1] == "{" and '"ResourceRecordSets"' in sample.text


FORMAT = ImportFormat(
    name="zone",
    summary="a zone file, or the JSON of `aws route53 list-resource-record-sets`",
    read=of_names(read),
    signs={
        Certainty.SCHEMA: _is_route53,
        Certainty.RECORDS: lambda sample: _SIGN.search(sample.text) is not None,
    },
)
