"""Inventories with random facts: every output counts the same names and findings."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from certmgr.checks.folding import parent_of
from inventory import finding_codes
from inventory.db.database import Tx
from inventory.models import PageObservation, StoredFinding
from inventory.store import (
    certificates,
    clients,
    domains,
    editing,
    endpoints,
    findings,
    runs,
    scan_results,
    servers,
)
from inventory.store.finding_columns import columns_of
from inventory.targets import Target
from inventory.vocabulary import ZONE_DIFFERENCE, Actor, Finding, FindingDecision, Severity
from tests import program
from tests.campaign import SOAK, Campaign
from tests.certmgr.scenes.numbers import faulty_names
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store import builders, scan_rows
from tests.program import Ran

DAY = 86_400
CODES = frozenset(finding_codes.CODES)
CLIENTS = [str(1001 + n) for n in range(4)]
NAMES = 40
FOOTER = re.compile(r"(\d+) finding\(s\)(?: and (\d+) remark\(s\))?")
# Two findings that the action for another one resolves too, and two that count by their date.
FOLDED = ("http-served", "redirect-missing", "name-mismatch", "default-certificate")
PARTIES = ("us", "client", "panel", "cdn", None)


class World:
    """An inventory whose records, findings and decisions are chosen by a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / f"{seed}.db"
        self.choice = random.Random(seed)
        # One per code: the endpoints of a cause count with the worst of them.
        self.severities = {
            code: facts.severity
            if self.choice.random() < 0.8
            else self.choice.choice(tuple(Severity))
            for code, facts in finding_codes.CODES.items()
        }
        database = open_sqlite(self.path)
        with database.write(clock()) as tx:
            self._records(tx)
            self._scan(tx)
            self._decide(tx)
        database.close()

    def run(self, *arguments: str, expect: int | None = 0) -> Ran:
        done = program.run(("--database", str(self.path), *arguments), clock)
        assert expect is None or done.code == expect, (arguments, done.out, done.err)
        return done

    def _records(self, tx: Tx) -> None:
        pick = self.choice
        for name in ("web1", "web2"):
            servers.add(tx, {"name": name, "addresses": ["192.0.2.1"], "hosts": "us"})
        for number in CLIENTS:
            parties = {p: pick.choice(PARTIES) for p in ("hosts", "dns", "buys", "renews")}
            known = {p: by for p, by in parties.items() if by not in ("panel", "cdn")}
            clients.add(tx, {"number": number, "name": f"Client {number}", **known})
        for n in range(NAMES):
            host = f"www{n}.example"
            values: dict[str, Any] = {"client": pick.choice(CLIENTS)}
            if pick.random() < 0.5:
                values["server"] = pick.choice(("web1", "web2"))
            if pick.random() < 0.3:
                values["renews"] = pick.choice(("us", "client", "panel", "cdn"))
            domains.add(tx, host, values)
            if pick.random() < 0.1:
                row = domains.find(tx.conn, host)
                editing.change_tags(tx, "domain", row.id, ["auto-renewed"])
            if pick.random() < 0.1:
                endpoints.add(tx, Target(host, 8443))

    def _scan(self, tx: Tx) -> None:
        pick, spans = self.choice, {}
        found: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        leaves: list[dict[str, Any]] = []
        pages: list[dict[str, Any]] = []
        active = endpoints.listing(tx.conn)
        run_id = runs.start(tx, "", len(active))
        for endpoint in active:
            # Some endpoints were added after the last scan.
            if pick.random() < 0.05:
                continue
            days = pick.choice((-9, -1, 2, 6, 12, 25, 40, 80))
            end = tx.at + days * DAY + 3600
            label = f"{endpoint.host}:{endpoint.port}"
            if pick.random() < 0.3 and leaves:
                leaf, end = leaves[-1], leaves[-1]["not_after"]
            else:
                leaf = scan_rows.certificate_row(
                    label, endpoint.host, not_before=end - 90 * DAY, not_after=end
                )
                leaves.append(leaf)
            state = {"last_run_id": run_id, "leaf": leaf["sha256"], "not_after": end}
            rows.append(scan_rows.status_row(endpoint.id, tx.at, **state))
            spans[endpoint.id] = {"192.0.2.1": scan_rows.facts(tx.at, str(leaf["sha256"]))}
            seen = {"first_seen": tx.at, "last_seen": tx.at, "open": 1, "digest": "x"}
            pages.append(seen | {"document": '{"visits": []}', "endpoint_id": endpoint.id})
            for finding in self._findings(end - tx.at):
                columns = columns_of(finding) | {"endpoint_id": endpoint.id}
                opened = tx.at - pick.randrange(20) * DAY
                found.append(columns | {"opened_at": opened, "opened_run": run_id})
        certificates.add(tx, leaves)
        scan_results.write_endpoint_status(tx, rows)
        scan_results.write_observations(tx, spans)
        tx.conn.execute(insert(StoredFinding), found)
        tx.conn.execute(insert(PageObservation), pages)
        runs.finish(tx, run_id, "complete", None, len(active), 0)

    def _findings(self, left: int) -> list[Finding]:
        pick = self.choice
        wanted: dict[str, Severity] = {}
        if left < 0:
            wanted["certificate-expired"] = Severity.CRITICAL
        elif left < 30 * DAY:
            near = left < 7 * DAY
            wanted["certificate-expiring"] = Severity.HIGH if near else Severity.MEDIUM
        # What only some zones see is left out of reports until staff know what it is.
        dated = {"certificate-expired", "certificate-expiring", ZONE_DIFFERENCE}
        for _ in range(pick.choice((0, 0, 1, 2, 3))):
            pool = FOLDED if pick.random() < 0.5 else sorted(CODES - dated)
            code = pick.choice(pool)
            wanted[code] = self.severities[code]
        actors = tuple(Actor)
        return [Finding(c, s, ("192.0.2.1",), {}, pick.choice(actors)) for c, s in wanted.items()]

    def _decide(self, tx: Tx) -> None:
        """Accept and assign findings in each scope, and retire some records."""
        pick = self.choice
        listed = [endpoint.host for endpoint in endpoints.listing(tx.conn)]
        for _ in range(8):
            scope: Mapping[str, Any] = pick.choice(
                (
                    {"client_id": clients.find(tx.conn, pick.choice(CLIENTS)).id},
                    {"domain_id": domains.find(tx.conn, pick.choice(listed)).id},
                )
            )
            kind = pick.choice((FindingDecision.ACCEPT, FindingDecision.ASSIGN))
            until = clock() + timedelta(days=pick.choice((1, 30)))
            code = pick.choice((*FOLDED, "certificate-expired", "certificate-expiring"))
            findings.accept(tx, code, CODES, until, "agreed", kind=kind, by="Ada", **scope)
        for host in pick.sample(sorted(set(listed)), 4):
            domains.retire(tx, host)
        account = builders.add_account(tx)
        name = next(d.name for d in domains.listing(tx.conn))
        row = domains.find(tx.conn, name)
        number = next(c.number for c in clients.listing(tx.conn) if c.id == row.client_id)
        builders.add_lineage(tx, "renewed", number, account, name)


