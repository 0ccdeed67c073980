"""The keys of ACME accounts, and open connections of accounts to their CAs.

This module performs I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import requests
from acme import messages
from cryptography.hazmat.primitives.asymmetric import rsa
from josepy.jwk import JWK, JWKEC, JWKRSA

from certmgr.acme import cas
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.protocol.client import AcmeNetwork, directory_of
from certmgr.acme.protocol.connection import CaConnection
from certmgr.config.secret_values import secret
from certmgr.config.settings import Settings
from certmgr.net.addresses import networks
from certmgr.x509.key_store import KeyStore, local_path
from inventory.clock import Clock, system_clock
from inventory.errors import CertmgrError
from inventory.records import AccountRecord
from inventory.text import printable

_log = logging.getLogger(__name__)


def base_directory(settings: Settings) -> Path:
    """Return the directory for the keys, versions and locks of ACME."""
    if settings.acme.directory:
        return Path(settings.acme.directory)

    return Path(platformdirs.user_data_dir("certmgr")) / "acme"


def key_store(settings: Settings) -> KeyStore:
    """Return the store for the keys of accounts and orders."""
    return KeyStore(base_directory(settings) / "keys", lambda: secret(settings.cases.passphrase))


def connection_for(settings: Settings, ca: CertificateAuthority) -> CaConnection:
    """Return the connection settings of a CA."""
    return CaConnection(
        ca.ca_file,
        ca.internal,
        networks(settings.network.allow, "[network] allow"),
        # A floor, so that one slow exchange does not block every other request of the account.
        max(settings.acme.at_once, 4),
    )


def jwk(key: Any) -> JWK:
    """Return a private key as a JSON Web Key."""
    return JWKRSA(key=key) if isinstance(key, rsa.RSAPrivateKey) else JWKEC(key=key)


@dataclass(slots=True)
class AccountSession:
    """An account with an open connection to its CA.

    Attributes:
        row: The account as it is stored; None before registration.
        ca: The CA.
        net: The connection.
        directory: The directory object of the CA (RFC 8555 7.1.1).
    """

    row: AccountRecord | None
    ca: CertificateAuthority
    net: AcmeNetwork
    directory: messages.Directory

    def post(self, url: str, obj: Any = None) -> requests.Response:
        """Send a signed request. Without ``obj`` it is a POST-as-GET (RFC 8555 6.3)."""
        response: requests.Response = self.net.post(
            url, obj, new_nonce_url=self.directory["newNonce"]
        )
        return response

    @property
    def account(self) -> AccountRecord:
        """The account, which is registered."""
        assert self.row is not None
        return self.row

    @property
    def url(self) -> str:
        """The URL of a registered account."""
        assert self.account.url is not None
        return self.account.url

    @property
    def key(self) -> JWK:
        """The account key."""
        key: Any = self.net.key
        return key  # type: ignore[no-any-return]

    @property
    def renewal_info(self) -> Any:
        """The URL for renewal information (RFC 9773 4); None if the CA has none."""
        try:
            return self.directory["renewalInfo"]
        except KeyError:
            return None

    @property
    def profiles(self) -> dict[str, str]:
        """The CA's profiles: name -> description."""
        profiles = getattr(self.directory["meta"], "profiles", None)
        if not isinstance(profiles, Mapping):
            return {}
        return {
            printable(str(k), 60): printable(str(v), 200)
            # The text is shown to administrators, and a CA's directory may contain anything.
            for k, v in list(profiles.items())[:50]
        }

    @property
    def caa(self) -> tuple[str, ...]:
        """The CA's names in CAA records: from its directory, else from the table of known CAs."""
        # What the CA states itself is newer than the table that ships with the program.
        identities = getattr(self.directory["meta"], "caa_identities", None)
        if not isinstance(identities, (list, tuple)):
            identities = ()
        return tuple(printable(str(i), 253).lower() for i in list(identities)[:20]) or self.ca.caa


def connect(
    settings: Settings,
    ca: CertificateAuthority,
    key: Any,
    url: str | None = None,
    clock: Clock = system_clock,
) -> AccountSession:
    """Connect to a CA and fetch its directory.

    Args:
        settings: The configuration.
        ca: The CA.
        key: The private key that signs requests.
        url: The URL of the account; None before registration.
        clock: The current time, for Retry-After dates.

    Raises:
        AcmeError: The CA does not answer, or its answer is not a directory.
    """
    _log.debug("connecting to %s", ca.directory)
    net = AcmeNetwork(connection_for(settings, ca), jwk(key), clock=clock)
    directory = directory_of(net, ca.directory)
    if url:
        net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    return AccountSession(None, ca, net, directory)


def open_session(
    settings: Settings, row: AccountRecord, clock: Clock = system_clock
) -> AccountSession:
    """Connect to the CA of a registered account.

    Raises:
        CertmgrError: The account is not active, its key cannot be read, or the CA does not answer.
    """
    # Pending: the CA may not know it yet. Lost or retired: the CA would refuse each request.
    if row.state != "active":
        raise CertmgrError(f"The ACME account '{row.name}' is {row.state}", "", _remedy(row))
    ca = cas.find(settings.acme, row.ca, row.directory)
    session = connect(
        settings, ca, key_store(settings).load(local_path(row.key_reference)), row.url, clock
    )
    session.row = row
    return session


def _remedy(row: AccountRecord) -> str:
    again = f"Run certmgr account add {row.ca} --name {row.name} to complete it."
    return (
        again
        if row.state == "pending"
        else "Name another account with --account, or create one: certmgr account add."
    )
