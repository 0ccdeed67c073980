"""Reads an installation of dehydrated, and takes lines out of its domains.txt.

    config, CONFIG_D/*.sh            shell: BASEDIR, CERTDIR, DOMAINS_TXT, CA, HOOK, ...
    domains.txt                      per certificate: names, and ``> alias``
    ACCOUNTDIR/BASE64URL-OF-CA/      account_key.pem, account_id.json, registration_info.json
    CERTDIR/NAME/                    links privkey.pem, cert.pem, chain.pem, fullchain.pem; config

Source: the documentation of dehydrated (domains_txt.md, per-certificate-config.md, its example
configuration), and files that dehydrated 0.7.0 wrote.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from certmgr.deploy.client_model import (
    ClientAccount,
    ClientInstallation,
    ClientLineage,
    ClientProblem,
)
from certmgr.deploy.clients import reading
from certmgr.deploy.disk import (
    Modes,
    map_os_errors,
    open_folder,
    remove_leftovers,
    temporary_name,
    write_at,
)
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import printable

_MARK = "# certmgr took over: "
_LINKS = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem")
_DEFAULT_CA = "letsencrypt"
# The names of CAs in CA= (the presets of dehydrated 0.7.0 to 0.7.2).
_PRESETS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-test": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "buypass": "https://api.buypass.com/acme/directory",
    "buypass-test": "https://api.test4.buypass.no/acme/directory",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "google-test": "https://dv.acme-v02.test-api.pki.goog/directory",
}


def recognises(path: Path) -> bool:
    """Return whether a directory is that of dehydrated."""
    return (path / "domains.txt").is_file() or _is_config(path / "config")


def _is_config(path: Path) -> bool:
    try:
        text = reading.text_of(path) if path.is_file() else ""
    except CertmgrError:
        return False
    return (
        re.search(r"^[^\S\n]*(?:BASEDIR|DOMAINS_TXT|CERTDIR|WELLKNOWN|CA)=", text, re.M) is not None
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The paths of the configuration.

    Attributes:
        values: The variables.
        base: BASEDIR.
        domains: DOMAINS_TXT.
        certificates: CERTDIR.
        accounts: ACCOUNTDIR.
    """

    values: dict[str, str]
    base: Path
    domains: Path
    certificates: Path
    accounts: Path


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of domains.txt: the names of a certificate, and the name of its folder."""

    names: tuple[str, ...]
    folder: str


def read(path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
    """Read the directory with dehydrated's ``config``, usually /etc/dehydrated.

    Args:
        path: The directory, or its BASEDIR if there is no configuration.
        interrupted: Lineage -> its configuration, whose takeover was interrupted.

    Raises:
        UsageError: It is not a directory of dehydrated.
    """
    if not path.is_dir() or not recognises(path):
        raise UsageError(
            f"{path} is not a directory of dehydrated",
            "it has no domains.txt, and no config of dehydrated",
            "Give the directory of its file 'config', usually /etc/dehydrated, with --path.",
        )
    problems: list[ClientProblem] = []
    layout = _layout(path, problems)
    text = (
        reading.attempt(problems, layout.domains, lambda: reading.text_of(layout.domains), "") or ""
    )
    accounts = []
    for folder in sorted(p for p in _folders(layout.accounts) if (p / "account_key.pem").is_file()):
        account = reading.attempt(problems, folder, partial(_account, folder), "")
        if account is not None:
            accounts.append(account)
    lineages = []
    for line in _lines(text, set(interrupted))[: reading.MAX_LINEAGES]:
        where = layout.certificates / line.folder
        name = reading.attempt(problems, where, partial(reading.lineage_name, line.folder), "")
        if name is None:
            continue
        found = reading.attempt(
            problems, where, partial(_lineage, layout, line, name, accounts), name
        )
        if found is not None:
            lineages.append(found)
    return ClientInstallation(path, tuple(accounts), tuple(lineages), tuple(problems))


def _folders(path: Path) -> list[Path]:
    try:
        return [p for p in sorted(path.iterdir())[:1000] if p.is_dir()]
    except OSError:
        return []


def _layout(path: Path, problems: list[ClientProblem]) -> _Layout:
    """Read config and CONFIG_D as far as they are plain assignments."""
    # The defaults of dehydrated itself. Its configuration is shell, of which plain assignments are
    # read and nothing is run.
    values = {"BASEDIR": str(path), "SCRIPTDIR": str(path)}
    if (path / "config").is_file():
        values = _variables(path / "config", values, problems)
    folder = values.get("CONFIG_D", "")
    for file in sorted(Path(folder).glob("*.sh"))[:100] if folder else ():
        values = _variables(file, values, problems)

    def folder_of(name: str, default: Path) -> Path:
        value = values.get(name, "")
        return reading.named_folder(problems, path / "config", name, value, default)

    base = folder_of("BASEDIR", path)
    return _Layout(
        values,
        base,
        Path(values.get("DOMAINS_TXT") or base / "domains.txt"),
        folder_of("CERTDIR", base / "certs"),
        folder_of("ACCOUNTDIR", base / "accounts"),
    )


def _variables(file: Path, known: dict[str, str], problems: list[ClientProblem]) -> dict[str, str]:
    """Return the variables after a configuration file; unchanged if it cannot be read."""
    text = reading.attempt(problems, file, partial(reading.text_of, file), "")
    return known if text is None else reading.shell_assignments(text, known)


def _parse(line: str) -> _Line | None:
    """Return what a line of domains.txt defines; None for comments and blank lines."""
    text = line.strip().lower()
    if not text or text.startswith("#"):
        return None
    left, arrow, alias = text.partition(">")
    names = tuple(left.split())
    folder = alias.strip() if arrow else names[0] if names else ""
    return _Line(names, folder) if names and folder else None


def _lines(text: str, interrupted: set[str]) -> list[_Line]:
    """Return the certificates of domains.txt, also those that an interrupted takeover took out."""
    result = {}
    for raw in text.splitlines():
        # A line that this takeover took out is read again; the comments of an administrator are
        # not.
        hidden = raw.startswith(_MARK)
        line = _parse(raw.removeprefix(_MARK))
        if line is not None and (not hidden or _name(line) in interrupted):
            result[line.folder] = line
    return list(result.values())


def _name(line: _Line) -> str:
    """Return the name of the lineage of a line; empty if there cannot be one."""
    try:
        return reading.lineage_name(line.folder)
    except UsageError:
        return ""


def hide(configuration: Path, name: str) -> None:
    """Turn the lines of a certificate in domains.txt into comments."""
    _edit(configuration, name, lambda raw: _MARK + raw if not raw.startswith(_MARK) else raw)


def show(configuration: Path, name: str) -> None:
    """Undo :func:`hide`. Changes that were made to the file since then stay."""
    _edit(configuration, name, lambda raw: raw.removeprefix(_MARK))


def _edit(configuration: Path, name: str, change: Any) -> None:
    """Replace domains.txt with one rename; owner and mode stay."""
    # Through a link, so that a domains.txt under version control stays where it is.
    path = configuration.resolve()
    with map_os_errors(f"{configuration} cannot be changed"):
        # What a killed call wrote under a temporary name.
        remove_leftovers(path.parent)
        data = read_regular(path, reading.MAX_FILE)
        # Bytes that are no text survive the round trip.
        lines = data.decode("utf-8", "surrogateescape").splitlines(keepends=True)
        changed = [
            change(raw)
            if (line := _parse(raw.removeprefix(_MARK))) is not None and _name(line) == name
            else raw
            for raw in lines
        ]
        if changed == lines:
            return
        # Owner and mode of before, so that the client of another user can still read it.
        info = path.stat()
        with open_folder(path.parent) as handle:
            temporary = temporary_name("new")
            write_at(
                handle,
                temporary,
                "".join(changed).encode("utf-8", "surrogateescape"),
                Modes(info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)),
            )
            os.rename(temporary, path.name, src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)


def _account(folder: Path) -> ClientAccount:
    """Return an account. The name of its folder is the CA's URL in base64url, with a newline."""
    text = folder.name
    directory = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().strip()
    uri = ""
    contacts: tuple[str, ...] = ()
    for name in ("account_id.json", "registration_info.json"):
        if not (folder / name).is_file():
            continue
        document = json.loads(reading.text_of(folder / name))
        if not isinstance(document, dict):
            continue
        url = document.get("url")
        uri = uri or (url if isinstance(url, str) else "")
        contacts = contacts or tuple(
            printable(c.removeprefix("mailto:"), 200)
            for c in document.get("contact") or ()
            if isinstance(c, str) and c.startswith("mailto:")
        )
    return ClientAccount(
        text, directory, uri, reading.account_key(folder / "account_key.pem"), contacts
    )


