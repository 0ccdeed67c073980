"""What comes back from a vendor, taken apart: PEM, DER, PKCS#7, PKCS#12 and zip, in any order, with
anything between. Hostile.

It is read in a process of its own with bounded memory and time (:func:`unpack`), since a PKCS#12
can ask for billions of rounds and an archive for any amount of memory. What the process gives back
is certificates, keys, and words of ours. Names inside an archive are never used as paths.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from inventory.certificates import Certificate, parse
from inventory.errors import UsageError
from inventory.files import read_regular

MAX_INPUT = 8 * 1024 * 1024
SECONDS = 20
MEMORY = 768 * 1024 * 1024
# Limits of the reading process.
MAX_ENTRIES = 1000
MAX_MEMBER = 1024 * 1024
MAX_TOTAL = 8 * 1024 * 1024
MAX_CERTIFICATES = 100
MAX_DEPTH = 2


@dataclass(frozen=True, slots=True)
class VendorUpload:
    """``keys``: private keys that came with it, as unencrypted PKCS#8 PEM.

    ``remarks``: codes of what is to be said about it (notifiers/wording/cases.py).
    """

    certificates: tuple[Certificate, ...]
    keys: tuple[bytes, ...] = ()
    remarks: tuple[str, ...] = ()


def unpack(files: list[bytes], password: str = "") -> VendorUpload:
    """Raises :class:`UsageError` for what cannot be taken apart (a wrong password, an archive
    beyond the limits, nothing in it).
    """
    if sum(len(f) for f in files) > MAX_INPUT:
        raise UsageError(
            "The files are too large",
            f"the limit is {MAX_INPUT // 1024 // 1024} MB together",
            "Send the certificate files alone.",
        )
    order = json.dumps(
        {"files": [base64.b64encode(f).decode() for f in files], "password": password}
    )
    command = [sys.executable, "-P", "-m", "certmgr.x509.unpacking"]
    # No secret of ours goes there, and no code is taken from the folder in which somebody stands.
    bare = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    try:
        done = subprocess.run(
            command,
            input=order.encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=bare,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            "The file could not be read in time",
            f"it was given {SECONDS} seconds",
            "It is damaged, or made to keep us busy: ask for another one.",
        ) from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        why = (
            "it needs more memory than it is given"
            if b"MemoryError" in done.stderr or done.returncode < 0
            else "the reading process ended early"
        )
        raise UsageError(
            "The file could not be read",
            why,
            "It is damaged, or made to keep us busy: ask for another one.",
        ) from None
    if answer.get("error"):
        raise UsageError(*answer["error"])
    found = {
        c.sha256: c for c in (parse(base64.b64decode(text)) for text in answer["certificates"])
    }
    if not found:
        raise UsageError(
            "There is no certificate in it",
            (
                "it holds a CSR, which is what a certificate is asked for with"
                if "csr-sent-back" in answer["remarks"]
                else answer.get("seen") or "nothing that can be read as one"
            ),
            "Ask for the certificate as PEM, PKCS#7 or PKCS#12.",
        )
    return VendorUpload(
        tuple(found.values()),
        tuple(base64.b64decode(k) for k in answer["keys"]),
        tuple(answer["remarks"]),
    )


def read_files(paths: list[str]) -> list[bytes]:
    """Of regular files alone: a pipe or a device may never end. Raises :class:`CertmgrError`."""
    return [read_regular(Path(p), MAX_INPUT) for p in paths]
