"""Files from a vendor: PEM, DER, PKCS#7, PKCS#12 and zip, in any order and mixed with other text.

The input is hostile. A PKCS#12 file can request billions of iterations, and an archive any amount
of memory. A separate process with bounded memory and time therefore unpacks it (:func:`unpack`).
That process returns certificates, keys and fixed texts. Names inside an archive are never used as
paths.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventory.certificates import Certificate, parse
from inventory.errors import UsageError
from inventory.files import read_regular

MAX_INPUT = 8 * 1024 * 1024
# PKCS#12 of real vendors needs a second; a file that needs more was made to need it.
SECONDS = 20  # of CPU time
# On a busy machine the process waits for its turns. This limit is for one that hangs.
WAIT_SECONDS = 300
MEMORY = 768 * 1024 * 1024
# Limits of the unpacking process.
MAX_ENTRIES = 1000
MAX_MEMBER = 1024 * 1024
MAX_TOTAL = 8 * 1024 * 1024
MAX_CERTIFICATES = 100
# A zip inside the zip of a vendor occurs; deeper nesting is an archive bomb.
MAX_DEPTH = 2


@dataclass(frozen=True, slots=True)
class VendorUpload:
    """The content of uploaded files.

    Attributes:
        keys: The enclosed private keys, as unencrypted PKCS#8 PEM.
        remarks: Codes of remarks about the upload (notifiers/wording/cases.py).
        ignored: The parts that were not used, each with its file and what it is.
    """

    certificates: tuple[Certificate, ...]
    keys: tuple[bytes, ...] = ()
    remarks: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def unpack(files: list[bytes], password: str = "") -> VendorUpload:
    """Unpack files in a sandbox.

    Raises:
        UsageError: The files cannot be unpacked (a wrong password, an archive beyond the limits, no
            certificate).
    """
    if sum(len(f) for f in files) > MAX_INPUT:
        raise UsageError(
            "The files are too large",
            f"the limit is {MAX_INPUT // 1024 // 1024} MB for all files",
            "Send the certificate files alone.",
        )
    answer = _answer_of_sandbox(files, password)
    if answer.get("error"):
        raise UsageError(*answer["error"])
    certificates = {
        c.sha256: c for c in (parse(base64.b64decode(text)) for text in answer["certificates"])
    }
    # A reason in the sender's terms: most often the CSR was sent back instead of the certificate.
    if not certificates:
        raise UsageError(
            "The files contain no certificate",
            (
                "they contain a CSR, which is only the request for a certificate"
                if "csr-sent-back" in answer["remarks"]
                else "; ".join(answer["ignored"])[:400]
                or "no content could be read as a certificate"
            ),
            "Request the certificate as PEM, PKCS#7 or PKCS#12.",
        )
    return VendorUpload(
        tuple(certificates.values()),
        tuple(base64.b64decode(k) for k in answer["keys"]),
        tuple(answer["remarks"]),
        tuple(answer["ignored"]),
    )


def _answer_of_sandbox(files: list[bytes], password: str) -> dict[str, Any]:
    """Return what the separate process found, or the error that it reports.

    Raises:
        UsageError: The process exceeded a limit.
    """
    request = json.dumps(
        {"files": [base64.b64encode(f).decode() for f in files], "password": password}
    )
    command = [sys.executable, "-P", "-m", "certmgr.x509.unpacking", str(SECONDS)]
    # The process gets none of our environment variables, which may hold secrets, and imports no
    # code from the current directory.
    environment = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    try:
        process = subprocess.run(
            command,
            input=request.encode(),
            capture_output=True,
            timeout=WAIT_SECONDS,
            check=False,
            env=environment,
            # The current directory may be a folder of downloads with a base64.py, for example.
            cwd="/",
        )
        in_time = process.returncode != -signal.SIGXCPU
    except subprocess.TimeoutExpired:
        in_time = False
    if not in_time:
        raise UsageError(
            "The file could not be read in time",
            f"the limit is {SECONDS} seconds of CPU time",
            "It is damaged or malicious: request another one.",
        )
    try:
        answer: dict[str, Any] = json.loads(process.stdout)
    except ValueError:
        reason = (
            "it needs more memory than the limit"
            # A negative return code is a signal: the limits of the process ended it.
            if b"MemoryError" in process.stderr or process.returncode < 0
            else "the unpacking process ended early"
        )
        raise UsageError(
            "The file could not be read",
            reason,
            "It is damaged or malicious: request another one.",
        ) from None
    return answer


def read_files(paths: list[str]) -> list[bytes]:
    """Read regular files only: a pipe or a device may never end.

    Raises:
        CertmgrError: A file cannot be read, is not regular, or is too large.
    """
    return [read_regular(Path(p), MAX_INPUT) for p in paths]
