"""Servers that accept only an offer that no browser makes: a finding, and never ok."""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from OpenSSL import SSL

from certmgr.config.settings import HttpSettings, Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context
from certmgr.diagnose.chrome import browser_view
from inventory.vocabulary import Finding
from tests.campaign import UNREACHED, time_limits
from tests.certificates import sign, tlv
from tests.certmgr.tls_servers import HOST, Probe, Stack, serve, with_groups
from tests.conftest import ProbeResult
from tests.servers import real

TLS12 = SSL.TLS1_2_VERSION
# The size from which the servers below discard a ClientHello: it no longer fits one packet.
ONE_PACKET = 1400


@pytest.fixture(scope="module")
def rsa_leaf(issuer: Authority) -> IssuedCertificate:
    return issuer.issue(HOST, key=rsa.generate_private_key(65537, 2048))


@pytest.fixture
def rsa_pair(rsa_leaf: IssuedCertificate, tmp_path: Path) -> tuple[Path, Path]:
    return real.write_pair(tmp_path, rsa_leaf)


def incompatible(result: ProbeResult) -> Finding:
    """Return the only severe finding, which is that browsers cannot connect."""
    assert result.severe() == {"handshake-incompatible"}
    return result.codes["handshake-incompatible"]


def shown(result: ProbeResult) -> str:
    """Return what Chrome would show."""
    return browser_view(result.report.findings, ["127.0.0.1"], plain=False)


def s_server(opened: Stack, pair: tuple[Path, Path], *options: str) -> str:
    return f"{HOST}:{opened.enter_context(real.s_server(*pair, *options))}"


@pytest.mark.parametrize("group", ["X25519MLKEM768", "X25519", "P-256", "P-384"])
def test_each_group_of_a_browser_is_ok_and_recorded(
    probe: Probe, rsa_leaf: IssuedCertificate, opened: Stack, group: str
) -> None:
    context = with_groups(server_context(rsa_leaf), group)
    result = probe(f"{HOST}:{serve(opened, servers.tls(context))}")
    assert result.report.findings == ()
    assert result.report.addresses[0].group == group


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_server_with_p521_key_exchange_only_is_critical(
    probe: Probe, rsa_pair: tuple[Path, Path], opened: Stack, version: str
) -> None:
    options = ("-groups", "P-521", version, "-cipher", "ECDHE")
    found = incompatible(probe(s_server(opened, rsa_pair, *options)))
    assert (found.severity, found.evidence["cause"]) == ("critical", "group")
    assert found.evidence["detail"] == {"browsers do not offer its key exchange": "P-521"}


@pytest.mark.parametrize("group", ["X448", "SecP256r1MLKEM768", "ffdhe2048"])
def test_server_with_another_group_that_browsers_lack_is_critical(
    probe: Probe, rsa_leaf: IssuedCertificate, opened: Stack, group: str
) -> None:
    context = with_groups(server_context(rsa_leaf, lowest=SSL.TLS1_3_VERSION), group)
    result = probe(f"{HOST}:{serve(opened, servers.tls(context))}")
    assert incompatible(result).evidence["cause"] == "group"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_p521_leaf_is_critical(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack, version: str
) -> None:
    leaf = issuer.issue(HOST, key=ec.generate_private_key(ec.SECP521R1()))
    result = probe(s_server(opened, real.write_pair(tmp_path, leaf), version))
    assert incompatible(result).evidence["detail"] == {
        "browsers do not accept the key of its certificate": "EC P-521"
    }
    assert result.report.certificate is not None
    assert result.report.addresses[0].trusted is True, "the chain is judged separately"
    assert "ERR_SSL_VERSION_OR_CIPHER_MISMATCH" in shown(result)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_leaf_with_a_key_of_type_rsassa_pss_is_critical(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack, version: str
) -> None:
    pair = rsassa_pss_pair(issuer, tmp_path)
    found = incompatible(probe(s_server(opened, pair, version)))
    assert (found.severity, found.evidence["cause"]) == ("critical", "key-type")
    assert list(found.evidence["detail"].values()) == ["RSASSA-PSS"]


def rsassa_pss_pair(issuer: Authority, folder: Path) -> tuple[Path, Path]:
    """Issue a certificate for a key of type id-RSASSA-PSS (RFC 4055 1.2).

    The Python library reads and writes such keys only as rsaEncryption.
    """
    key_file = folder / "pss.key"
    command = [real.program("openssl", "openssl"), "genpkey", "-algorithm", "RSA-PSS"]
    subprocess.run([*command, "-out", key_file], check=True, capture_output=True)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    issued = issuer.issue(HOST, key=key)
    spki = issued.certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    tbs = issued.certificate.tbs_certificate_bytes.replace(spki, as_rsassa_pss(spki))
    leaf = x509.load_der_x509_certificate(sign(tlv(0x30, content(tbs)), issuer.key))
    chain = (leaf, *issued.chain[1:])
    certificate, _ = real.write_pair(folder, IssuedCertificate(leaf, key, chain))
    return certificate, key_file


