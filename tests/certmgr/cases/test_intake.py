"""CSRs and uploads: their owners, issuers that are fetched, and purchases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from certmgr.cases import intake, new_case, signing_requests
from certmgr.cases.service import CaseService
from certmgr.demo.authority import Authority
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.errors import Conflict
from inventory.store import purchase_changes, purchases
from tests.certmgr.cases.place import HOST, OTHER_HOST, CaseEnvironment, issue, vendor_upload

DAY = timedelta(days=1)


def test_certificate_of_another_client_is_refused_and_leaves_no_trace(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    (csr,) = signing_requests.make_csr(env.service, reference)
    signing_requests.send_csr(env.service, reference)
    before = env.row(reference), env.events(reference)
    wrong = issue(issuer, csr, OTHER_HOST, start=env.now)
    with pytest.raises(Conflict, match="client 1002"):
        intake.receive(env.service, reference, vendor_upload(wrong))
    assert (env.row(reference), env.events(reference)) == before


@contextmanager
def http(content: bytes) -> Iterator[tuple[str, list[str]]]:
    """A web server that answers each request with ``content``: its URL, and the paths requested."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requested
        finally:
            server.shutdown()
            thread.join()


def test_missing_issuer_is_fetched_only_if_the_configuration_allows_it(
    env: CaseEnvironment, root: Authority
) -> None:
    """The vendor did not send the chain; its AIA URL has it."""
    ca = Authority("Far Issuer", root, path_length=0)
    with http(ca.der) as (server, requested):
        url = x509.UniformResourceIdentifier(f"{server}/ca.der")
        kind = AuthorityInformationAccessOID.CA_ISSUERS
        aia = x509.AuthorityInformationAccess([x509.AccessDescription(kind, url)])
        reference = new_case.open_case(env.service, "1001", [HOST]).reference
        (pem,) = signing_requests.make_csr(env.service, reference)
        signing_requests.send_csr(env.service, reference)
        issued = issue(ca, pem, start=env.now, extensions=((aia, False),))
        alone = VendorUpload((parse(issued.der),))
        assert intake.preview_upload(env.service, reference, alone).refused
        assert requested == []
        trust = replace(env.settings.trust, fetch_issuers=True)
        fetching = replace(env.settings, trust=trust)
        assert intake.preview_upload(
            CaseService(replace(env.context, settings=fetching)), reference, alone
        ).refused
        assert requested == [], "an internal address is refused"
        network = replace(fetching.network, allow=("127.0.0.0/8",))
        allowed = CaseService(replace(env.context, settings=replace(fetching, network=network)))
        review = intake.preview_upload(allowed, reference, alone)
        assert not review.refused, review.messages
        assert requested == ["/ca.der"]


def test_renewal_continues_under_the_next_purchase(env: CaseEnvironment, issuer: Authority) -> None:
    term = {"starts_at": env.now - 360 * DAY, "ends_at": env.now + 20 * DAY}
    with env.database.write(env.now) as tx:
        purchase_changes.add(tx, "1001", {"vendor": "V", "number": "1", **term}, [HOST])
    given = new_case.CaseOptions(order="1", kind="renewal")
    reference = new_case.open_case(env.service, "1001", [], given).reference
    (pem,) = signing_requests.make_csr(env.service, reference)
    signing_requests.send_csr(env.service, reference)
    with env.database.write(env.now) as tx:
        new_id = purchase_changes.renew(tx, "1", {"number": "2"})
    assert env.row(reference).order_id == new_id
    issued = issue(issuer, pem, start=env.now)
    intake.receive(env.service, reference, vendor_upload(issued))
    with env.database.read() as conn:
        assert [len(o.issued) for o in purchases.listing(conn, ids=[new_id])] == [1]
