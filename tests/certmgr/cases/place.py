"""A small inventory for tests of cases: clients, and servers that present certificates."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from certmgr.cases import installation, intake, new_case, signing_requests
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.settings import CasesSettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.inspection.report import certificate_row
from certmgr.inspection.verification import Observation
from certmgr.inspection.zone_checks import Prober
from certmgr.x509.upload import VendorUpload
from inventory.certificates import Certificate, parse
from inventory.db.database import Database, to_epoch
from inventory.models import Endpoint
from inventory.records import CaseRecord
from inventory.store import (
    cases,
    clients,
    contacts,
    domains,
    endpoints,
    lineages,
    proposals,
    purchase_changes,
    runs,
    scan_results,
)
from inventory.store import certificates as stored_certificates
from inventory.store.proposals import ProposedChanges
from inventory.store.scan_results import CacheKeys
from inventory.targets import Target
from tests.clock import clock
from tests.inventory.store.builders import add_account, add_lineage
from tests.inventory.store.scan_rows import add_leaf
from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program, write_pair

START = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday
HOST = "shop.example.com"
SECOND_HOST = "www.shop.example.com"
OTHER_HOST = "other.example.org"  # of the other client


class PublicKey:
    """A public key in the role of a key pair, for a CA that has only a CSR."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def public_key(self) -> Any:
        return self._key


def issue(
    authority: Authority,
    csr: str,
    *names: str,
    start: datetime | None = None,
    life: timedelta = timedelta(days=190),
    **given: Any,
) -> IssuedCertificate:
    """Issue a certificate for a CSR. ``names``: replace those of the CSR."""
    request = x509.load_pem_x509_csr(csr.encode())
    names_in_it = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    begin = start or clock().replace(microsecond=0) - timedelta(hours=1)
    return authority.issue(
        *(names or names_in_it.get_values_for_type(x509.DNSName)),
        key=PublicKey(request.public_key()),
        not_before=begin,
        not_after=begin + life - timedelta(seconds=1),
        **given,
    )


def certificates(issued: IssuedCertificate) -> tuple[Certificate, ...]:
    return tuple(parse(c.public_bytes(Encoding.DER)) for c in issued.chain)


def vendor_upload(issued: IssuedCertificate) -> VendorUpload:
    """Return the chain as an upload of a vendor."""
    return VendorUpload(certificates(issued))


def sha256(issued: IssuedCertificate) -> str:
    return parse(issued.der).sha256


def serve(
    database: Database,
    host: str,
    issued: IssuedCertificate,
    now: datetime,
    addresses: Sequence[str] = ("192.0.2.1",),
    findings: Sequence[Any] = (),
) -> None:
    """Store what a scan stores when it sees this certificate at these addresses."""
    leaf = parse(issued.der)
    with database.write(now) as tx:
        row_id = tx.conn.execute(select(Endpoint.id).where(Endpoint.host == host)).scalar()
        assert row_id is not None
        run_id = runs.start(tx, "", 1)
        stored_certificates.add(tx, [asdict(certificate_row(c)) for c in certificates(issued)])
        status = {
            "endpoint_id": row_id,
            "fingerprint": "",
            "memo": "",
            "recheck_at": None,
            "judged_at": tx.at,
            "last_run_id": run_id,
            "last_attempt": tx.at,
            "error_layer": None,
            "error_reason": None,
            "failing_since": None,
            "failing_runs": 0,
            "last_good": tx.at,
            "leaf": leaf.sha256,
            "not_after": to_epoch(leaf.not_after) if leaf.not_after else None,
            "issuer": leaf.issuer,
        }
        scan_results.write_endpoint_status(tx, [status])
        facts = {
            "at": tx.at,
            "chain": leaf.sha256,
            "leaf": leaf.sha256,
            "tls_version": "TLSv1.3",
            "cipher": "x",
            "group_name": "x",
            "alpn": "",
            "ocsp": None,
            "trusted": 1,
            "public": 1,
        }
        scan_results.write_observations(tx, {row_id: dict.fromkeys(addresses, facts)})
        if findings:
            change = ProposedChanges(at=tx.at, opened=tuple(findings))
            proposals.propose(tx, run_id, [(CacheKeys(row_id, "f", "", None), change)])
            proposals.apply_proposals(tx, run_id)
        runs.finish(tx, run_id, "complete", None, 1, 0)


def prober_showing(leaf: str | None, *addresses: str) -> Prober:
    """Return a prober of servers that present this EC leaf, or none, at these addresses."""

    def probe(_settings: Any, targets: Any, _overrides: Any) -> list[Observation]:
        return [
            Observation(t.target.host, t.target.port, address, key, leaf if key == "EC" else None)
            for t in targets
            for address in addresses or ("192.0.2.1",)
            for key in ("EC", "RSA")
        ]

    return probe


