"""XMPP between client and server, and between servers: Prosody, and streams in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.live_check import LiveCheckTarget, check_live
from inventory.protocols import DialogueClient, StartTlsRefused
from inventory.targets import Target
from tests.certmgr.cases.place import sha256
from tests.certmgr.tls_servers import Probe, Stack
from tests.inventory.protocols.dialogues import (
    HOST,
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
    converse,
)
from tests.servers import starttls
from tests.servers.real import write_pair

PROTOCOLS = ("xmpp", "xmpp-server")
STREAMS = "http://etherx.jabber.org/streams"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
HEADER = (
    f"<?xml version='1.0'?><stream:stream xmlns:stream='{STREAMS}' xmlns='jabber:client'"
    " from='example.test' version='1.0'>"
).encode()
FEATURES = f"<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
PROCEED = f"<proceed xmlns='{TLS}'/>".encode()


def test_certificates_of_prosody_are_read_and_another_domain_is_undetermined(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    client, server = opened.enter_context(starttls.prosody(tmp_path, HOST, pair))
    assert_trusted(probe, client, "xmpp")
    assert_trusted(probe, server, "xmpp-server")
    other = probe(f"other.example.test:{client}/xmpp")
    assert set(other.codes) == {"starttls-unknown"}
    assert "the XMPP domain" in other.codes["starttls-unknown"].evidence["reason"]


def test_name_of_the_domain_is_asked_for_without_sni_and_in_live_checks(
    probe: Probe, issuer: Authority, settings: Settings, tmp_path: Path, opened: Stack
) -> None:
    """The probe without SNI asks for the same domain; Prosody would not answer it otherwise."""
    issued = issuer.issue("default.provider.test")
    pair = write_pair(tmp_path, issued)
    client, server = opened.enter_context(starttls.prosody(tmp_path, HOST, pair))
    assert probe(f"{HOST}:{client}/xmpp").severe() == {"name-mismatch", "default-certificate"}
    targets = [
        LiveCheckTarget(Target(HOST, port, protocol), ("127.0.0.1",))
        for port, protocol in ((client, "xmpp"), (server, "xmpp-server"))
    ]
    served = {(o.port, o.sha256) for o in check_live(settings, targets) if o.key_type == "EC"}
    assert served == {(port, sha256(issued)) for port in (client, server)}


def test_prosody_without_tls_has_no_starttls(probe: Probe, tmp_path: Path, opened: Stack) -> None:
    client, _ = opened.enter_context(starttls.prosody(tmp_path, HOST, None))
    assert probe(f"{HOST}:{client}/xmpp").severe() == {"starttls-missing"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_starts_with_any_prefixes_and_pieces(protocol: str) -> None:
    assert_started(protocol, HEADER, FEATURES.encode(), PROCEED)
    assert_started(protocol, HEADER + b"\n " + FEATURES.encode() + b"\n", b" " + PROCEED)
    # A blank before the declaration is not well-formed, and some servers send one.
    assert_started(protocol, b"\n" + HEADER, FEATURES.encode(), PROCEED)
    mark = b"\xef\xbb\xbf"
    assert_started(protocol, mark[:1], mark[1:] + HEADER, FEATURES.encode(), PROCEED)
    other = (
        f"<s:stream xmlns:s='{STREAMS}' version='1.0'><s:features><t:starttls xmlns:t='{TLS}'/>"
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
        f"</mechanisms></s:features><t:proceed xmlns:t='{TLS}'></t:proceed>"
    )
    features, proceed = other.encode().split(b"<t:proceed")
    assert_started(protocol, features, b"<t:proceed" + proceed)


def test_client_asks_for_the_domain_of_the_target() -> None:
    (client,) = converse("xmpp").sent
    (server,) = converse("xmpp-server").sent
    assert f"to='{HOST}'" in client.decode().replace('"', "'")
    assert b"xmlns='jabber:client'" in client
    assert b"xmlns='jabber:server'" in server
    (idn,) = converse("xmpp", client=DialogueClient("xn--bcher-kva.example", "")).sent
    assert "bücher.example" in idn.decode()


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    none = b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
    assert_refused("xmpp", HEADER + none, reason="does not offer")
    failure = f"<failure xmlns='{TLS}'/></stream:stream>".encode()
    assert_refused("xmpp", HEADER, FEATURES.encode(), failure, reason="refuses to start")
    assert_refused("xmpp", HEADER.replace(b" version='1.0'>", b">"), reason="does not offer")
    assert_refused("xmpp", HEADER + b"</stream:stream>")
    errors = "urn:ietf:params:xml:ns:xmpp-streams"
    for condition in ("host-unknown", "resource-constraint", "policy-violation"):
        error = f"<stream:error><{condition} xmlns='{errors}'/></stream:error></stream:stream>"
        assert_undetermined("xmpp", HEADER, error.encode())
        assert_undetermined("xmpp", HEADER + FEATURES.encode(), error.encode())
    # Prosody, if it could not load its certificate and refuses passwords without TLS.
    nothing = (
        f"<stream:error><undefined-condition xmlns='{errors}'/><text xmlns='{errors}'>No stream"
        " features to proceed with</text></stream:error></stream:stream>"
    )
    assert_undetermined("xmpp", HEADER, nothing.encode(), reason="condition: No stream features")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html><body>400</body></html>",
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aa'>]><x>&a;</x>",
        HEADER + b"<stream:features></starttls>",
        HEADER + b"&amp",
        b"\xff\xfe<\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_other_answers_are_refused(answer: bytes) -> None:
    with pytest.raises(StartTlsRefused):
        converse("xmpp", answer, b">")
