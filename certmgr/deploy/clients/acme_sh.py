"""Reads an installation of acme.sh. Nothing is written.

    account.conf                     CERT_HOME, ACCOUNT_KEY_PATH, DEFAULT_ACME_SERVER, SAVED_*
    ca/HOST/PATH/                    account.key, account.json, ca.conf (ACCOUNT_URL)
    DOMAIN/ or DOMAIN_ecc/           DOMAIN.conf (Le_*), .key, .cer, ca.cer, fullchain.cer

``acme.sh --cron`` renews each folder that has a DOMAIN.conf, and writes into the files of
--install-cert, through links. So a lineage that is taken over must not have its DOMAIN.conf there.
Source: the script (functions renewAll, renew, _installcert, _savedomainconf, _initpath).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from certmgr.deploy.client_model import (
    ClientAccount,
    ClientInstallation,
    ClientLineage,
    ClientProblem,
)
from certmgr.deploy.clients import reading
from inventory.errors import UsageError
from inventory.text import printable

_BASE64 = ("__ACME_BASE64__START_", "__ACME_BASE64__END_")
_HOOKS = {
    "Le_PreHook": "pre-hook",
    "Le_PostHook": "post-hook",
    "Le_RenewHook": "renew-hook",
    "Le_ReloadCmd": "reloadcmd",
    "Le_DeployHook": "deploy-hook",
}
_METHODS = {"no": "standalone (port 80)", "alpn": "standalone (tls-alpn-01)"}
_MAX_CAS = 200


def recognises(path: Path) -> bool:
    """Return whether a directory is that of acme.sh."""
    certificates = (path / "ca").is_dir() and any(path.glob("*/*.conf"))
    return certificates or (path / "account.conf").is_file()


def read(path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
    """Read a directory of acme.sh, usually ``~/.acme.sh``.

    Args:
        path: The directory (LE_CONFIG_HOME).
        interrupted: Lineage -> its configuration, whose takeover was interrupted.

    Raises:
        UsageError: It is not a directory of acme.sh.
    """
    if not path.is_dir() or not recognises(path):
        raise UsageError(
            f"{path} is not a directory of acme.sh",
            "it has no account.conf, and no folder 'ca' with certificates next to it",
            "Give the directory with --path, usually /root/.acme.sh.",
        )
    problems: list[ClientProblem] = []
    settings = reading.attempt(
        problems, path / "account.conf", lambda: _settings(path / "account.conf"), ""
    )
    settings = settings or {}
    accounts = _accounts(path, settings, problems)
    home = reading.named_folder(
        problems, path / "account.conf", "CERT_HOME", settings.get("CERT_HOME", ""), path
    )
    lineages = []
    for conf in _configurations(home, set(interrupted.values())):
        name = reading.attempt(problems, conf, partial(_name, conf.parent), "")
        if name is None:
            continue
        found = reading.attempt(
            problems, conf, partial(_lineage, conf, name, settings, accounts), name
        )
        if found is not None:
            lineages.append(found)
    return ClientInstallation(path, tuple(accounts), tuple(lineages), tuple(problems))


def _configurations(home: Path, interrupted: set[str]) -> list[Path]:
    """Return the DOMAIN.conf of each folder, also where an interrupted takeover renamed it."""
    result = []
    # The folders of acme.sh itself (ca, deploy, dnsapi, notify) have no such configuration.
    # Internal hosts and IPv6 addresses have no dot, so that a dot is no sign of a certificate.
    for folder in sorted(p for p in home.glob("*") if p.is_dir())[: reading.MAX_LINEAGES]:
        conf = folder / f"{folder.name.removesuffix('_ecc')}.conf"
        hidden = conf.with_name(conf.name + reading.DISABLED_SUFFIX)
        if conf.is_file() or (str(conf) in interrupted and hidden.is_file()):
            result.append(conf)
    return result


def _name(folder: Path) -> str:
    """Return the name of a lineage: the domain, unless it has an RSA and an EC certificate."""
    domain = folder.name.removesuffix("_ecc")
    other = folder.with_name(domain)
    # Two lineages of one name would share a folder of versions.
    both = folder.name != domain and (other / f"{domain}.conf").is_file()
    return reading.lineage_name(domain) + ("_ecc" if both else "")


def _settings(path: Path) -> dict[str, str]:
    """Return the values of a configuration file; base64 is decoded."""
    values = reading.shell_assignments(reading.text_of(path)) if path.is_file() else {}
    return {k: _decoded(v) for k, v in values.items()}


def _decoded(value: str) -> str:
    # acme.sh encodes values that its own shell could not read back, such as hooks with quotes.
    if not value.startswith(_BASE64[0]) or not value.endswith(_BASE64[1]):
        return value
    try:
        data = base64.b64decode(value[len(_BASE64[0]) : -len(_BASE64[1])], validate=True)
    except (binascii.Error, ValueError):
        return printable(value, 200)
    return data.decode("utf-8", "replace").strip()


def _accounts(
    path: Path, settings: Mapping[str, str], problems: list[ClientProblem]
) -> list[ClientAccount]:
    """Return the accounts. Their id is the folder below ``ca``, which the CA's URL determines."""
    accounts = []
    base = path / "ca"
    keys = sorted(base.rglob("account.key"))[:_MAX_CAS] if base.is_dir() else []
    for file in keys:
        # An administrator may use one account key for all CAs.
        shared = Path(settings.get("ACCOUNT_KEY_PATH") or file)
        # After a move of the home, the variable still names the old one.
        key = shared if shared.is_file() else file
        found = reading.attempt(problems, file, partial(_account, base, file.parent, key), "")
        if found is not None:
            accounts.append(found)
    return accounts