def _lineage(
    layout: _Layout, line: _Line, name: str, accounts: Sequence[ClientAccount]
) -> ClientLineage:
    folder = layout.certificates / line.folder
    own = layout.values.get("DOMAINS_D", "")
    file = Path(own) / line.folder if own else folder / "config"
    values = layout.values
    # Values of a certificate win over those of the installation, as in dehydrated.
    if file.is_file():
        values = reading.shell_assignments(reading.text_of(file), values)
    bundle = reading.read_bundle(folder / "privkey.pem", folder / "fullchain.pem")
    directory = layout.values.get("CA") or _DEFAULT_CA
    directory = _PRESETS.get(directory, directory)
    # One account per CA, as dehydrated keeps them.
    account = next((a for a in accounts if a.directory_url == directory), None)
    challenge = values.get("CHALLENGETYPE") or "http-01"
    where = values.get("WELLKNOWN") or "/var/www/dehydrated"
    remarks = []
    # Such a name was added to the file after the last renewal.
    if missing := sorted(set(line.names) - set(bundle.leaf.names)):
        remarks.append(
            f"domains.txt also asks for {', '.join(missing[:10])}, which the certificate does not"
            " have: add them with certmgr lineage edit after the takeover"
        )
    return reading.lineage(
        name,
        bundle,
        live=folder,
        configuration=layout.domains,
        files=[folder / n for n in _LINKS],
        authenticator=f"{challenge} in {where}" if challenge == "http-01" else challenge,
        directory_url=directory,
        account_id=account.id if account is not None else "",
        reuse_key=values.get("PRIVATE_KEY_RENEW", "yes").lower() == "no",
        preferred_chain=values.get("PREFERRED_CHAIN", ""),
        hooks={"HOOK": values.get("HOOK", "")},
        remarks=remarks,
    )
