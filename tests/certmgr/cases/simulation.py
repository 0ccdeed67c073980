"""An inventory with its mail server and the CA of a vendor, in which whole cases run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from icalendar import Calendar

from certmgr.cases import agreement, installation, intake, signing_requests
from certmgr.cases.check import UploadReview
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.notices.run import run_of
from certmgr.x509.upload import unpack
from inventory.store import purchase_changes
from inventory.vocabulary import VerificationState
from notifiers.channels import Channel
from notifiers.delivery import DeliveryWorker
from notifiers.pipeline.send_address import address_of
from tests.certmgr.cases.place import CaseEnvironment, Machine, issue
from tests.servers.mail import MailServer, Received

DAY = timedelta(days=1)
DIGEST = re.compile(r"^\[certmgr\] .*\(\d{4}-\d\d-\d\d\)$")


@dataclass(slots=True)
class CaseSimulation:
    """The inventory with its mail server and the CA of the vendor."""

    env: CaseEnvironment
    mail: MailServer
    vendor: Authority
    read: int = 0

    def notify(self) -> list[Received]:
        """Run notices now. Return what the mail server received, without digests."""
        env = self.env
        run_of(env.context).decide()
        worker = DeliveryWorker(
            env.database,
            {"mail": Channel("mail", self.mail.url)},
            address_of(env.database, "mail"),
            lambda: env.now,
            rate=0,
        )
        counts = worker.run()
        assert counts.failed == counts.unknown == 0
        new, self.read = self.mail.received[self.read :], len(self.mail.received)
        return [r for r in new if not DIGEST.match(r.subject)]

    def only(self, to: str) -> Received:
        """Run notices, and return the one mail to this address."""
        (mail,) = [r for r in self.notify() if r.to == to]
        return mail

    def nothing(self, to: str) -> None:
        """Run notices, and require that none is sent to this address."""
        assert [r.subject for r in self.notify() if r.to == to] == []

    def csr(self, reference: str) -> str:
        (pem,) = signing_requests.make_csr(self.env.service, reference)
        assert self.env.row(reference).state == "csr-ready"
        signing_requests.send_csr(self.env.service, reference)
        return pem

    def receive(self, reference: str, *files: bytes, password: str = "") -> UploadReview:
        return intake.receive(self.env.service, reference, unpack(list(files), password))

    def purchase(self, client: str, *names: str, **given: Any) -> int:
        purchase = {"vendor": "DigiCert", "number": f"D-{client}", "currency": "EUR", "fee": "25"}
        with self.env.database.write(self.env.now) as tx:
            return purchase_changes.add(tx, client, {**purchase, **given}, names)[0]

    def complete(self, reference: str, machine: Machine, life: int) -> IssuedCertificate:
        """Run a case from its CSR until it is closed, without a check of the mails."""
        env = self.env
        csr, lifetime = self.csr(reference), timedelta(days=life)
        issued = issue(self.vendor, csr, start=env.now, life=lifetime)
        review = self.receive(reference, issued.chain_pem)
        assert not review.refused, review.messages
        agreement.approve(env.service, reference, "Ada", "telephone")
        agreement.agree_window(env.service, reference, (env.now + DAY).strftime("%Y-%m-%dT10:00"))
        env.pass_(days=1)
        machine.show(issued, env.key(reference))
        installation.mark_installed(env.service, reference)
        row, verification = installation.verify_case(env.service, reference)
        assert (verification.state, row.state) == (VerificationState.LIVE, "closed"), verification
        return issued


def invitations(mail: Received) -> list[tuple[str, int, datetime, str]]:
    """Return (method, sequence, begin, UID) of each calendar entry of a mail."""
    found = []
    for part in mail.mail.walk():
        if part.get_content_type() == "text/calendar":
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            parsed = Calendar.from_ical(data)
            events: list[Any] = list(parsed.walk("VEVENT"))
            (event,) = events
            method, sequence = str(parsed["METHOD"]), int(str(event["SEQUENCE"]))
            # Without this parameter, mail programs show a file and offer no answer (RFC 6047 2.4).
            assert part.get_param("method") == method
            found.append((method, sequence, event["DTSTART"].dt, str(event["UID"])))
    return found


def changes(mail: Received) -> list[tuple[str, int]]:
    return [(method, sequence) for method, sequence, _, _ in invitations(mail)]