class Machine:
    """An nginx that serves one site at several loopback addresses on one port.

    A restart changes the certificate of each address.
    """

    def __init__(self, folder: Path, name: str, addresses: Sequence[str]) -> None:
        self.folder, self.name, self.addresses = folder, name, addresses
        self.port = free_port(addresses[0])
        self.pairs: dict[str, tuple[Path, Path]] = {}
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def show(self, issued: IssuedCertificate, key: Any, *addresses: str) -> None:
        """Present a certificate at these addresses, or at all. Return when it is served."""
        digest = sha256(issued)[:12]
        for address in addresses or self.addresses:
            pair = write_pair(self.folder / digest, replace(issued, key=key), "site")
            self.pairs[address] = pair
        blocks = "".join(
            f"server {{ listen {a}:{self.port} ssl; server_name {self.name}; ssl_certificate {c}; "
            f"ssl_certificate_key {k}; return 204; }}\n"
            for a, (c, k) in self.pairs.items()
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{k}_temp_path {self.folder}/{k};" for k in kinds)
        config, log = self.folder / "nginx.conf", self.folder / "error.log"
        config.write_text(
            f"daemon off; worker_processes 1; pid {self.folder}/pid; error_log {log};\n"
            "events { worker_connections 64; }\n"
            f"http {{ access_log off; {temporary}\n{blocks}}}\n"
        )
        command = [program("nginx", "nginx-light"), "-e", str(log), "-c", str(config)]
        self.close()  # after a reload the old worker would answer for a moment
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for address in self.pairs:
            wait_for(self.port, self.process, address)

    def close(self) -> None:
        if self.process is not None:
            stop(self.process)


@dataclass(slots=True)
class CaseEnvironment:
    """The inventory and its time ``now``, which tests advance."""

    database: Database
    settings: Settings
    folder: Path
    now: datetime = START
    servers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def context(self) -> Context:
        return Context(self.database, self.settings, lambda: self.now)

    @property
    def service(self) -> CaseService:
        return CaseService(self.context)

    def service_seeing(self, leaf: str | None, *addresses: str) -> CaseService:
        """Return the service with a prober of servers that present this leaf."""
        return replace(self.service, prober=prober_showing(leaf, *addresses))

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)

    def client(
        self,
        number: str,
        *names: str,
        zone: str = "Europe/Berlin",
        language: str | None = None,
        **given: Any,
    ) -> None:
        client = {"name": f"Client {number}", "buys": "client", "renews": "client", "hosts": "us"}
        owner = {"name": f"Owner {number}", "time_zone": zone}
        if language:
            owner["language"] = language
        with self.database.write(self.now) as tx:
            clients.add(tx, {"number": number, **client, **given})
            contacts.add(tx, number, owner, (f"email:owner@client{number}.example",))
            for name in names:
                domains.add(tx, name, {"client": number})

    def staff(self, name: str = "Bob", way: str = "email:bob@provider.example") -> None:
        with self.database.write(self.now) as tx:
            contacts.add(tx, None, {"name": name, "role": "administrator"}, (way,))

    def machine(self, host: str, addresses: Sequence[str] = ("127.0.0.1",)) -> Machine:
        """Start a server for a site of the inventory, and move its endpoint there."""
        machine = Machine(self.folder / host, host, addresses)
        self.servers.callback(machine.close)
        with self.database.write(self.now) as tx:
            endpoints.retire(tx, Target(host))
            endpoints.add(tx, Target(host, machine.port), addresses=tuple(addresses))
        return machine

    def ready(
        self,
        issuer: Authority,
        *names: str,
        client: str = "1001",
        life: int = 190,
        **given: Any,
    ) -> tuple[str, str]:
        """Open a case and receive its certificate. Return its reference and the leaf's SHA-256."""
        reference = new_case.open_case(
            self.service, client, names or [HOST], new_case.CaseOptions(**given)
        ).reference
        (pem,) = signing_requests.make_csr(self.service, reference)
        signing_requests.send_csr(self.service, reference)
        issued = issue(issuer, pem, start=self.now, life=timedelta(days=life))
        review = intake.receive(self.service, reference, vendor_upload(issued))
        assert not review.refused, review.messages
        return reference, sha256(issued)

    def closed(self, issuer: Authority, *names: str, **given: Any) -> tuple[str, str]:
        """As :meth:`ready`, then install the certificate and verify it."""
        reference, leaf = self.ready(issuer, *names, **given)
        installation.mark_installed(self.service, reference, "at once")
        row, _ = installation.verify_case(self.service_seeing(leaf), reference)
        assert row.state == "closed"
        return reference, leaf

    def key(self, reference: str, key_type: str = "ec-p256") -> Any:
        return self.service.keys.load(self.service.keys.path(reference, key_type))

    def row(self, reference: str) -> CaseRecord:
        with self.database.read() as conn:
            return cases.find(conn, reference)

    def events(self, reference: str) -> list[str]:
        with self.database.read() as conn:
            return [e.action for e in cases.events(conn, cases.find(conn, reference).id)]


def make_env(database: Database, settings: Settings, folder: Path) -> CaseEnvironment:
    """Return an empty inventory whose keys are in ``folder``."""
    with_keys = replace(settings, cases=CasesSettings(keys=str(folder / "keys")))
    return CaseEnvironment(database, with_keys, folder)


def add_purchase(
    env: CaseEnvironment,
    client: str,
    number: str,
    *names: str,
    begun: int | None = 300,
    left: int = 60,
) -> None:
    """Add a purchase with its begin and end in days from now. ``begun`` None: without dates."""
    dates = {}
    if begun is not None:
        dates = {
            "starts_at": env.now - begun * timedelta(days=1),
            "ends_at": env.now + left * timedelta(days=1),
        }
    with env.database.write(env.now) as tx:
        purchase_changes.add(tx, client, {"vendor": "V", "number": number, **dates}, names)


def with_lineage(env: CaseEnvironment, *names: str) -> int:
    """Add a lineage of client 1001 that has issued, whatever is recorded about its domains."""
    with env.database.write(env.now) as tx:
        account = add_account(tx)
        lineage = add_lineage(tx, "shop", "1001", account, *names)
        lineages.note(tx, lineage, sha256=add_leaf(tx, "of the lineage", *names))
    return lineage
