"""Two clients of a provider who share what such clients share, and the work of a day for both."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID
from hypothesis import strategies as st

from certmgr.cases import agreement, intake, signing_requests
from certmgr.cases.new_case import CaseOptions, open_case
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.loading import load
from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.db.database import Database
from inventory.store import (
    accounts,
    clients,
    contacts,
    deadlines,
    domains,
    endpoints,
    lineages,
    purchase_changes,
    servers,
)
from inventory.targets import Target
from tests.campaign import SOAK, UNREACHED
from tests.certmgr.cases.place import issue, vendor_upload
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.clock import START
from tests.program import Ran, run

DAY = timedelta(days=1)
_STEP_DAYS = ("purchase_days", "validation_days", "installation_days")
# JSON has all values, so a short run needs no other format. A world of a soak has one of them.
FORMS = ("json", "table", "csv") if SOAK else ("json",)
REPORTS = ("html", "csv", "table", "badge", "as-of") if SOAK else ("html",)
LANGUAGES = ("de", "en") if SOAK else ("de",)
_LABELS = ("shop", "www", "mail", "a", "b", "deep.shop")
_SHARED = ("platform.test", "hoster.example", "co-op.test")


def mark(number: str) -> str:
    """Return what is in every text that is only this client's."""
    return f"only{number}x"


@dataclass(frozen=True)
class World:
    """What the clients "1" and "2" have.

    Attributes:
        names: Their sites.
        shown: For each client, the names in the certificate of its sites: "own", "other" or "all".
        days: For each client, the days until the end of that certificate.
        resold: The clients that belong to the reseller "9".
        one_server: Whether their sites are on one server.
        same_certificate: Whether both have the same certificate.
        languages: The languages of their contacts.
        renews: Who renews.
        moved: A site that client 1 gives to client 2 after its case and notices; None if there is
            none.
        incident: Whether an incident makes both replace their certificates.
        form: The format of lists and pages.
        report: The kind of report in addition to JSON.
        language: The language of reports and diagnoses.
    """

    names: dict[str, list[str]]
    shown: dict[str, str]
    days: dict[str, int]
    resold: frozenset[str]
    one_server: bool
    same_certificate: bool
    languages: dict[str, str]
    renews: str
    moved: str | None
    incident: bool
    form: str = "json"
    report: str = "html"
    language: str = "de"


@st.composite
def worlds(draw: st.DrawFn, part: int) -> World:
    """Draw a world.

    Args:
        draw: What draws.
        part: The part of a campaign. Hypothesis begins with the first choice of each kind: each
            part has another order of choices, so that no two begin with the same world.
    """
    order = random.Random(part)

    def one_of(choices: Sequence[Any]) -> st.SearchStrategy[Any]:
        return st.sampled_from(order.sample(choices, len(choices)))

    label, shared = one_of(_LABELS), one_of((None, *_SHARED))
    shown, days = one_of(("own", "other", "all", "all")), one_of((-2, 3, 12, 80))
    language = one_of(("en", "de"))

    def names(number: str) -> list[str]:
        found = draw(st.lists(st.tuples(label, shared), min_size=1, max_size=3, unique=True))
        return [f"{label}.{mark(number)}.{shared or 'test'}" for label, shared in found]

    def each(choice: st.SearchStrategy[Any]) -> dict[str, Any]:
        return {number: draw(choice) for number in ("1", "2")}

    moved = draw(shared)
    return World(
        names={number: names(number) for number in ("1", "2")},
        shown=each(shown),
        days=each(days),
        resold=frozenset(draw(one_of(("", "1", "12")))),
        one_server=draw(one_of((True, False))),
        same_certificate=draw(one_of((True, False))),
        languages=each(language),
        renews=draw(one_of(("us", "client"))),
        moved=moved and f"moved.{moved}",
        # Nearly always, so that a short run has it too.
        incident=draw(one_of((True, True, True, False))),
        form=draw(one_of(FORMS)),
        report=draw(one_of(REPORTS)),
        language=draw(one_of(LANGUAGES)),
    )


