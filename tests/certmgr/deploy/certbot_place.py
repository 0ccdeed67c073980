"""Writes a directory in certbot's layout: accounts, renewal, archive, live."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from josepy.jwk import JWKEC, JWKRSA
from josepy.util import ComparableECKey, ComparableRSAKey

from certmgr.demo.authority import IssuedCertificate

SERVER = "https://acme-v02.api.letsencrypt.org/directory"
ACCOUNTS = "https://acme-v02.api.letsencrypt.org/acme/acct"


def certbot_account(base: Path, key: Any, *, server: str = SERVER, contact: str = "") -> str:
    """Create an account with a key of cryptography, RSA or EC. Return its id."""
    rsa = key.__class__.__name__.startswith(("RSA", "_RSA"))
    jwk = JWKRSA(key=ComparableRSAKey(key)) if rsa else JWKEC(key=ComparableECKey(key))
    name = hashlib.md5(jwk.thumbprint(), usedforsecurity=False).hexdigest()
    folder = base / "accounts" / server.removeprefix("https://") / name
    folder.mkdir(parents=True, mode=0o700)
    (folder / "private_key.json").write_text(jwk.json_dumps())
    (folder / "private_key.json").chmod(0o400)
    body = {"contact": [f"mailto:{contact}"]} if contact else {}
    registration = {"body": body, "uri": f"{ACCOUNTS}/{int(name[:8], 16)}"}
    (folder / "regr.json").write_text(json.dumps(registration))
    meta = {"creation_dt": "2026-01-02T03:04:05Z", "creation_host": "web1.provider.example"}
    (folder / "meta.json").write_text(json.dumps(meta))
    return name


def certbot_lineage(
    base: Path,
    name: str,
    issued: IssuedCertificate,
    *,
    account: str = "0" * 32,
    more: str = "",
    version: int = 1,
) -> Path:
    """Create a lineage and return its live folder. ``more``: lines of [renewalparams]."""
    live, archive = base / "live" / name, base / "archive" / name
    for folder in (archive, live, base / "renewal"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    chain = [c.public_bytes(Encoding.PEM) for c in issued.chain]
    files = {
        "privkey": issued.key_pem,
        "cert": chain[0],
        "chain": b"".join(chain[1:]),
        "fullchain": b"".join(chain),
    }
    for kind, data in files.items():
        path = archive / f"{kind}{version}.pem"
        path.write_bytes(data)
        path.chmod(0o600 if kind == "privkey" else 0o644)
        (live / f"{kind}.pem").unlink(missing_ok=True)
        (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}{version}.pem")
    (live / "README").write_text("This directory contains your keys and certificates.\n")
    paths = "".join(f"{k} = {live}/{k}.pem\n" for k in ("cert", "privkey", "chain", "fullchain"))
    (base / "renewal" / f"{name}.conf").write_text(
        f"# renew_before_expiry = 30 days\nversion = 5.1.0\narchive_dir = {archive}\n{paths}"
        "\n# Options used in the renewal process\n"
        f"[renewalparams]\naccount = {account}\nserver = {SERVER}\n{more}"
    )
    return live


def content(base: Path) -> dict[str, bytes]:
    """Return each file and link of a folder."""
    return {
        str(p.relative_to(base)): os.fsencode(p.readlink()) if p.is_symlink() else p.read_bytes()
        for p in base.rglob("*")
        if p.is_symlink() or p.is_file()
    }
