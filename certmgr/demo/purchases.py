"""The demonstration of a purchase for three years, and of the case of one installation.

The client first sends a wrong certificate. At the end the right one is verified live.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.cases import agreement, installation, intake, new_case, signing_requests
from certmgr.cases.service import CaseService
from certmgr.cli.output import table
from certmgr.config.context import Context
from certmgr.config.settings import CasesSettings
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.demo.servers import Server, server_context, tls
from certmgr.purchases.load import lead_times, load
from certmgr.purchases.terms import plan, term_of
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.store import cases, domains, endpoints, purchase_changes
from inventory.targets import Target

CLIENT, HOST = "1002", "shop.hotel-seeblick.test"


def show_purchase(context: Context) -> None:
    """Add a purchase for three years, and print the certificates that its term needs."""
    now = context.now()
    with context.write() as tx:
        domains.add(tx, HOST, {"client": CLIENT, "server": "web1"})
        values = {
            "vendor": "Some vendor",
            "number": "SV-4711",
            # No certificate lives that long, which the following table shows.
            "years": 3,
            "starts_at": now,
            "price": "180",
            "fee": "40",
            "currency": "EUR",
        }
        purchase_changes.add(tx, CLIENT, values, [HOST])
    with context.read() as conn:
        (bought,) = load(conn)
    click.echo(
        f"Purchase {bought.label} of client {CLIENT} for {HOST}: {bought.starts:%Y-%m-%d} to"
        f" {bought.ends:%Y-%m-%d}"
    )
    rows = [
        (str(p.number), f"{p.issue:%Y-%m-%d}", f"{p.not_after:%Y-%m-%d}", "yes" if p.dcv else "no")
        for p in plan(term_of(bought), now, lead_times(context.settings).reissue)
    ]
    table(["CERTIFICATE", "ISSUE ON", "VALID UNTIL", "DOMAIN VALIDATION AGAIN"], rows)


def show_case(context: Context, root: Authority, folder: Path) -> Server:
    """Run the case of the first certificate, from the request to the verification.

    Returns:
        The server that serves the certificate. The caller closes it.
    """
    # The vendor is another CA than that of the sites, but below the same root.
    vendor = Authority("Demo Issuing CA 3", root, organisation="certmgr demo", path_length=0)
    now = context.now()
    settings = replace(context.settings, cases=CasesSettings(keys=str(folder / "keys")))
    service = CaseService(replace(context, settings=settings))
    reference = new_case.open_case(
        service, CLIENT, [], new_case.CaseOptions(order="SV-4711"), text="the purchase was placed"
    ).reference
    # The key stays here, and only the CSR leaves the machine: that is the point of this case.
    (csr,) = signing_requests.make_csr(service, reference)
    signing_requests.send_csr(service, reference)
    review = intake.receive(service, reference, _upload(vendor.issue(HOST)))
    click.echo(
        "The client sends a certificate for another key, and can forward this to the vendor:"
    )
    for sentence in intake.message_sentences(review.messages, refusing=True):
        click.echo(f"  {sentence}")
    # The same key as in the CSR. It is valid from an hour ago, as CAs date certificates back.
    issued = vendor.issue(
        HOST, key=x509.load_pem_x509_csr(csr.encode()), not_before=now - timedelta(hours=1)
    )
    intake.receive(service, reference, _upload(issued))
    agreement.approve(service, reference, f"Owner of client {CLIENT}", "telephone")
    server = Server(
        tls(
            server_context(
                replace(issued, key=service.keys.load(service.keys.path(reference, "ec-p256")))
            )
        )
    )
    with context.write() as tx:
        endpoints.edit(tx, Target(HOST), {"port": server.port, "addresses": ["127.0.0.1"]})
    installation.mark_installed(service, reference, "immediately, as the client requested")
    row, verification = installation.verify_case(service, reference)
    click.echo(
        f"Installed and checked: {verification.sentence}. The events of {reference}, now"
        f" '{row.state}':"
    )
    with context.read() as conn:
        table(
            ["STEP", "TEXT"],
            [(e.action, e.text) for e in cases.events(conn, row.id)],
        )
    return server


def _upload(issued: IssuedCertificate) -> VendorUpload:
    return VendorUpload(tuple(parse(c.public_bytes(Encoding.DER)) for c in issued.chain))
