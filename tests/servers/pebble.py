"""Debian's pebble (an ACME CA for tests) with pebble-challtestsrv as its DNS server, each on free
loopback ports.

pebble 2.4.0 has no ARI and no profiles, checks no CAA records, sends no Retry-After, and tries only
the first address of a name (AAAA before A). challtestsrv answers unknown names with 127.0.0.1,
follows one CNAME, never returns NXDOMAIN, and answers NS and SOA with NOTIMP.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import pytest
import requests
from acme import client, messages
from josepy.jwa import ES256, RS256
from josepy.jwk import JWK, JWKEC

from certmgr.demo.authority import Authority
from tests.campaign import PATIENCE
from tests.servers.challtestsrv import challtestsrv
from tests.servers.ports import TRIES, held_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program, write_pair
from tests.servers.sessions import session

PEBBLES_CLOCK = "pebble reads the system's clock, and nothing moves it in a static Go program"
real_clock = pytest.mark.real_clock(reason=PEBBLES_CLOCK)
"""Marks a test that uses pebble."""


def new_folder(folder: Path, what: str) -> Path:
    """Create a new folder below ``folder``, so that several servers can share the parent."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{what}-", dir=folder))


@dataclass
class Pebble:
    """A running pebble.

    Attributes:
        directory: The URL of its directory.
        ca_file: PEM file that verifies its TLS certificate.
        management: The URL of its management interface.
        http_port: The port on which it validates http-01.
        tls_port: The port on which it validates tls-alpn-01.
        dns: HOST:PORT of challtestsrv, for UDP and TCP.
        dns_management: The URL of the management interface of challtestsrv.
        log: Its log.
    """

    directory: str
    ca_file: Path
    management: str
    http_port: int
    tls_port: int
    dns: str
    dns_management: str
    log: Path
    _session: requests.Session = field(repr=False)

    def _manage_dns(self, what: str, **given: Any) -> requests.Response:
        answer = self._session.post(
            f"{self.dns_management}/{what}", data=json.dumps(given), timeout=PATIENCE
        )
        assert answer.status_code == 200, (what, given, answer.status_code, answer.text)
        return answer

    def add_a(self, name: str, *addresses: str) -> None:
        """Add addresses to a name. A name without addresses has 127.0.0.1."""
        self._manage_dns("add-a", host=name, addresses=addresses)

    def clear_a(self, name: str) -> None:
        self._manage_dns("clear-a", host=name)

    def add_aaaa(self, name: str, *addresses: str) -> None:
        self._manage_dns("add-aaaa", host=name, addresses=addresses)

    def clear_aaaa(self, name: str) -> None:
        self._manage_dns("clear-aaaa", host=name)

    def set_txt(self, name: str, value: str) -> None:
        """Add a TXT value. ``name`` includes ``_acme-challenge``."""
        self._manage_dns("set-txt", host=_absolute_name(name), value=value)

    def clear_txt(self, name: str) -> None:
        self._manage_dns("clear-txt", host=_absolute_name(name))

    def add_cname(self, name: str, target: str) -> None:
        self._manage_dns("set-cname", host=name, target=target)

    def clear_cname(self, name: str) -> None:
        self._manage_dns("clear-cname", host=name)

    def add_caa(self, name: str, policies: Sequence[tuple[str, str]]) -> None:
        """Add CAA records, each (tag, value) with the flags 0. pebble does not check them."""
        self._manage_dns(
            "add-caa", host=name, policies=[{"tag": tag, "value": value} for tag, value in policies]
        )

    def clear_caa(self, name: str) -> None:
        self._manage_dns("clear-caa", host=name)

    def set_servfail(self, name: str) -> None:
        """Answer every question for exactly this name with SERVFAIL."""
        self._manage_dns("set-servfail", host=name)

    def clear_servfail(self, name: str) -> None:
        self._manage_dns("clear-servfail", host=name)

    def default_a(self, address: str) -> None:
        """Set the address of names without addresses; empty for none."""
        self._manage_dns("set-default-ipv4", ip=address)

    def questions(self, name: str) -> list[str]:
        """Return the types that were queried at ``name`` since the start or ``clear_history``."""
        events = self._manage_dns("dns-request-history", host=name).json()
        return [
            dns.rdatatype.to_text(dns.rdatatype.RdataType.make(e["Question"]["Qtype"]))
            for e in events
        ]

    def clear_history(self, name: str) -> None:
        self._manage_dns("clear-request-history", host=name, type="dns")

    def _pem(self, what: str) -> str:
        answer = self._session.get(f"{self.management}/{what}", timeout=PATIENCE)
        assert answer.status_code == 200, (what, answer.status_code)
        return answer.text

    def root(self, i: int = 0) -> str:
        """Return the PEM of the default root (0) or of an alternate one."""
        return self._pem(f"roots/{i}")

    def intermediates(self, i: int = 0) -> str:
        """Return the PEM of the intermediates. All chains share the intermediate's key and name."""
        return self._pem(f"intermediates/{i}")

    def status(self, serial: int) -> dict[str, Any]:
        """Return Status ("Valid", "Revoked"), Reason and RevokedAt of a certificate."""
        found: dict[str, Any] = json.loads(self._pem(f"cert-status-by-serial/{serial:x}"))
        return found

    def orders(self, account: str, key: JWK) -> list[str]:
        """Return the URLs of an account's orders, without invalid ones (RFC 8555 7.1.2.1)."""
        alg = ES256 if isinstance(key, JWKEC) else RS256
        base, number = self.directory.rpartition("/")[0], account.rpartition("/")[2]
        # The URL may be that of a proxy; pebble accepts only its own.
        found = messages.RegistrationResource(
            uri=f"{base}/my-account/{number}", body=messages.Registration()
        )
        verify: Any = str(self.ca_file)
        network = client.ClientNetwork(key, account=found, alg=alg, verify_ssl=verify)
        network.session.trust_env = False
        url = f"{base}/list-orderz/{number}"
        orders: list[str] = []
        while url:
            answer = _post_as_get(network, url, f"{base}/nonce-plz")
            orders += answer.json()["orders"]
            url = answer.links.get("next", {}).get("url", "")
        return orders

    def order_count(self) -> int:
        """Return the number of orders of all accounts since the start, including invalid ones."""
        return len(re.findall(r"Added order ", self.log.read_text()))


