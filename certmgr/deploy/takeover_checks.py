"""Whether a lineage of certbot can be taken over, checked before anything is changed.

This module reads files and changes none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from certmgr.deploy.client_model import ClientLineage
from certmgr.deploy.disk import require_trusted
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import LINKS, is_taken_over
from inventory.certificates import from_pem
from inventory.errors import CertmgrError
from inventory.files import read_regular

MAX_FILE = 1_000_000


def objections(lineage: ClientLineage, ours: Lineage, now: datetime) -> Iterator[str]:
    """Yield the reasons why a lineage cannot be taken over, in words.

    Args:
        lineage: What was read from certbot's directory.
        ours: The lineage of certmgr that would take its place.
        now: The current time.
    """
    live = lineage.live
    if live.is_symlink():
        yield f"{live} is a link, and certbot has a directory there"
        return
    yield from _links(live)
    yield from _files(lineage)
    not_after = lineage.bundle.leaf.not_after
    if not_after is None or not_after <= now:
        # Taking it over would present an expired certificate as one that certmgr keeps alive.
        yield "its certificate has expired: renew it with certbot, or delete the lineage there"
    yield from _rights(live, ours)
    try:
        held = ours.hold_reason()
    except CertmgrError as error:
        held = error.why or error.what
    # An interrupted takeover holds it, and the same call completes it.
    if held and not is_taken_over(ours):
        yield f"'{ours.name}' is held here: {held}"


def _links(live: Path) -> Iterator[str]:
    """Yield objections to the four links: each must be one, and lead to the same version."""
    versions = set()
    for name in LINKS:
        path = live / name
        if not path.is_symlink():
            # Copies are often made by a restore of a backup; certbot does not renew them either.
            what = "is a copy instead of a link" if path.exists() else "is missing"
            yield f"{path} {what}: repair it with certbot first (certbot certificates)"
            continue
        target = path.resolve()
        if not target.is_file():
            yield f"{path} leads to {target}, which is not a file"
            continue
        # certbot numbers its files: privkey3.pem and cert3.pem belong together.
        versions.add(target.stem.removeprefix(Path(name).stem))
    if len(versions) > 1:
        yield f"its links lead to different versions ({', '.join(sorted(versions))})"


def _files(lineage: ClientLineage) -> Iterator[str]:
    """Yield objections to the files: they must show one certificate, one chain and its key."""
    chain = list(lineage.bundle.chain_der)
    for name, wanted in (("cert.pem", chain[:1]), ("chain.pem", chain[1:])):
        path = lineage.live / name
        try:
            text = read_regular(path, MAX_FILE)
            found = [c.der for c in from_pem(text)] if text.strip() else []
        except (CertmgrError, ValueError):
            yield f"{path} cannot be read"
            continue
        if found != wanted:
            yield f"{path} and fullchain.pem hold different certificates"
    if lineage.bundle.key_pem is None:
        yield "its private key cannot be read"


def _rights(live: Path, ours: Lineage) -> Iterator[str]:
    """Yield objections to the rights of the directories in which something would be written."""
    try:
        require_trusted(live)
    except CertmgrError as error:
        yield f"{error.what}: {error.why}"
    if not os.access(live, os.W_OK | os.X_OK):
        yield f"{live} is not writable for this user: run the command as root"
    # The nearest folder that exists decides: missing ones are made below it.
    base = next((p for p in (ours.archive, *ours.archive.parents) if p.exists()), ours.base)
    if not os.access(base, os.W_OK | os.X_OK):
        yield f"{base} is not writable for this user: check [acme] directory"