def _account(base: Path, folder: Path, key: Path) -> ClientAccount:
    values = _settings(folder / "ca.conf")
    contact = values.get("CA_EMAIL", "")
    return ClientAccount(
        str(folder.relative_to(base)),
        "",
        values.get("ACCOUNT_URL", ""),
        reading.account_key(key),
        (printable(contact, 200),) if contact else (),
    )


def _account_of(directory: str, accounts: list[ClientAccount]) -> str:
    """Return the id of the account for a directory URL: HOST/PATH, or HOST in old versions."""
    url = urlsplit(directory)
    host = url.netloc
    ids = {a.id for a in accounts}
    # Older versions of acme.sh left out the path of the directory, or the port.
    wanted = [f"{h}{p}" for h in (host, host.partition(":")[0]) for p in (url.path.rstrip("/"), "")]
    return next((w for w in wanted if w in ids), "")


def _lineage(
    conf: Path, name: str, settings: Mapping[str, str], accounts: list[ClientAccount]
) -> ClientLineage:
    hidden = conf.with_name(conf.name + reading.DISABLED_SUFFIX)
    values = _settings(conf if conf.is_file() else hidden)
    folder, domain = conf.parent, conf.stem
    if not conf.is_file() and not hidden.is_file():
        raise UsageError(f"{conf} does not exist", "", "Restore the file.")
    own = [folder / f"{domain}.key", folder / f"{domain}.cer", folder / "ca.cer"]
    bundle = reading.read_bundle(own[0], folder / "fullchain.cer", own[1], own[2])
    # The copies of --install-cert are what servers read; the folder of acme.sh is its own store.
    real = [
        Path(v)
        for k in ("Le_RealKeyPath", "Le_RealCertPath", "Le_RealCACertPath", "Le_RealFullChainPath")
        if (v := values.get(k, "")) and v != "no"
    ]
    # The CA of the certificate, which may differ from today's default CA.
    directory = values.get("Le_API") or settings.get("DEFAULT_ACME_SERVER", "")
    remarks = [
        f"{p} does not exist: acme.sh would have written it at the next renewal"
        for p in real
        if not p.exists()
    ]
    for file in sorted(folder.glob("*.pfx")):
        remarks.append(f"{file} is not renewed: configure an [acme.target.NAME] of the kind pkcs12")
    return reading.lineage(
        name,
        bundle,
        live=folder,
        configuration=conf,
        files=[*own, folder / "fullchain.cer", *real],
        authenticator=_methods(values.get("Le_Webroot", "")),
        directory_url=directory,
        account_id=_account_of(directory, accounts),
        # acme.sh keeps the key unless --always-force-new-domain-key was given.
        reuse_key=values.get("Le_ForceNewDomainKey", "") != "1",
        preferred_chain=values.get("Le_Preferred_Chain", ""),
        profile=values.get("Le_Certificate_Profile", ""),
        hooks={h: values.get(k, "") for k, h in _HOOKS.items() if values.get(k, "") != "no"},
        remarks=remarks,
    )


def _methods(webroot: str) -> str:
    """Return how challenges are solved: a web root, a DNS API or a mode, per name."""
    parts = dict.fromkeys(p.strip() for p in webroot.split(",") if p.strip())
    return ", ".join(
        _METHODS.get(p, p if p.startswith(("dns", "nginx", "apache")) else f"webroot {p}")
        for p in parts
    )