def _post_as_get(network: client.ClientNetwork, url: str, nonces: str) -> requests.Response:
    """Send a POST-as-GET, and repeat it while the nonce is refused."""
    for _ in range(200):
        try:
            return network.post(url, None, new_nonce_url=nonces)
        except messages.Error as error:
            if error.code != "badNonce":
                raise
    raise AssertionError("200 nonces were refused")


def _absolute_name(name: str) -> str:
    # set-txt uses the name unchanged, and the name in a question always ends with a dot.
    return name if name.endswith(".") else f"{name}."


def mac_key(length: int = 32) -> str:
    """Return a new key for ``eab``: base64url without padding, as pebble requires."""
    return base64.urlsafe_b64encode(secrets.token_bytes(length)).decode().rstrip("=")


@contextmanager
def pebble(
    folder: Path,
    *,
    validity: timedelta = timedelta(days=90),
    eab: Mapping[str, str] | None = None,
    nonce_reject: int = 0,
    authz_reuse: int | None = None,
    always_valid: bool = False,
    alternate_roots: int = 0,
    strict: bool = True,
    sleep: bool = False,
    blocked: Sequence[str] = (),
    resolver: str = "",
) -> Iterator[Pebble]:
    """Run a separate CA in a new folder below ``folder``.

    Args:
        folder: The parent directory.
        validity: The lifetime of its certificates.
        eab: Key id -> MAC key (``mac_key()``). If given, the binding is required.
        nonce_reject: The percentage of valid nonces that it refuses.
        authz_reuse: The percentage of authorizations that it reuses; None for its default of 50.
            With 0 it still reuses one in a hundred.
        always_valid: Whether it accepts each challenge without validation.
        alternate_roots: The number of alternate chains.
        strict: The value of pebble's option -strict.
        sleep: Whether it waits up to 4 seconds before each validation.
        blocked: Names that it refuses, including all names below them.
        resolver: HOST:PORT of another DNS server for validation; challtestsrv runs as well.
    """
    folder = new_folder(folder, "pebble")
    authority = Authority("Pebble's TLS")
    ca_file = folder / "tls-ca.pem"
    ca_file.write_bytes(authority.pem)
    certificate, key = write_pair(folder, authority.issue("localhost", "127.0.0.1"), "tls")
    settings = {
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
        "PEBBLE_VA_ALWAYS_VALID": str(int(always_valid)),
        "PEBBLE_ALTERNATE_ROOTS": str(alternate_roots),
        "PEBBLE_VA_NOSLEEP": str(int(not sleep)),
        "PEBBLE_WFE_ORDERS_PER_PAGE": "50",
        **({} if authz_reuse is None else {"PEBBLE_AUTHZREUSE": str(authz_reuse)}),
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PEBBLE_")} | settings
    with ExitStack() as stack:
        address, dns_management = stack.enter_context(challtestsrv(folder))
        http_port, tls_port = held_port(stack), held_port(stack)
        for attempt in range(TRIES):
            listen, management = held_port(stack), held_port(stack)
            config = {
                "listenAddress": f"127.0.0.1:{listen}",
                "managementListenAddress": f"127.0.0.1:{management}",
                "certificate": str(certificate),
                "privateKey": str(key),
                "httpPort": http_port,
                "tlsPort": tls_port,
                "externalAccountBindingRequired": eab is not None,
                "externalAccountMACKeys": dict(eab or {}),
                "certificateValidityPeriod": int(validity.total_seconds()),
                "domainBlocklist": list(blocked),
            }
            (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
            path = folder / f"pebble{attempt}.log"
            log = stack.enter_context(path.open("wb"))
            process = subprocess.Popen(
                [
                    program("pebble", "pebble"),
                    f"-strict={str(strict).lower()}",
                    "-config",
                    str(folder / "pebble.json"),
                    "-dnsserver",
                    resolver or address,
                ],
                stdout=log,
                stderr=log,
                env=environment,
            )
            stack.callback(stop, process)
            made = Pebble(
                f"https://127.0.0.1:{listen}/dir",
                ca_file,
                f"https://127.0.0.1:{management}",
                http_port,
                tls_port,
                address,
                dns_management,
                path,
                session(ca_file),
            )
            stack.callback(made._session.close)
            try:
                wait_for(listen, process)
                wait_for(management, process)
                made._session.get(made.directory, timeout=PATIENCE).raise_for_status()
                made.root()
            except (AssertionError, OSError):
                if attempt + 1 < TRIES and "address already in use" in path.read_text():
                    continue
                raise AssertionError(
                    f"pebble does not answer: {path.read_text()[-2000:]}"
                ) from None
            yield made
            return
