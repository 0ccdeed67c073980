"""What is read from another ACME client: accounts, lineages and problems. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certmgr.x509.bundle import CertificateBundle


@dataclass(frozen=True, slots=True)
class ClientAccount:
    """An ACME account of another client.

    Attributes:
        id: Its name there, such as the name of its folder.
        directory_url: The directory URL of the CA; empty if the client records only its host.
        uri: The URL of the account at the CA; empty if it is not recorded.
        key_pem: The account key, PKCS#8 and unencrypted.
        contacts: Mail addresses. Newer versions of certbot store none.
    """

    id: str
    directory_url: str
    uri: str
    key_pem: bytes = field(repr=False)
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file or link that servers read.

    Attributes:
        path: Where it is.
        content: The file of a version with the same content, such as ``fullchain.pem``; empty if
            the file holds something else.
    """

    path: Path
    content: str


@dataclass(frozen=True, slots=True)
class ClientLineage:
    """A certificate that another client renews.

    Attributes:
        name: The name of the lineage.
        names: The names of its certificate.
        key_type: The type of its key, such as ec-p256.
        authenticator: How the client solves the challenges, in its own words.
        webroots: Name -> web root.
        directory_url: The directory URL of the CA.
        account_id: The id of the account.
        reuse_key: Whether renewals keep the key.
        preferred_chain: The name of the preferred root.
        profile: The certificate profile of the CA.
        hooks: Hook -> its shell text, which is displayed and never run.
        live: The folder of its files.
        bundle: The key and certificates in use.
        files: What servers read; empty for certbot, whose links are always the same four.
        configuration: The file by which the client knows the lineage.
        remarks: What the administrator should know, one sentence each.
    """

    name: str
    names: tuple[str, ...]
    key_type: str
    authenticator: str
    webroots: Mapping[str, str]
    directory_url: str
    account_id: str
    reuse_key: bool
    preferred_chain: str
    profile: str
    hooks: Mapping[str, str]
    live: Path
    bundle: CertificateBundle
    files: tuple[ServedFile, ...] = ()
    configuration: Path = Path()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientProblem:
    """A file that cannot be read, and the reason.

    Attributes:
        path: The file.
        reason: Why, in words.
        lineage: The name of the lineage that the client may still renew; empty for other files.
    """

    path: Path
    reason: str
    lineage: str = ""

    @property
    def renewal(self) -> bool:
        """Whether it is the configuration of a lineage, which the client may still renew."""
        return bool(self.lineage)


@dataclass(frozen=True, slots=True)
class ClientInstallation:
    """The contents of a client's directory."""

    path: Path
    accounts: tuple[ClientAccount, ...]
    lineages: tuple[ClientLineage, ...]
    problems: tuple[ClientProblem, ...]

    def account_of(self, lineage: ClientLineage) -> ClientAccount | None:
        """Return the account of a lineage.

        Certbot may link one account under two servers, so that the lineage's server decides.
        """
        candidates = [a for a in self.accounts if a.id == lineage.account_id]
        return next(
            (a for a in candidates if a.directory_url == lineage.directory_url),
            candidates[0] if candidates else None,
        )


def key_type_of(bundle: CertificateBundle) -> str:
    """Return the type of a certificate's key as [acme] key_type names it."""
    return bundle.leaf.key.lower().replace("p-", "p").replace(" ", "-")
