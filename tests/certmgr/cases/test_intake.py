"""CSRs and what comes back for them: whose they are, issuers that are fetched, and orders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from certmgr.cases import intake
from certmgr.demo.authority import Authority
from certmgr.x509.csr import make
from certmgr.x509.upload import VendorUpload
from inventory.certificates import parse
from inventory.errors import Conflict
from inventory.store import purchases
from tests.certmgr.cases.place import HOST, OTHER_HOST, Place, issue, material

DAY = timedelta(days=1)


# -- CSRs ----------------------------------------------------------------------------------------


def test_csr_that_we_made_is_refused_as_the_clients(place: Place) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    (csr,) = intake.make_csr(place.desk, reference)
    with pytest.raises(Conflict, match="made ourselves"):
        intake.take_csr(place.desk, reference, csr.encode())


def test_csr_of_the_client_is_taken_and_a_weak_one_is_not(
    place: Place, weak_key: rsa.RSAPrivateKey
) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    theirs = make(ec.generate_private_key(ec.SECP256R1()), [HOST])
    intake.take_csr(place.desk, reference, theirs)
    assert place.row(reference)["own_csr"]
    assert intake.take_csr(place.desk, reference, make(weak_key, [HOST])).problems
    assert place.events(reference).count("csr") == 1


# -- what comes back -----------------------------------------------------------------------------


def test_certificate_of_another_client_is_refused_and_leaves_no_trace(
    place: Place, issuer: Authority
) -> None:
    reference = place.desk.open("1001", [HOST])["reference"]
    (csr,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    before = place.row(reference), place.events(reference)
    wrong = issue(issuer, csr, OTHER_HOST, start=place.now)
    with pytest.raises(Conflict, match="client 1002"):
        intake.receive(place.desk, reference, material(wrong))
    assert (place.row(reference), place.events(reference)) == before


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
    place: Place, root: Authority
) -> None:
    """The vendor forgot the chain; its AIA URL has it."""
    ca = Authority("Far Issuer", root, path_length=0)
    with http(ca.der) as (server, requested):
        url = x509.UniformResourceIdentifier(f"{server}/ca.der")
        kind = AuthorityInformationAccessOID.CA_ISSUERS
        aia = x509.AuthorityInformationAccess([x509.AccessDescription(kind, url)])
        reference = place.desk.open("1001", [HOST])["reference"]
        (pem,) = intake.make_csr(place.desk, reference)
        intake.send(place.desk, reference)
        issued = issue(ca, pem, start=place.now, extensions=((aia, False),))
        alone = VendorUpload((parse(issued.der),))
        assert intake.judge_only(place.desk, reference, alone).refused
        assert requested == []
        trust = replace(place.settings.trust, fetch_issuers=True)
        fetching = replace(place.settings, trust=trust)
        assert intake.judge_only(replace(place.desk, settings=fetching), reference, alone).refused
        assert requested == [], "an internal address is refused"
        network = replace(fetching.network, allow=("127.0.0.0/8",))
        allowed = replace(place.desk, settings=replace(fetching, network=network))
        verdict = intake.judge_only(allowed, reference, alone)
        assert not verdict.refused, verdict.said
        assert requested == ["/ca.der"]


def test_renewal_goes_on_under_the_order_that_follows(place: Place, issuer: Authority) -> None:
    term = {"starts_at": place.now - 360 * DAY, "ends_at": place.now + 20 * DAY}
    with place.database.write(place.now) as tx:
        purchases.add(tx, "1001", {"vendor": "V", "number": "1", **term}, [HOST])
    given = {"order": "1", "kind": "renewal"}
    reference = place.desk.open("1001", [], given)["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    with place.database.write(place.now) as tx:
        new_id = purchases.renew(tx, "1", {"number": "2"})
    assert place.row(reference)["order_id"] == new_id
    issued = issue(issuer, pem, start=place.now)
    intake.receive(place.desk, reference, material(issued))
    with place.database.read() as conn:
        assert [len(o["issued"]) for o in purchases.listing(conn, ids=[new_id])] == [1]