def content(der: bytes) -> bytes:
    """Return the content of one DER value."""
    return der[2:] if der[1] < 128 else der[2 + (der[1] & 0x7F) :]


def as_rsassa_pss(spki: bytes) -> bytes:
    """Return a SubjectPublicKeyInfo of an RSA key with the algorithm id-RSASSA-PSS."""
    rsa_encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    without_parameters = bytes.fromhex("300b06092a864886f70d01010a")
    return tlv(0x30, content(spki).replace(rsa_encryption, without_parameters))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
)
def test_leaf_with_an_edwards_key_is_critical(
    probe: Probe,
    issuer: Authority,
    tmp_path: Path,
    opened: Stack,
    key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey,
    version: str,
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST, key=key))
    result = probe(s_server(opened, pair, version))
    found = result.codes["handshake-incompatible"]
    assert (found.severity, found.evidence["cause"]) == ("critical", "key-type")


@pytest.mark.parametrize("hash_name", ["SHA1", "SHA224"])
def test_tls12_server_that_signs_with_an_old_hash_only_is_critical(
    probe: Probe, rsa_pair: tuple[Path, Path], opened: Stack, hash_name: str
) -> None:
    options = ("-tls1_2", "-sigalgs", f"RSA+{hash_name}", "-cipher", "ECDHE:@SECLEVEL=0")
    found = incompatible(probe(s_server(opened, rsa_pair, *options)))
    assert (found.severity, found.evidence["cause"]) == ("critical", "signature")
    assert list(found.evidence["detail"].values()) == [f"rsa_pkcs1_{hash_name.lower()}"]


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-SHA", "AES128-SHA256"])
def test_ecdhe_ecdsa_with_cbc_only_is_critical(
    probe: Probe, issuer: Authority, tmp_path: Path, opened: Stack, cipher: str
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    options = ("-tls1_2", "-cipher", f"ECDHE-ECDSA-{cipher}")
    result = probe(s_server(opened, pair, *options))
    assert result.severe() == {"ciphers-obsolete"}
    assert result.codes["ciphers-obsolete"].severity == "critical"


def test_ecdhe_rsa_with_cbc_is_still_ok(
    probe: Probe, rsa_pair: tuple[Path, Path], opened: Stack
) -> None:
    target = s_server(opened, rsa_pair, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA")
    assert probe(target).report.findings == ()


def test_server_that_refuses_the_protocols_of_a_browser_is_critical(
    probe: Probe, rsa_leaf: IssuedCertificate, opened: Stack
) -> None:
    # OpenSSL's s_server goes on without a common protocol, and this one sends alert 120.
    def refuse(_connection: SSL.Connection, _protocols: list[bytes]) -> bytes:
        raise SSL.Error([("", "", "no application protocol")])

    context = server_context(rsa_leaf)
    context.set_alpn_select_callback(refuse)
    found = incompatible(probe(f"{HOST}:{serve(opened, servers.tls(context))}"))
    assert (found.evidence["cause"], found.evidence["alert"]) == ("alpn", 120)


def test_mail_server_that_browsers_refuse_is_a_remark(
    probe: Probe, rsa_pair: tuple[Path, Path], opened: Stack
) -> None:
    result = probe(s_server(opened, rsa_pair, "-groups", "P-521", "-cipher", "ECDHE") + "/tls")
    assert {f.code: f.severity for f in result.report.findings} == {"handshake-incompatible": "low"}


def limited(talk: servers.ConnectionHandler, refuse: servers.ConnectionHandler) -> Server:
    """Return a server that handles a ClientHello of more than one packet in another way."""

    def handle(sock: socket.socket) -> None:
        header = sock.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL)
        large = int.from_bytes(header[3:5], "big") > ONE_PACKET
        (refuse if large else talk)(sock)

    return Server(handle)


def close(sock: socket.socket) -> None:
    """Close the connection after the ClientHello."""
    sock.recv(4096)


ALERT = servers.respond_with(bytes.fromhex("15030300020232"))  # fatal alert 50, decode_error


@pytest.mark.parametrize(
    ("refuse", "code"),
    [
        (servers.reset, "ERR_CONNECTION_RESET"),
        (close, "ERR_CONNECTION_CLOSED"),
        (servers.silent, "ERR_TIMED_OUT"),
        (ALERT, "ERR_SSL_PROTOCOL_ERROR"),
    ],
    ids=["reset", "closed", "silent", "alert"],
)
def test_peer_that_refuses_a_large_client_hello_is_critical(
    probe: Probe,
    rsa_leaf: IssuedCertificate,
    opened: Stack,
    refuse: servers.ConnectionHandler,
    code: str,
) -> None:
    server = limited(servers.tls(server_context(rsa_leaf)), refuse)
    opened.callback(server.close)
    for limit in time_limits(4.0) if refuse is servers.silent else [UNREACHED]:
        result = probe(f"{HOST}:{server.port}", timeout=limit)
        if "connection-timeout" not in result.codes:  # the smaller offer was answered in time
            break
    found = incompatible(result)
    assert (found.severity, found.evidence["cause"]) == ("critical", "client-hello")
    assert result.report.addresses[0].trusted is True
    assert code in shown(result)


def after(count: int, first: servers.ConnectionHandler, then: servers.ConnectionHandler) -> Server:
    """Return a server that handles its first connections in another way."""
    lock, connections = threading.Lock(), iter(range(1_000_000))

    def handle(sock: socket.socket) -> None:
        with lock:
            number = next(connections)
        (first if number < count else then)(sock)

    return Server(handle)


def page_over_tls(issued: IssuedCertificate) -> servers.ConnectionHandler:
    """Return a handler that answers one request over TLS with a page."""
    context = server_context(issued)

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        connection.recv(4096)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 16\r\n\r\n"
            b"<title>x</title>"
        )
        connection.shutdown()

    return talk


