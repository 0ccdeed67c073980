"""Rows of a client in every table that knows clients, and what is left of them."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, insert, select, update

from inventory.db.database import Tx
from inventory.models import (
    Incident,
    IncidentItem,
    PageObservation,
    Proposal,
    StoredPurchase,
    ZoneView,
)
from inventory.models.schema import metadata
from inventory.store import (
    acme_orders,
    case_changes,
    contacts,
    deadlines,
    decisions,
    deployments,
    domains,
    endpoints,
    findings,
    inbox,
    issuances,
    lineages,
    purchase_changes,
    revocation,
    runs,
    snoozes,
    zones,
)
from inventory.store.zones import ScopeValue
from inventory.targets import Target
from inventory.vocabulary import OrderState, RateEventKind, SnoozeScope, ZoneScopeKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    DIRECTORY,
    LATER,
    NOW,
    add_account,
    add_certificate,
    add_client,
    add_finding,
    add_lineage,
    add_notice,
    add_ticket,
    domain_id,
    endpoint_id,
    fingerprint,
    intend,
    open_case,
    serve,
)

Dump = dict[str, set[tuple[Any, ...]]]


def dump(conn: Connection) -> Dump:
    """Table name -> all its rows."""
    return {
        t.name: {tuple(_hashable(v) for v in r) for r in conn.execute(select(t))}
        for t in metadata.sorted_tables
    }


def _hashable(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def behind(after: Dump, before: Dump) -> Dump:
    """The rows of ``after`` that were not there before, of the tables that have any."""
    return {name: new for name, found in after.items() if (new := found - before[name])}


def add_shared(tx: Tx) -> dict[str, int]:
    """What belongs to the provider: staff, an account, a run, an incident, a CA certificate."""
    values = {
        "reference": "IN-1",
        "kind": "serials",
        "what": "",
        "until": 0,
        "reason": "",
        "by": "",
    }
    made = tx.conn.execute(insert(Incident).values(**values, opened_at=AT)).inserted_primary_key
    assert made is not None
    add_certificate(tx, "issuer", is_ca=True)
    return {
        "staff": contacts.add(tx, None, {"name": "Eve"}, ("eve@provider.example",)),
        "account": add_account(tx),
        "run": runs.start(tx, "", 1),
        "incident": int(made[0]),
    }


def add_everything(tx: Tx, word: str, shared: dict[str, int]) -> None:
    """A client with rows in every table that can speak of one; ``word`` is in all its texts.

    Tags are the provider's words, and stand in the audit log as they are.
    """
    site, given = f"{word}.example", {"account_manager": word, "note": word}
    owner = add_client(tx, word, site, tags=("vip",), **given)
    domains.add(tx, f"bücher.{site}", {"client": word, "note": word}, ("vip",))
    endpoints.add(tx, Target(f"mail.{site}", 993, "tls"), tags=("vip",))
    domains.add(tx, f"old.{site}", {"client": word})
    domains.retire(tx, f"old.{site}")
    deputy = contacts.add(tx, word, {"name": f"{word} deputy"}, (f"deputy@{site}",))
    person = {"name": f"{word} owner", "fallback": str(deputy)}
    ada = contacts.add(tx, word, person, (f"ada@{site}", "phone:+49 30 1"))
    home, shop = domain_id(tx.conn, site), endpoint_id(tx.conn, site)
    leaf = add_certificate(tx, f"{word} leaf", site)
    serve(tx, shop, leaf, issuers=[fingerprint("issuer")])
    _seen(tx, word, shop, shared["run"])
    scopes: tuple[dict[str, Any], ...]
    scopes = ({"client_id": owner}, {"domain_id": home}, {"endpoint_id": shop})
    for scope in scopes:
        findings.accept(tx, "x", frozenset({"x"}), LATER, word, by=word, **scope)
    _conversation(tx, word, owner, ada, home, shop)
    texts = {"at": LATER, "rule": "r", "title": word, "text": word}
    steps = dict.fromkeys(deadlines.LEADS, 1)
    deadlines.add(tx, word, texts | steps, ("r",), for_clients=[word], tags=[])
    _purchases(tx, word, owner, ada, leaf, shared["incident"])
    _automation(tx, word, shared["account"])


def _seen(tx: Tx, word: str, shop: int, run_id: int) -> None:
    add_finding(tx, shop, evidence=f'{{"name": "{word}"}}')
    span = {"endpoint_id": shop, "first_seen": AT, "last_seen": AT, "open": 1}
    tx.conn.execute(insert(PageObservation).values(**span, digest="d", document={"title": word}))
    proposed = {"run_id": run_id, "endpoint_id": shop, "changes": {"title": word}}
    tx.conn.execute(insert(Proposal).values(proposed))
    values = {"status": "good", "reason": None, "revoked_at": None, "source": word, "detail": None}
    text = {"code": word, "severity": "high", "actor": "staff", "addresses": [], "evidence": {}}
    view = {"endpoint_id": shop, "zone": "fra1", "run_id": run_id, "at": AT, "good": 0}
    tx.conn.execute(insert(ZoneView).values(**view, error=word, findings=[text]))
    zones.assign(tx, "default", ScopeValue(ZoneScopeKind.CLIENT, word))
    answer = {"sha256": fingerprint(f"{word} leaf"), **values}
    revocation.write_statuses(tx, [answer | {"checked_at": AT, "next_at": AT}])


def _conversation(tx: Tx, word: str, owner: int, ada: int, home: int, shop: int) -> None:
    about = {"endpoint_id": shop, "domain_id": home, "cause": word, "acked_by": word}
    topic = add_ticket(tx, owner, f"fault:{shop}:{owner}", **about)
    for scope, scope_id in (
        (SnoozeScope.TICKET, topic),
        (SnoozeScope.DOMAIN, home),
        (SnoozeScope.CLIENT, owner),
    ):
        snoozes.add(tx, scope, scope_id, AT, AT + DAY, word, word)
    texts: dict[str, Any] = dict.fromkeys(("subject", "text", "html", "sent_to", "error"), word)
    texts["calendar"] = (word,)
    sent = add_notice(tx, owner, ada, topic, state="sent", sent_at=AT, **texts)
    add_notice(tx, owner, ada, topic, state="queued", **texts)
    mail = {"message_id": f"<{sent}@mail>", "kind": "reply", "notice_id": sent, "contact_id": ada}
    inbox.add(tx, mail | {"text": word})
    keys = {"subject": f"fault:{shop}:{owner}", "threshold": "30", "round": "", "action": "send"}
    decisions.record(tx, [keys | {"client_id": owner, "contact_id": ada, "reason": word}])


def _purchases(tx: Tx, word: str, owner: int, ada: int, leaf: str, incident_id: int) -> None:
    given = {"vendor": "DigiCert", "contact": str(ada), "note": word, "years": 1, "starts_at": NOW}
    site = (f"{word}.example",)
    first, second = (
        purchase_changes.add(tx, word, given | {"number": f"{word} {i}"}, site)[0] for i in "12"
    )
    tx.conn.execute(
        update(StoredPurchase).where(StoredPurchase.id == first).values(successor_id=second)
    )
    row = open_case(tx, owner, f"{word}.example", order_id=first, contact_id=ada, reason=word)
    row = case_changes.change(tx, row, "note", {"approved_by": word}, word)
    asked = issuances.NewIssuance(case_id=row.id, key_type="ec-p256", csr=word)
    issuances.record_received(tx, issuances.add(tx, asked), leaf, ())
    late = add_certificate(tx, f"{word} late")
    issuances.add(tx, issuances.NewIssuance(order_id=second, sha256=late, key_reference=word))
    item = {"incident_id": incident_id, "serial": "01", "sha256": leaf, "client_id": owner}
    item |= {"names": word, "sort": "client", "case_id": row.id}
    tx.conn.execute(insert(IncidentItem).values(item))


def _automation(tx: Tx, word: str, account_id: int) -> None:
    names = (f"{word}.example", f"*.{word}.example")
    lineage_id = add_lineage(tx, word, word, account_id, *names, csr=word, targets=word)
    new = add_certificate(tx, f"{word} new", *names)
    given = {"names": " ".join(names), "csr": word, "url": f"https://ca.example/{word}"}
    placed = intend(tx, lineage_id, account_id, **given)
    acme_orders.end(tx, placed, OrderState.DONE, sha256=new)
    lineages.note(tx, lineage_id, sha256=new, error=word)
    deployments.schedule(tx, lineage_id, new, [word])
    counted = [(f"{word}.example", None), (f"mail.{word}.example", None)]
    acme_orders.count(tx, account_id, RateEventKind.CERTIFICATE, counted)
    for scope in (f"{word}.example", f"domain:{word}.example", f"old.{word}.example"):
        acme_orders.back_off(tx, DIRECTORY, scope, 1, AT + DAY, word)


def many_orders(tx: Tx, client_id: int, number: int) -> tuple[int, int]:
    """Orders in one statement. Returns the smallest and the largest of their ids."""
    product = {"vendor": "DigiCert", "validation": "dv", "kind": "single", "years": 1}
    term = {"starts_at": AT, "ends_at": AT + DAY, "bought_by": "us", "created_at": AT}
    tx.conn.execute(insert(StoredPurchase), [{"client_id": client_id, **product, **term}] * number)
    ids = list(
        tx.conn.scalars(select(StoredPurchase.id).where(StoredPurchase.client_id == client_id))
    )
    return min(ids), max(ids)
