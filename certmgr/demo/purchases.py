"""An order of three years, and one installation of it from request to proof: what comes back wrong
first, and what is live in the end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases import intake
from certmgr.cases.service import CaseService
from certmgr.cli.output import table
from certmgr.config.settings import CasesSettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context, tls
from certmgr.purchases.load import leads_of, load
from certmgr.purchases.terms import plan, term_of
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.store import cases, domains, endpoints, purchases
from inventory.targets import Target

CLIENT, HOST = "1002", "shop.hotel-seeblick.test"


def order(database: Database, settings: Settings, now: datetime) -> None:
    """What was bought for three years, and the certificates that it will take under the rules that
    are known.
    """
    with database.write(now) as tx:
        domains.add(tx, HOST, {"client": CLIENT, "server": "web1"})
        given = {
            "vendor": "Some vendor",
            "number": "SV-4711",
            "years": 3,
            "starts_at": now,
            "price": "180",
            "fee": "40",
            "currency": "EUR",
        }
        purchases.add(tx, CLIENT, given, [HOST])
    with database.read() as conn:
        (bought,) = load(conn)
    click.echo(
        f"Order {bought.label} of client {CLIENT} for {HOST}: {bought.starts:%Y-%m-%d} to"
        f" {bought.ends:%Y-%m-%d}"
    )
    rows = [
        (str(p.number), f"{p.issue:%Y-%m-%d}", f"{p.not_after:%Y-%m-%d}", "yes" if p.dcv else "no")
        for p in plan(term_of(bought), now, leads_of(settings).reissue)
    ]
    table(["CERTIFICATE", "ISSUE ON", "LIVES UNTIL", "DOMAIN VALIDATION AGAIN"], rows)


def lead(
    database: Database, settings: Settings, root: Authority, folder: Path, now: datetime
) -> Server:
    """The case of its first certificate. Returns the server that shows it."""
    vendor = Authority("Demo Issuing CA 3", root, organisation="certmgr demo", path_length=0)
    desk = CaseService(
        database, replace(settings, cases=CasesSettings(keys=str(folder / "keys"))), now
    )
    reference = desk.open(CLIENT, [], {"order": "SV-4711"}, text="the order was placed")[
        "reference"
    ]
    (csr,) = intake.make_csr(desk, reference)
    intake.send(desk, reference)
    wrong = intake.receive(desk, reference, _material(vendor.issue(HOST)))
    click.echo(
        "The client sends a certificate for another key, and can forward this to the vendor:"
    )
    for sentence in intake.sentences(wrong.said, refusing=True):
        click.echo(f"  {sentence}")
    good = vendor.issue(
        HOST, key=x509.load_pem_x509_csr(csr.encode()), not_before=now - timedelta(hours=1)
    )
    intake.receive(desk, reference, _material(good))
    desk.approve(reference, f"Owner of client {CLIENT}", "telephone")
    server = Server(
        tls(server_context(replace(good, key=desk.keys.load(desk.keys.path(reference, "ec-p256")))))
    )
    with database.write(now) as tx:
        endpoints.edit(tx, Target(HOST), {"port": server.port, "addresses": ["127.0.0.1"]})
    desk.installed(reference, "at once, as the client wished")
    row, proof = desk.verify(reference)
    click.echo(
        f"Installed, and looked at: {proof.sentence}. The story of {reference}, now"
        f" '{row['state']}':"
    )
    with database.read() as conn:
        table(
            ["STEP", "WHAT WAS SAID"],
            [(e["action"], e["text"]) for e in cases.events(conn, row["id"])],
        )
    return server


def _material(issued: IssuedCertificate) -> VendorUpload:
    return VendorUpload(tuple(parse(c.public_bytes(Encoding.DER)) for c in issued.chain))
