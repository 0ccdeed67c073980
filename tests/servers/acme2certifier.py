"""acme2certifier with its openssl handler: an ACME server with ARI and profiles, in a separate
process and virtual environment.

It is under the GPL and used only by the tests. No module here imports it. The only code of this
project in its process is a launcher for WSGI.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certmgr.demo.authority import Authority
from tests.campaign import PATIENCE
from tests.servers.pebble import new_folder
from tests.servers.ports import TRIES, held_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import write_pair
from tests.servers.sessions import session

HERE = Path(__file__).parents[1] / "acme2certifier"
PROFILES = {"classic": "https://ca.test/classic", "shortlived": "https://ca.test/shortlived"}


@dataclass
class Acme2certifier:
    """A running acme2certifier.

    Attributes:
        directory: The URL of its directory.
        ca_file: PEM file that verifies its TLS certificate.
        root: PEM of the root of its certificates.
        http_port: The port on which it validates http-01; 0 if it validates no challenge.
        log: Its log.
        crl: Its revocation list.
    """

    directory: str
    ca_file: Path
    root: str
    http_port: int
    log: Path
    crl: Path

    def revoked(self) -> list[int]:
        """Return the serial numbers in its revocation list."""
        return (
            [r.serial_number for r in x509.load_pem_x509_crl(self.crl.read_bytes())]
            if self.crl.exists()
            else []
        )


def _config(folder: Path, sections: Mapping[str, Mapping[str, object]]) -> Path:
    path = folder / "acme_srv.cfg"
    path.write_text(
        "\n".join(
            f"[{name}]\n" + "".join(f"{k}: {v}\n" for k, v in values.items())
            for name, values in sections.items()
        )
    )
    return path


@contextmanager
def acme2certifier(
    folder: Path,
    *,
    days: int = 90,
    profiles: Mapping[str, str] = PROFILES,
    threshold: float = 66.0,
    window: timedelta | None = None,
    renew_now: bool = False,
    ari: bool = True,
    retry_after: int = 21600,
    resolver: str = "",
) -> Iterator[Acme2certifier]:
    """Run acme2certifier.

    Args:
        folder: The directory below which its files are created.
        days: The lifetime of its certificates.
        profiles: Name -> description. They have no effect on a certificate.
        threshold: The start of the ARI window, in percent of the lifetime.
        window: The length of the ARI window; None for a window until the end of the lifetime.
        renew_now: Whether the ARI window begins in the past.
        ari: Whether it supports ARI.
        retry_after: Seconds in the Retry-After of renewalInfo.
        resolver: HOST:PORT of a DNS server on loopback, such as challtestsrv. With it challenges
            are validated, http-01 on ``http_port``; without it each challenge is valid at once.
    """
    program = HERE / ".venv" / "bin" / "python"
    assert program.exists(), "acme2certifier is missing: sh tools/servers.sh (make test does it)"
    folder = new_folder(folder, "acme2certifier")
    root = Authority("acme2certifier Root")
    issuer = Authority("acme2certifier Issuer", root, path_length=0)
    tls = Authority("acme2certifier's TLS")
    ca_file = folder / "tls-ca.pem"
    ca_file.write_bytes(tls.pem)
    certificate, key = write_pair(folder, tls.issue("localhost", "127.0.0.1"), "tls")
    (folder / "issuer.pem").write_bytes(issuer.pem)
    form = serialization.PrivateFormat.PKCS8
    (folder / "issuer.key").write_bytes(
        issuer.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    (folder / "issued").mkdir()
    crl = folder / "issuer.crl"
    host, _, dns_port = resolver.rpartition(":")
    handler: dict[str, object] = {
        "handler_module": "acme2certifier.cahandlers.openssl_ca_handler",
        "issuing_ca_key": folder / "issuer.key",
        "issuing_ca_cert": folder / "issuer.pem",
        "issuing_ca_crl": crl,
        "cert_save_path": folder / "issued",
        "cert_validity_days": days,
    }
    checked: dict[str, object] = {
        "challenge_validation_disable": not resolver,
        "dns_validation_pause_timer": 1,
    }
    if resolver:
        checked["dns_server_list"] = json.dumps([host])
    span = {"renewal_window_duration": int(window.total_seconds())} if window else {}
    order: dict[str, object] = {
        "retry_after_timeout": 1,
        "identifier_limit": 100,
        "profiles_check_disable": False,
    }
    if profiles:
        order["profiles"] = json.dumps(dict(profiles))
    config = _config(
        folder,
        {
            "DEFAULT": {"debug": False},
            "CAhandler": handler,
            "DBhandler": {"handler": "wsgi", "dbfile": folder / "acme.db"},
            "Challenge": checked,
            "Account": {"contact_check_disable": True},
            "Order": order,
            "Certificate": {"retry_after": 1},
            "Renewalinfo": {
                "renewalthreshold_pctg": threshold,
                "renewal_force": renew_now,
                "retry_after_timeout": retry_after,
                "renewalinfo_disable": not ari,
                **span,
            },
        },
    )
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.lower().endswith("_proxy") and not k.startswith(("PYTHON", "ACME"))
    }
    environment |= {"ACME_SRV_CONFIGFILE": str(config)} | (
        {} if resolver else {"ACME2CERTIFIER_I_KNOW_THE_RISK": "1"}
    )
    with ExitStack() as stack:
        http_port = held_port(stack) if resolver else 0
        for attempt in range(TRIES):
            port = held_port(stack)
            path = folder / f"acme2certifier{attempt}.log"
            log = stack.enter_context(path.open("wb"))
            elsewhere = [str(http_port), dns_port] if resolver else []
            process = subprocess.Popen(
                [
                    str(program),
                    "-I",
                    str(HERE / "serve.py"),
                    "acme2certifier.share.acme2certifier_wsgi:application",
                    str(port),
                    str(certificate),
                    str(key),
                    *elsewhere,
                ],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=folder,
            )
            stack.callback(stop, process)
            made = Acme2certifier(
                f"https://127.0.0.1:{port}/directory",
                ca_file,
                root.pem.decode(),
                http_port,
                path,
                crl,
            )
            try:
                wait_for(port, process)
                with session(ca_file) as http:
                    assert "newOrder" in http.get(made.directory, timeout=PATIENCE).json()
            except (AssertionError, OSError):
                if attempt + 1 < TRIES and "Address already in use" in path.read_text():
                    continue
                raise AssertionError(
                    f"acme2certifier does not answer: {path.read_text()[-3000:]}"
                ) from None
            yield made
            return