def with_pages(settings: Settings, port: int) -> Settings:
    http = HttpSettings(enabled=True, port=port, per_address=0, rate=0.0)
    return replace(settings, http=http)


@pytest.mark.parametrize("count", [2, 3])
def test_server_that_resets_its_first_connections_is_visited_over_https(
    probe: Probe,
    settings: Settings,
    rsa_leaf: IssuedCertificate,
    opened: Stack,
    count: int,
) -> None:
    server = after(count, servers.reset, page_over_tls(rsa_leaf))
    opened.callback(server.close)
    changes = with_pages(settings, server.port)
    report = probe(f"{HOST}:{server.port}", changes=changes).report
    assert not {f.code for f in report.findings} & {"handshake-incompatible", "handshake-failed"}
    assert report.addresses[0].group == "X25519MLKEM768", "the offer of a browser succeeded"
    assert report.web is not None
    assert report.web.secure == {"127.0.0.1"}


def test_server_that_ignores_its_first_connection_is_ok(
    probe: Probe, rsa_leaf: IssuedCertificate, opened: Stack
) -> None:
    """The smaller offer of the second connection succeeds, and then that of a browser too."""
    for limit in time_limits(4.0):
        server = after(1, servers.silent, servers.tls(server_context(rsa_leaf)))
        opened.callback(server.close)
        report = probe(f"{HOST}:{server.port}", timeout=limit).report
        if not report.silent:  # the second connection was answered in time
            break
    assert report.findings == ()
    assert (report.addresses[0].group, report.addresses[0].refuses_browsers) == (
        "X25519MLKEM768",
        False,
    )
    assert server.connections == 3


def test_server_that_resets_each_offer_of_a_browser_without_a_known_cause_is_undetermined(
    probe: Probe, settings: Settings, rsa_leaf: IssuedCertificate, opened: Stack
) -> None:
    """The server resets each ClientHello that is not forensic, which its versions show."""
    talk = page_over_tls(rsa_leaf)

    def handle(sock: socket.socket) -> None:
        hello = sock.recv(4096, socket.MSG_PEEK)
        # supported_versions with four versions; browsers offer two, and GREASE.
        forensic = bytes.fromhex("002b0009080304030303020301") in hello
        (talk if forensic else servers.reset)(sock)

    server = Server(handle)
    opened.callback(server.close)
    changes = with_pages(settings, server.port)
    result = probe(f"{HOST}:{server.port}", changes=changes)
    found = result.codes["handshake-incompatible"]
    assert (found.severity, found.evidence["cause"]) == ("undetermined", "unknown")
    web = result.report.web
    assert web is not None
    assert web.secure == {"127.0.0.1"}, "a visitor may be luckier, so the pages are visited"


@pytest.mark.parametrize(
    ("groups", "offered", "codes"),
    [
        ("X25519MLKEM768:X25519", True, set()),
        # The server prefers X25519, and can use the other one.
        ("X25519 / X25519MLKEM768", True, set()),
        ("X25519:P-256", False, {"post-quantum-missing"}),
    ],
)
def test_deep_scan_reports_whether_post_quantum_key_exchange_is_offered(
    probe: Probe,
    rsa_leaf: IssuedCertificate,
    opened: Stack,
    groups: str,
    offered: bool,
    codes: set[str],
) -> None:
    context = with_groups(server_context(rsa_leaf), groups)
    target = f"{HOST}:{serve(opened, servers.tls(context))}"
    deep = probe(target, deep=True)
    assert {f.code: f.severity for f in deep.report.findings} == dict.fromkeys(codes, "info")
    assert deep.report.addresses[0].post_quantum is offered
    shallow = probe(target).report
    assert shallow.findings == ()
    assert shallow.addresses[0].post_quantum in (None, offered)


def test_deep_scan_of_a_tls12_server_reports_no_post_quantum_key_exchange(
    probe: Probe, rsa_leaf: IssuedCertificate, opened: Stack
) -> None:
    # TLS 1.2 has suites without a group, with which that offer succeeds.
    context = server_context(rsa_leaf, highest=TLS12)
    deep = probe(f"{HOST}:{serve(opened, servers.tls(context))}", deep=True)
    assert deep.report.addresses[0].post_quantum is False
