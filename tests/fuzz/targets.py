"""The parsers that are fuzzed. A target takes bytes, and raises only errors of this program."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dns.exception
import dns.message

from certmgr.acme.protocol import responses
from certmgr.checks import ocsp
from certmgr.config.loading import load_text
from certmgr.net.http1 import ChunkDecoder, InvalidAnswerError, body_length, head_end, parse_head
from certmgr.net.http_body import BodyReader
from certmgr.operations import audit_export, timestamps
from certmgr.scan import page
from certmgr.scan.refresh import parse_refresh
from certmgr.scan.web_urls import resolved
from certmgr.x509 import crl, csr
from certmgr.x509.archives import UnpackError
from certmgr.x509.unpacking import Unpacker
from inventory import certificates
from inventory.errors import CertmgrError
from inventory.importers import (
    apache,
    certbot,
    csv_format,
    guess,
    json_format,
    names_format,
    nginx,
    purchases_format,
    zone,
)
from inventory.importers.plan import ImportPlan
from inventory.names import certificate_name, normalise_host
from inventory.protocols import STARTTLS
from inventory.protocols.dialogue import LOCAL_CLIENT, DialogueFailed, ServerClosed
from inventory.targets import parse as parse_target
from notifiers.inbox import classify
from notifiers.inbox.calendar_answers import calendar_answer
from tests.fuzz import seeds

Target = Callable[[bytes], object]
NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
# What a parser may raise: the errors of this program.
EXPECTED = (CertmgrError, UnpackError, InvalidAnswerError, DialogueFailed, ServerClosed)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for parsers that read files. It is removed at the end of the process."""
    return tempfile.TemporaryDirectory(prefix="certmgr-fuzz-")


def _from_file(read: Callable[[Path], object], name: str = "input") -> Target:
    def target(data: bytes) -> None:
        path = Path(_folder().name) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        result = read(path)
        if isinstance(result, Iterable):
            for _ in result:
                pass

    return target


def _certificate(data: bytes) -> None:
    found = certificates.parse(data)
    for name in ("subject", "issuer", "names", "key_type", "subject_key", "issuer_key"):
        getattr(found, name)
    # Its documented error.
    with suppress(ValueError):
        certificates.from_pem(data)


def _crl(data: bytes) -> None:
    found = crl.read(data)
    if isinstance(found, crl.Crl):
        crl.unusable_reason(found, NOW)
        crl.out_of_scope(found, ["http://a.example/x.crl"], is_ca=False)
        crl.find_entries(found, [1, 2, 3])


def _ocsp(data: bytes) -> None:
    leaf, issuer = (certificates.parse(der) for der in seeds.leaf_and_issuer())
    ocsp.check(data, leaf, issuer, NOW)


def _http(data: bytes) -> None:
    start = head_end(data, 0)
    if start is None:
        return
    head = parse_head(data[:start])
    body_length(head)
    body = data[start:]
    decoder = ChunkDecoder()
    for at in range(0, min(len(body), 4096), 7):
        decoder.feed(body[at : at + 7])
    for codings in (("gzip",), ("deflate",), ("br", "gzip"), ()):
        BodyReader(codings, 100_000).feed(body)


def _page(data: bytes) -> None:
    kind, _, body = data.partition(b"\n")
    page.read(body, kind.decode("latin-1")[:200], "https://a.example/x", ("upgrade-insecure",))


def _text_values(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (parse_target, certificate_name, normalise_host):
        with suppress(*EXPECTED):
            read(text)
    parse_refresh(text, "https://a.example/", None)
    resolved("https://a.example/x", text)


def _acme(data: bytes) -> None:
    def load() -> Any:
        return json.loads(data)

    answer = SimpleNamespace(
        json=load,
        headers={"Link": data[:500].decode("latin-1"), "Retry-After": data[:40].decode("latin-1")},
    )
    responses.retry_after_seconds(answer, NOW)
    responses.links(answer, "alternate")  # type: ignore[arg-type]
    for read in (responses.order, responses.authorization, responses.document):
        with suppress(*EXPECTED):
            read(answer)
    try:
        body = load()
    except (ValueError, RecursionError):
        return
    responses.problem_of(body)


def _dns(data: bytes) -> None:
    # What dnspython raises is caught as one class where the client asks.
    with suppress(dns.exception.DNSException, ValueError):
        dns.message.from_wire(data).to_text()


def _starttls(data: bytes) -> None:
    names = sorted(STARTTLS)
    chosen = names[data[0] % len(names)] if data else names[0]
    dialogue = STARTTLS[chosen].dialogue(LOCAL_CLIENT)
    try:
        next(dialogue)
        for at in range(1, len(data), 13):
            dialogue.send(data[at : at + 13])
        dialogue.throw(ServerClosed())
    except StopIteration:
        pass


def _token(data: bytes) -> None:
    timestamps.verify_timestamp(data, b"x", [seeds.root_certificate()])


def _unpack(data: bytes) -> None:
    Unpacker("secret").add(data, 0, "file")


def _calendar(data: bytes) -> None:
    # Its documented error.
    with suppress(ValueError):
        calendar_answer(data.decode("utf-8", "replace"))


def _config(data: bytes) -> None:
    load_text(data.decode("utf-8", "replace"), "fuzzed.toml")


def _csv(path: Path) -> None:
    guess.guess_format(path)
    list(csv_format.read(path, "1"))


TARGETS: dict[str, Target] = {
    "certificate": _certificate,
    "crl": _crl,
    "ocsp": _ocsp,
    "csr": lambda data: csr.read(data, ["a.example"]),
    "archive": _unpack,
    "http": _http,
    "page": _page,
    "mail": lambda data: classify.parse(data),
    "calendar": _calendar,
    "zone": _from_file(partial(zone.read, client="1")),
    "nginx": _from_file(partial(nginx.read, client="1")),
    "apache": _from_file(partial(apache.read, client="1")),
    "names": _from_file(partial(names_format.read, client="1")),
    "csv": _from_file(_csv),
    "json": _from_file(lambda path: json_format.read(path, ImportPlan())),
    "purchases": _from_file(purchases_format.read_csv),
    "certbot": _from_file(lambda path: certbot.read(path.parents[1], "1"), "renewal/a.conf"),
    "acme": _acme,
    "dns": _dns,
    "starttls": _starttls,
    "timestamp": _token,
    "audit export": _from_file(lambda path: audit_export.verify(path, None)),
    "texts": _text_values,
    "configuration": _config,
}


def run(name: str, data: bytes) -> None:
    """Give an input to a target. Errors of this program are the expected answer to garbage."""
    with suppress(*EXPECTED):
        TARGETS[name](data)


def corpus(name: str) -> list[bytes]:
    """Return the inputs from which the mutations start."""
    return seeds.of(name)