def _numbers(text: str) -> int:
    """Return the findings and remarks together, as a table ends with them."""
    (found,) = FOOTER.findall(text)
    return sum(int(n or 0) for n in found)


def _counting(listed: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of findings by code, without those that another action resolves too."""
    at: dict[str, dict[str, str]] = {}
    for finding in listed:
        at.setdefault(finding["target"], {})[finding["code"]] = finding["severity"]
    return Counter(
        code
        for known in at.values()
        for code, severity in known.items()
        if severity != "info" and not parent_of(code, known.keys())
    )


def _agree(world: World) -> None:
    everything = world.run("status", "--all", "--format", "json", expect=None).json
    summary = everything["summary"]
    verdicts = Counter(e["verdict"] for e in everything["endpoints"])
    assert dict(verdicts) == {k: v for k, v in summary.items() if v and k != "endpoints"}
    counts = faulty_names(world, CLIENTS)
    # A report is about names, and the others about endpoints.
    counts.pop("reports")
    assert set(counts.values()) == {summary["fault"]}, counts
    causes = world.run("status", "--causes", "--format", "json", expect=None).json["causes"]
    metrics = world.run("metrics", expect=None).out
    measured: Counter[str] = Counter()
    for code, number in re.findall(r'^certmgr_findings\{code="([^"]+)".*\} (\d+)', metrics, re.M):
        measured[code] += int(number)
    listed = world.run("finding", "list", "--format", "json").json["findings"]
    opened = _counting(f for f in listed if f["state"] == "open")
    assert measured == opened
    # A server that is down is one cause, whatever each of its endpoints has.
    assert sum(len(c["targets"]) for c in causes) == opened.total()
    for options in ((), ("--all",), ("--causes",)):
        assert _numbers(world.run("status", *options, expect=None).out) == opened.total()
    page = world.run("dashboard", expect=None).out
    tiles = re.findall(r'<li class="tile ([a-z]+)"><strong>([\d,.]+)<', page)
    assert {state: int(n) for state, n in tiles if n != "0"} == verdicts
    plugin = world.run("check", expect=None).out
    for verdict in ("fault", "attention", "unknown", "ok"):
        assert f'certmgr_endpoints{{verdict="{verdict}"}} {summary[verdict]}.0' in metrics
        assert f"{verdict}={summary[verdict]};" in plugin
    _reports_agree(world, everything["endpoints"])


def _reports_agree(world: World, rows: list[dict[str, Any]]) -> None:
    """Compare the reports, whose sites have the worst verdict of their endpoints."""
    order = ("fault", "unknown", "attention", "ok")
    worst: dict[str, str] = {}
    for row in rows:
        host, verdict = row["target"].partition(":")[0], row["verdict"]
        worst[host] = min(worst.get(host, "ok"), verdict, key=order.index)
    reported: dict[str, str] = {}
    for number in CLIENTS:
        report = world.run("report", "--client", number, "--format", "json", expect=None).json
        # A site stands for each port of a name that has another result.
        for site in report["sites"]:
            name, state = site["name"], site["state"]
            reported[name] = min(reported.get(name, "ok"), state, key=order.index)
    # A report calls no site well if a dated rule could not be checked there.
    cautious = {n for n, state in reported.items() if (worst[n], state) == ("ok", "unknown")}
    assert reported | dict.fromkeys(cautious, "ok") == worst


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(40 if SOAK else 2))
def test_outputs_agree_about_an_inventory_with_random_facts(
    seed: int, tmp_path: Path, campaign: Campaign
) -> None:
    campaign.report("endpoints of a random inventory", NAMES)
    _agree(World(tmp_path, seed))
