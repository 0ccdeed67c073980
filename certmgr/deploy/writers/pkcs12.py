"""Writes one PKCS#12 file: targets of the kind ``pkcs12``."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from certmgr.deploy.disk import (
    map_os_errors,
    open_folder,
    remove_at,
    remove_leftovers,
    require_trusted,
    temporary_name,
    write_at,
)
from certmgr.deploy.writers.interface import (
    LocalContext,
)
from certmgr.x509.bundle import CertificateBundle
from certmgr.x509.pkcs12 import build_pkcs12
from certmgr.x509.private_keys import load_pem
from inventory.errors import UsageError

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)


class Pkcs12Writer:
    """Writes one PKCS#12 file under a temporary name, and renames it.

    The previous file stays under a second hard link until the test is over.
    """

    def __init__(
        self, local: LocalContext, path: str, bundle: CertificateBundle, password: str, alias: str
    ) -> None:
        self.run, self.lock_file, self._local, self._path, self._bundle = (
            local.run,
            local.lock_file,
            local,
            Path(path),
            bundle,
        )
        self._password, self._alias = password, alias
        # A name of fixed length, since the file's own may have up to 255 bytes already.
        name = hashlib.sha256(self._path.name.encode()).hexdigest()[:12]
        self._saved = f".certmgr-saved-{name}"

    def stage(self) -> None:
        if self._bundle.key_pem is None:
            raise UsageError(
                "A PKCS#12 file needs the private key",
                "the client has it",
                "Use another kind of target for this lineage.",
            )
        if not self._password:
            raise UsageError(
                "A PKCS#12 file needs a password",
                "without a password its key is practically unprotected",
                "Set 'password' of the target.",
            )
        _log.debug("writing %s", self._path)
        # Built before anything changes: deriving the key of the encryption takes time, and may
        # fail.
        data = self._build(self._bundle.key_pem)
        require_trusted(self._path.parent)
        with (
            map_os_errors(f"{self._path} cannot be written"),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            remove_leftovers(self._path.parent)
            self._save(handle)
            temporary = temporary_name("new")
            try:
                write_at(handle, temporary, data, self._local.modes)
                # Java and Windows services read the file at any time: it is the old one or the new
                # one as a whole.
                os.rename(temporary, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=handle)
                raise
            os.fsync(handle)

    def _save(self, handle: int) -> None:
        """Keep the current file under a second hard link.

        An existing link was left by a process that died before its test was over. It leads to the
        last file that passed its test, and is kept.
        """
        with suppress(FileExistsError, FileNotFoundError):
            os.link(
                self._path.name,
                self._saved,
                src_dir_fd=handle,
                dst_dir_fd=handle,
                follow_symlinks=False,
            )
            os.fsync(handle)

    def _build(self, key_pem: bytes) -> bytes:
        return build_pkcs12(
            load_pem(key_pem),
            self._bundle.chain,
            alias=self._alias,
            password=self._password,
            legacy=self._local.legacy,
        )

    def rollback(self) -> None:
        with (
            map_os_errors(f"{self._path} cannot be restored"),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            try:
                os.rename(self._saved, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except FileNotFoundError:  # there was no file before
                os.unlink(self._path.name, dir_fd=handle)
            os.fsync(handle)

    def commit(self) -> None:
        with (
            map_os_errors(f"{self._path.parent} cannot be written to"),
            suppress(FileNotFoundError),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            # After the test: from here on a rollback is a new deployment of the older version.
            remove_at(handle, self._saved)
