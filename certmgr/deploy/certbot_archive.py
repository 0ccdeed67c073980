"""Adds a version to certbot's archive, so that an undo keeps a newer certificate in use.

certbot numbers its versions: ``archive/NAME/privkey7.pem``, ``cert7.pem``, and so on. It takes the
number from the links of ``live/NAME``, and counts on from the highest number in the archive.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from certmgr.deploy.disk import (
    Modes,
    map_os_errors,
    names_at,
    open_folder,
    read_at,
    remove_leftovers,
    require_trusted,
    temporary_name,
    write_at,
)
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError

_FILE = re.compile(r"(privkey|cert|chain|fullchain)(\d{1,9})\.pem")
_CERTIFICATE_MODE = 0o644
KINDS = ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem")


def add_version(live: Path, links: Mapping[str, str], bundle: CertificateBundle) -> dict[str, str]:
    """Write a bundle as the newest version, durably, and return the texts of the links to it.

    No file of certbot changes. A version that an interrupted call began is completed.

    Args:
        live: certbot's live folder.
        links: The texts of its links, by name, such as ``../../archive/NAME/privkey3.pem``.
        bundle: The key and certificates.

    Raises:
        CertmgrError: The links do not lead to certbot's archive, or it cannot be written to.
    """
    assert bundle.key_pem is not None
    folder = _archive_of(live, links)
    require_trusted(folder)
    with (
        map_os_errors(f"A version cannot be added to certbot's archive {folder}"),
        open_folder(folder) as handle,
    ):
        remove_leftovers(folder)
        number = _begun_version(handle, bundle) or _highest(handle) + 1
        # The key that servers read now, by the link: its owner and group are those that work.
        key = os.stat(_entry(links, "privkey.pem"), dir_fd=handle, follow_symlinks=False)
        for name in KINDS:
            # The key is readable for the group that certbot's administrator chose, and no other.
            mode = Modes(key.st_uid, key.st_gid, key.st_mode & 0o640)
            if name != "privkey.pem":
                mode = Modes(mode=_CERTIFICATE_MODE)
            target, temporary = _numbered(name, number), temporary_name("new")
            write_at(handle, temporary, bundle.files[name], mode)
            os.rename(temporary, target, src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)
    return {n: str(Path(text).with_name(_numbered(n, number))) for n, text in links.items()}


def _archive_of(live: Path, links: Mapping[str, str]) -> Path:
    # Links by hand to another place: certbot would not find a version that is added there.
    folders = {(live / text).parent.resolve() for text in links.values()}
    if len(folders) == 1 and all(_FILE.fullmatch(_entry(links, n)) for n in links):
        return folders.pop()
    raise CertmgrError(
        f"certbot's links in {live} lead to files that certbot did not name",
        "a newer version cannot be added there",
        "Give certbot a certificate that lasts longer first, or leave the lineage to certmgr.",
    )


def _entry(links: Mapping[str, str], name: str) -> str:
    return Path(links[name]).name


def _numbered(name: str, number: int) -> str:
    return f"{name.removesuffix('.pem')}{number}.pem"


def _highest(handle: int) -> int:
    return max((int(m[2]) for n in names_at(handle) if (m := _FILE.fullmatch(n))), default=0)


def _begun_version(handle: int, bundle: CertificateBundle) -> int:
    """Return the number of the newest version if its files are those of the bundle; otherwise 0.

    An interrupted call wrote some of them. Each is complete, because it was renamed.
    """
    number, equal = _highest(handle), []
    for name in KINDS:
        with suppress(FileNotFoundError):
            equal.append(read_at(handle, _numbered(name, number)) == bundle.files[name])
    return number if equal and all(equal) else 0