@dataclass
class Provider:
    """An inventory of a world, and the command line that works with it."""

    world: World
    folder: Path
    issuer: Authority
    database: Database
    resolver: str
    ports: dict[str, int] = field(default_factory=dict)

    def configure(self, root: Authority) -> None:
        (self.folder / "root.pem").write_bytes(root.pem)
        (self.folder / "c.toml").write_text(f"""
[provider]
name = "Example Hosting"
[trust]
ca_files = ["{self.folder / "root.pem"}"]
[network]
allow = ["127.0.0.0/8"]
[scan]
per_address = 0
rate = 0.0
timeout = {UNREACHED}
resolvers = ["{self.resolver}"]
[http]
enabled = false
[notify]
mail = "mailtos://user:secret@mail.example?from=tls@provider.example"
confirm_above = 100
[cases]
keys = "{self.folder / "keys"}"
""")

    def call(
        self, *arguments: str, codes: tuple[int, ...] = (0, 1), input: bytes | None = None
    ) -> Ran:
        options = ("--config", str(self.folder / "c.toml"), "--database", str(self.database.path))
        done = run((*options, *arguments), lambda: START, input=input)
        assert done.code in codes, (arguments, done.err, done.out)
        return done

    def fill(self, stack: Stack) -> None:
        """Add the records, and start the servers of the sites."""
        world = self.world
        self.ports = self._serve(stack)
        with self.database.write(START) as tx:
            contacts.add(tx, None, {"name": "Eve", "role": "administrator"}, ("email:eve@p.test",))
            clients.add(tx, {"number": "9", "name": f"{mark('9')} reseller"})
            contacts.add(tx, "9", {"name": mark("9")}, (f"email:{mark('9')}@mail.test",))
            account = accounts.add(
                tx,
                {
                    "name": "lab",
                    "ca": "lab",
                    "directory": "https://ca.test/d",
                    "contacts": (),
                    "key_reference": "x",
                },
            )
            for number, found in world.names.items():
                self._add_client(tx, number)
                values = {"account_id": account, "key_type": "ec-p256", "solver": "web"}
                lineages.add(tx, f"{mark(number)}-lineage", number, found, values)
            if world.moved is not None:
                self._add_site(tx, "1", world.moved, {})
                bought = {"vendor": f"{mark('1')} vendor", "number": f"{mark('1')}-78"}
                ends = {"ends_at": START + 20 * DAY, "starts_at": START - 345 * DAY}
                purchase_changes.add(tx, "1", bought | ends, [world.moved])

    def _add_site(self, tx: Any, number: str, name: str, domain: dict[str, Any]) -> None:
        domains.add(tx, name, {"client": number} | domain, ("shared",))
        port = self.ports[number]
        endpoints.edit(tx, Target(name), {"port": port, "addresses": ["127.0.0.1"]})

    def _serve(self, stack: Stack) -> dict[str, int]:
        world = self.world
        ports: dict[str, int] = {}
        everything = [n for found in world.names.values() for n in found]

        def certificate(number: str) -> IssuedCertificate:
            other = "2" if number == "1" else "1"
            shown = {"own": world.names[number], "other": world.names[other], "all": everything}
            end = START + world.days[number] * DAY
            names = list(shown[world.shown[number]])
            # Names that the inventory does not have: below a known one, and next to it.
            names += [f"www.{n}" for n in names] + [f"new.{n.split('.', 1)[1]}" for n in names]
            names = list(dict.fromkeys(names))
            return self.issuer.issue(*names, not_before=START - 60 * DAY, not_after=end)

        for number in ("1", "2"):
            if number == "2" and world.same_certificate:
                ports["2"] = ports["1"]
            else:
                ports[number] = serve_certificate(stack, certificate(number))
        return ports

    def _add_client(self, tx: Any, number: str) -> None:
        world, own = self.world, mark(number)
        reseller = {"reseller": "9"} if number in world.resold else {}
        client = {"number": number, "name": f"{own} name", "note": f"{own} note", **reseller}
        clients.add(tx, client | {"hosts": "us", "renews": world.renews}, (f"{own}-tag", "shared"))
        for role in ("owner", "technical", "billing"):
            who = {"name": f"{own} {role}", "role": role, "language": world.languages[number]}
            contacts.add(tx, number, who, (f"email:{role}@{own}.mail.test",))
        server = "shared" if world.one_server else f"{own}-server"
        if not world.one_server or number == "1":
            servers.add(tx, {"name": server, "note": "" if world.one_server else own})
        for name in world.names[number]:
            self._add_site(tx, number, name, {"server": server, "note": f"{own} note"})
        purchase = {"vendor": f"{own} vendor", "number": f"{own}-77", "note": f"{own} note"}
        ends = {"ends_at": START + 20 * DAY, "starts_at": START - 345 * DAY}
        purchase_changes.add(tx, number, purchase | ends, world.names[number])
        texts = {"title": f"{own} deadline", "text": f"{own} text", "rule": "https-only"}
        deadlines.add(
            tx,
            f"{own}-deadline",
            {"at": START + 30 * DAY, **texts} | dict.fromkeys(_STEP_DAYS, 7),
            ("https-only",),
            for_clients=(number,),
            tags=(),
        )

    def work(self) -> None:
        """Scan, open cases, record decisions, and compose all messages."""
        self.call("scan", codes=(0, 1, 3))
        service = CaseService(
            Context(self.database, load(str(self.folder / "c.toml"), {}), lambda: START)
        )
        sites = list(self.world.names.items())
        if self.world.moved is not None:
            sites.append(("1", [self.world.moved]))
        accepted = ("finding", "accept", "sct-missing", "--until", "2027-01-01")
        for number, found in sites:
            row = open_case(service, number, found[:1], CaseOptions())
            begin = "2026-11-27T10:00"
            (pem,) = signing_requests.make_csr(service, row.reference)
            signing_requests.send_csr(service, row.reference)
            issued = vendor_upload(issue(self.issuer, pem, start=START))
            review = intake.receive(service, row.reference, issued)
            assert not review.refused, review.messages
            agreement.agree_window(service, row.reference, begin, text=mark(number))
            self.call("case", "note", row.reference, f"{mark(number)} note")
            given = ("--client", number, "--reason", mark(number))
            self.call(*accepted, *given, codes=(0, 2, 3))
        if self.world.incident:
            self._open_incident()
        self.call("notice", "broadcast", "--deadline", f"{mark('1')}-deadline", codes=(0, 2, 3))
        for _ in range(2):
            self.call("notify", "--queue-only", codes=(0, 3))
            for row in self.call("notice", "release", "--format", "json").json["held"]:
                self.call("notice", "release", row["cause"], codes=(0, 2, 3))
        if self.world.moved is not None:
            self.call("domain", "edit", self.world.moved, "--client", "2")
            self.call("scan", codes=(0, 1, 3))
            self.call("notify", "--queue-only", codes=(0, 3))

    def _open_incident(self) -> None:
        """Open an incident about the certificates of both clients."""
        (common_name,) = self.issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        until, reason = "2026-11-27T12:00", "the CA revokes its certificates"
        given = ("--until", until, "--reason", reason)
        self.call("incident", "open", "--issuer", str(common_name.value), *given)
