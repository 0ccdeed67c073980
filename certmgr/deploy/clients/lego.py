"""Reads an installation of lego. Nothing is written.

    accounts/SERVER/ID/          account.json (registration with the account's URL) and the key:
                                 keys/ID.key (versions 1 to 4) or ID.key (since version 5)
    certificates/DOMAIN.*        .json (domain, certUrl), .crt, .issuer.crt, .key, .pem, .pfx

ID is the mail address, or since version 5 any name. SERVER is the host of the CA with ``_`` for
``:``; a wildcard is written as ``_.example.com``.
lego has no renewal configuration: a timer or script of the administrator names domains, options
and hooks. ``lego renew`` writes into the files, through links. So no such timer may go on for what
is taken over. Source: files that lego 4.9 wrote, and its documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
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

_MAX_ACCOUNTS = 1000


def recognises(path: Path) -> bool:
    """Return whether a directory is that of lego."""
    return (path / "certificates").is_dir() and (path / "accounts").is_dir()


def read(path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
    """Read a directory of lego (its option --path).

    Args:
        path: The directory, usually ``.lego``.
        interrupted: Not used, because nothing of lego is renamed.

    Raises:
        UsageError: It is not a directory of lego.
    """
    # lego creates .lego in the directory in which it is run, which administrators name instead.
    if not (path / "certificates").is_dir() and recognises(path / ".lego"):
        path = path / ".lego"
    if not (path / "certificates").is_dir():
        raise UsageError(
            f"{path} is not a directory of lego",
            "it has no folder 'certificates'",
            "Give the directory of lego's option --path, usually .lego, with --path.",
        )
    problems: list[ClientProblem] = []
    # A copy of the certificates alone is enough with an account of the inventory.
    if not (path / "accounts").is_dir():
        problems.append(
            ClientProblem(
                path / "accounts",
                "it does not exist: restore it, or name an account of the inventory (--account)",
            )
        )
    accounts = []
    # "lego migrate" of the first version 5 put a folder of the key's type in between.
    base = path / "accounts"
    files = [p for depth in ("*/*", "*/*/*") for p in base.glob(f"{depth}/account.json")]
    for file in sorted(files)[:_MAX_ACCOUNTS]:
        account = reading.attempt(problems, file, partial(_account, file, base), "")
        if account is not None:
            accounts.append(account)
    lineages = []
    for file in sorted((path / "certificates").glob("*.json"))[: reading.MAX_LINEAGES]:
        name = reading.attempt(problems, file, partial(reading.lineage_name, file.stem), "")
        if name is None:
            continue
        found = reading.attempt(problems, file, partial(_lineage, file, name, accounts), name)
        if found is not None:
            lineages.append(found)
    return ClientInstallation(path, tuple(accounts), tuple(lineages), tuple(problems))


def _json(path: Path) -> dict[str, Any]:
    document = json.loads(reading.text_of(path))
    if not isinstance(document, dict):
        raise UsageError(f"{path} is damaged", "it holds no JSON object", "Restore the file.")
    return document


def _account(file: Path, base: Path) -> ClientAccount:
    """Return an account. Its id is SERVER/ID."""
    document = _json(file)
    registration = document.get("registration") or {}
    # Version 5 stores the fields of the account themselves instead of "body" and "uri".
    uri = registration.get("uri") or registration.get("accountURL")
    contacts = (registration.get("body") or registration).get("contact") or ()
    server, name = file.relative_to(base).parts[:2]
    directory = document.get("server")
    keys = [file.parent / "keys" / f"{name}.key", file.parent / f"{name}.key"]
    return ClientAccount(
        f"{server}/{name}",
        directory if isinstance(directory, str) else "",
        uri if isinstance(uri, str) else "",
        reading.account_key(next((k for k in keys if k.is_file()), keys[0])),
        tuple(
            printable(c.removeprefix("mailto:"), 200)
            for c in contacts
            if isinstance(c, str) and c.startswith("mailto:")
        ),
    )


def _account_of(certificate_url: str, accounts: list[ClientAccount]) -> str:
    """Return the id of the account of the CA that issued a certificate.

    lego does not record it per certificate. It is known if there is one account at that CA.
    """
    server = urlsplit(certificate_url).netloc.replace(":", "_")
    ids = [a.id for a in accounts if a.id.partition("/")[0] == server]
    # With two accounts at one CA it would be a guess, and CAA records may permit one of them only.
    return ids[0] if len(ids) == 1 else ""


def _lineage(file: Path, name: str, accounts: list[ClientAccount]) -> ClientLineage:
    document = _json(file)
    folder, stem = file.parent, file.name.removesuffix(".json")
    paths = {s: folder / f"{stem}.{s}" for s in ("key", "crt", "issuer.crt", "pem", "pfx")}
    bundle = reading.read_bundle(paths["key"], paths["crt"], paths["issuer.crt"])
    url = str(document.get("certStableUrl") or document.get("certUrl") or "")
    remarks = []
    # The file has a password and a purpose of its client, which certmgr does not know.
    if paths["pfx"].exists():
        remarks.append(
            f"{paths['pfx']} is not renewed: configure an [acme.target.NAME] of the kind pkcs12"
        )
    return reading.lineage(
        name,
        bundle,
        live=folder,
        configuration=file,
        files=[paths["key"], paths["crt"], paths["issuer.crt"], paths["pem"]],
        authenticator="by the options of its timer or script",
        account_id=_account_of(url, accounts),
        remarks=remarks,
    )
