"""Probes that verify an installation, of real servers: key types, addresses, and backends."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.inspection.live_check import LiveCheckTarget, check_live, live_check_targets
from certmgr.inspection.verification import verify
from inventory.records import ClientEndpoint
from inventory.targets import Target
from inventory.vocabulary import VerificationState
from tests.certmgr.cases.place import sha256
from tests.records import record
from tests.servers.ports import free_port
from tests.servers.real import dns, nginx, write_pair

HOST = "shop.example.com"


def test_wildcard_is_probed_at_the_clients_endpoints() -> None:
    endpoints = [
        record(
            ClientEndpoint,
            host=host,
            port=port,
            protocol=protocol,
            server="lb",
            backends=backends,
            domain=host,
        )
        for host, port, protocol, backends in (
            ("a.shop.example.com", 443, "https", ("10.0.0.1", "10.0.0.2:8443")),
            ("mail.shop.example.com", 25, "smtp", ()),
            ("other.example.com", 443, "https", ()),
        )
    ]
    found = live_check_targets(["*.shop.example.com", HOST], endpoints)
    assert [str(p.target) for p in found] == [
        "a.shop.example.com:443",
        "mail.shop.example.com:25",
        "shop.example.com:443",
    ]
    backends = [(s, str(t)) for s, t in found[0].backends]
    assert backends == [("lb", "10.0.0.1:443"), ("lb", "10.0.0.2:8443")]
    (below,) = live_check_targets(["x.a.shop.example.com"], endpoints)
    assert [str(t) for _, t in below.backends] == [
        "10.0.0.1:443",
        "10.0.0.2:8443",
    ], "a name without an endpoint is behind the load balancer of its domain"


@dataclass(frozen=True, slots=True)
class Certificates:
    new: IssuedCertificate
    new_rsa: IssuedCertificate
    old: IssuedCertificate


@pytest.fixture(scope="module")
def issued(issuer: Authority, rsa_key: rsa.RSAPrivateKey) -> Certificates:
    new = issuer.issue(HOST, key=ec.generate_private_key(ec.SECP256R1()))
    return Certificates(new, issuer.issue(HOST, key=rsa_key), issuer.issue(HOST))


def at(
    port: int, *addresses: str, backends: tuple[tuple[str, Target], ...] = ()
) -> list[LiveCheckTarget]:
    return [LiveCheckTarget(Target(HOST, port), addresses or ("127.0.0.1",), backends)]


def served(
    folder: Path, shown: IssuedCertificate, address: str
) -> contextlib.AbstractContextManager[int]:
    folder.mkdir(parents=True)
    return nginx(folder, [(HOST, *write_pair(folder, shown))], address=address)


def second_certificate(folder: Path, shown: IssuedCertificate) -> str:
    certificate, key = write_pair(folder, shown)
    return f"ssl_certificate {certificate}; ssl_certificate_key {key};"


def test_server_with_one_key_type_is_live_for_that_type_alone(
    settings: Settings, issued: Certificates, tmp_path: Path
) -> None:
    new, new_rsa, old = (sha256(i) for i in (issued.new, issued.new_rsa, issued.old))
    with served(tmp_path / "ec", issued.new, "127.0.0.1") as port:
        observations = check_live(settings, at(port))
    seen = {(s.key_type, s.sha256, s.error) for s in observations}
    assert seen == {("EC", new, ""), ("RSA", None, "")}
    assert verify({"EC": new}, observations).state is VerificationState.LIVE
    assert verify({"EC": old}, observations, [new]).old
    assert verify({"EC": new, "RSA": new_rsa}, observations).state is VerificationState.ABSENT


@pytest.mark.parametrize("protocols", ["", "ssl_protocols TLSv1.2;"])
def test_server_with_two_key_types_is_live_only_if_both_are_expected(
    settings: Settings, issued: Certificates, tmp_path: Path, protocols: str
) -> None:
    pair = write_pair(tmp_path / "ec", issued.new)
    extra = protocols + second_certificate(tmp_path / "rsa", issued.new_rsa)
    with nginx(tmp_path, [(HOST, *pair)], extra=extra) as port:
        observations = check_live(settings, at(port))
    both = {"EC": sha256(issued.new), "RSA": sha256(issued.new_rsa)}
    assert verify(both, observations).state is VerificationState.LIVE
    ec_alone = {"EC": sha256(issued.new)}
    assert verify(ec_alone, observations).state is VerificationState.ABSENT, (
        "the RSA certificate is not expected"
    )


def test_forgotten_backend_is_missing_and_a_dead_address_is_unknown(
    settings: Settings, issued: Certificates, tmp_path: Path
) -> None:
    expected, old = {"EC": sha256(issued.new)}, [sha256(issued.old)]
    with (
        served(tmp_path / "a", issued.new, "127.0.0.2") as port,
        served(tmp_path / "b", issued.old, "127.0.0.3") as behind,
    ):
        backends = (("lb1", Target("127.0.0.3", behind)),)
        verification = verify(
            expected, check_live(settings, at(port, "127.0.0.2", backends=backends)), old
        )
        assert verification.state is VerificationState.PARTIAL
        assert verification.old == (f"{HOST}:{behind} at backend 127.0.0.3 of lb1",)
        dead = verify(expected, check_live(settings, at(port, "127.0.0.2", "127.0.0.4")), old)
        assert dead.state is VerificationState.UNKNOWN, (
            "an address that refuses is neither live nor old"
        )
        assert "127.0.0.4" in dead.unknown[0]


def test_name_that_points_inside_or_does_not_exist_is_unknown(
    settings: Settings, opened: contextlib.ExitStack
) -> None:
    server = opened.enter_context(dns({HOST: ["127.0.0.1"], "gone.example.com": "NXDOMAIN"}))
    asked = replace(settings, scan=replace(settings.scan, resolvers=(server,)))
    expected = {"EC": "a" * 64}
    verification = verify(expected, check_live(asked, [LiveCheckTarget(Target(HOST, free_port()))]))
    assert verification.state is VerificationState.UNKNOWN
    assert "not visited" in verification.unknown[0]
    gone = verify(expected, check_live(asked, [LiveCheckTarget(Target("gone.example.com"))]))
    assert gone.state is VerificationState.UNKNOWN
