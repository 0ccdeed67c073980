"""Brings the newest certificate of a lineage to its targets, looks whether it is live, and takes it
back where it does harm. An edge.

Order of durability: the version is on disk and whole before the switch; each target's row says
``pending`` before the target is touched and ``done`` after it; ``deployed`` is written after the
switch. A death in between leaves the old or the new pair in use, and the next run delivers to the
same targets again, which changes nothing where it was done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from certmgr.acme import backoff
from certmgr.acme.context import IssuanceContext
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.rollback import OldVersion, RollbackAction, SwitchState, decide, switch_states
from certmgr.deploy.targets import TargetResult, deliver
from certmgr.inspection import live_check as looking
from certmgr.inspection.verification import Observation, Verification, VerificationState, verify
from certmgr.x509.bundle import CertificateBundle
from inventory.certificates import parse
from inventory.errors import Busy, CertmgrError
from inventory.store import cases, certificate_ends, domains, lineages
from inventory.store.records import Row

# Seconds between two looks. Most servers show the new certificate a moment after their reload.
LOOKS = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0)
KEPT = 5


@dataclass(frozen=True, slots=True)
class DeployResult:
    """``state``: live (seen everywhere), placed (put where it belongs, and nowhere to look), unseen
    (another one is served somewhere), untold (a look failed), failed (a target failed),
    rolled-back, staff (somebody has to look), nothing (there was nothing to do), busy.
    """

    lineage: str
    client: str
    state: str
    said: str
    failures: tuple[TargetResult, ...] = field(default=())

    @property
    def good(self) -> bool:
        return self.state in ("live", "placed", "nothing", "busy", "untold")


def deploy(
    office: IssuanceContext, lineage_id: int, *, again: bool = False, patience: float | None = None
) -> DeployResult:
    """``again``: also to targets that have it.

    ``patience``: seconds for the proof, None: as the configuration says. Raises nothing for what
    goes wrong at a target or in a look.
    """
    with office.database.read() as conn:
        row = lineages.by_id(conn, lineage_id)
    try:
        with office.alone(row["name"]):
            return _bring(
                office,
                row,
                again,
                office.settings.acme.proof_seconds if patience is None else patience,
            )
    except Busy as error:
        return DeployResult(row["name"], row["client"], "busy", str(error))
    except CertmgrError as error:
        return DeployResult(row["name"], row["client"], "failed", str(error))


def _bring(office: IssuanceContext, row: Row, again: bool, patience: float) -> DeployResult:
    folder = Lineage(office.base, row["name"])
    version = version_of(folder, row["sha256"]) if row["sha256"] else None
    if version is None and row["sha256"]:
        return DeployResult(
            row["name"],
            row["client"],
            "failed",
            "its certificate is not on disk yet: certmgr renew --due puts it there",
        )
    if version is None:
        return DeployResult(
            row["name"], row["client"], "nothing", "there is no certificate to bring"
        )
    if row["rolled_back"] == row["sha256"] and not again:
        return DeployResult(
            row["name"],
            row["client"],
            "staff",
            "it was taken back, since it did harm; somebody has to look (certmgr lineage show)",
        )
    material = folder.read(version)
    wanted = _wanted(office, row)
    old = folder.current()
    before: list[Observation] = []
    changes = row["deployed"] != row["sha256"] or old != version
    if changes and wanted:
        before = _looked(office, wanted)
    failures = _deliver(office, row, folder, version, material, again)
    if folder.current() == version and row["deployed"] != row["sha256"]:
        _note(office, row, deployed=row["sha256"])
    if failures and folder.current() != version:
        return DeployResult(row["name"], row["client"], "failed", _words(failures), tuple(failures))
    proof, after = _prove(office, wanted, material, patience)
    proven_at = office.at if proof.state is VerificationState.LIVE else None
    # Each run comes by a certificate that is served nowhere; it writes only what has changed.
    if (row["proof"], row["proven_at"]) != (proof.sentence[:1000], proven_at):
        _note(office, row, proof=proof.sentence[:1000], proven_at=proven_at)
    if (
        proof.state is not VerificationState.LIVE
        and wanted
        and changes
        and old is not None
        and old != version
    ):
        verdict = _harm(office, row, folder, old, before, after)
        if verdict is not None:
            return verdict
    live = proof.state is VerificationState.LIVE
    if live:
        folder.prune(KEPT)
    elif wanted and (behind := _behind_cdn(office, row, folder, version, before, after)):
        # Where some place shows ours the rest is the CDN's; where none does, nothing was seen, and
        # nothing is proved.
        live = any(x.sha256 == row["sha256"] for x in after)
        wanted = wanted if live else []
        said = f"{proof.sentence[:800]}; behind a CDN, where ours is never seen: {behind}"
        _note(office, row, proven_at=office.at if live else None, proof=said)
    if failures:
        return DeployResult(row["name"], row["client"], "failed", _words(failures), tuple(failures))
    state = (
        "live"
        if live
        else "placed"
        if not wanted
        else "untold"
        if proof.state is VerificationState.UNKNOWN
        else "unseen"
    )
    return DeployResult(
        row["name"],
        row["client"],
        state,
        proof.sentence if wanted else "in place; nowhere to be seen from here",
    )


def version_of(folder: Lineage, sha256: str) -> Version | None:
    """The newest version that holds this leaf."""
    found = [v for v in folder.versions() if v.digest == sha256[:12]]
    return found[-1] if found else None


def _note(office: IssuanceContext, row: Row, **values: object) -> None:
    with office.write() as tx:
        lineages.note(tx, row["id"], **values)


def _words(failures: Sequence[TargetResult]) -> str:
    return "; ".join(f"{d.target}: {d.what}" for d in failures)


# -- targets


def _deliver(
    office: IssuanceContext,
    row: Row,
    folder: Lineage,
    version: Version,
    material: CertificateBundle,
    again: bool,
) -> list[TargetResult]:
    """To every target that is due; one that fails does not stop the others.

    Targets that reload from the live directory come first: they hold the switch.
    """
    places = office.settings.acme.places
    targets = row["targets"].split()
    with office.write() as tx:
        lineages.to_deliver(tx, row["id"], row["sha256"], targets)
        if again:
            lineages.deliver_again(tx, row["id"], row["sha256"], targets)
        due = lineages.deliveries(tx.conn, lineage_id=row["id"], due=tx.at)
    if not any(places[t].kind == "reload" for t in targets if t in places):
        folder.switch(version)
    failures = []
    for job in sorted(
        due,
        key=lambda j: (j["target"] not in places or places[j["target"]].kind != "reload", j["id"]),
    ):
        word = job["target"]
        if word not in places:
            done = TargetResult(word, False, f"the configuration has no [acme.target.{word}]")
        else:
            office.step(f"deliver {word}")
            done = deliver(places[word], row["name"], material, office.base, label=word)
        _record(office, job, done)
        if not done.ok:
            failures.append(done)
    return failures


def _record(office: IssuanceContext, job: Row, done: TargetResult) -> None:
    with office.write() as tx:
        if done.ok:
            lineages.delivered(tx, job["id"])
        else:
            wait = backoff.retry(job["attempts"] + 1, office.draw())
            lineages.not_delivered(
                tx,
                job["id"],
                f"{done.what}{': ' + done.output[-300:] if done.output else ''}",
                tx.at + int(wait),
            )


# -- looks


def _wanted(office: IssuanceContext, row: Row) -> list[looking.LiveCheckTarget]:
    """Where it should be seen: the client's endpoints that the names of the newest certificate
    cover.
    """
    with office.database.read() as conn:
        endpoints = cases.places(conn, [row["client_id"]]).get(row["client_id"], [])
        ders = cases.chain_of(conn, [row["sha256"]])
    names = parse(ders[0]).names if ders else ()
    hosts = {r["host"] for r in endpoints}
    return [p for p in looking.places(names, endpoints) if p.target.host in hosts]


def _looked(
    office: IssuanceContext, wanted: Sequence[looking.LiveCheckTarget]
) -> list[Observation]:
    """One look at every place, for each kind of key."""
    return looking.check_live(office.settings, wanted)


def _own(sights: Sequence[Observation], material: CertificateBundle) -> list[Observation]:
    """Of the lineage's own key type: what is served beside it with another kind of key is another
    lineage's matter.
    """
    return [s for s in sights if s.key_type == material.leaf.key_type]


def _prove(
    office: IssuanceContext,
    wanted: Sequence[looking.LiveCheckTarget],
    material: CertificateBundle,
    patience: float,
) -> tuple[Verification, list[Observation]]:
    """Looks until it is seen everywhere, or its time is over."""
    expected = {material.leaf.key_type: material.sha256}
    sights: list[Observation] = []
    proof = verify(expected, sights)
    if not wanted:
        return proof, sights
    left, attempt = patience, 0
    while True:
        begun = time.monotonic()
        sights = _looked(office, wanted)
        left -= time.monotonic() - begun
        proof = verify(expected, _own(sights, material))
        if proof.state is VerificationState.LIVE or left <= 0:
            return proof, sights
        pause = min(LOOKS[min(attempt, len(LOOKS) - 1)], left)
        left, attempt = left - pause, attempt + 1
        office.wait(pause)


# -- harm


def _harm(
    office: IssuanceContext,
    row: Row,
    folder: Lineage,
    old: Version,
    before: Sequence[Observation],
    after: Sequence[Observation],
) -> DeployResult | None:
    """Takes the certificate back where harm is seen; None where it stays."""
    previous = folder.read(old)
    with office.database.read() as conn:
        revoked = lineages.revocation_of(conn, previous.sha256)
    ours_before = any(s.sha256 == previous.sha256 for s in before)
    known = OldVersion(
        previous.sha256,
        previous.leaf.not_after,
        revoked,
        previous.sha256 in row["compromised"].split(),
    )
    taken_back = row["rolled_back"] is not None and row["rolled_back"] == row["sha256"]
    verdict = decide(
        before, after, ours_before, known, taken_back, office.now(), new_sha256=row["sha256"]
    )
    if verdict.act is RollbackAction.KEEP or not office.settings.acme.roll_back:
        return None
    if verdict.act is RollbackAction.STAFF:
        return DeployResult(row["name"], row["client"], "staff", verdict.reason)
    # Written before the switch: after a death in between it is not deployed again, and somebody
    # looks.
    _note(office, row, rolled_back=row["sha256"], error=None)
    rollback(office, row, folder, old, previous)
    return DeployResult(
        row["name"],
        row["client"],
        "rolled-back",
        f"{verdict.reason}; the certificate before is in use again, and somebody has to look",
    )


def _behind_cdn(
    office: IssuanceContext,
    row: Row,
    folder: Lineage,
    version: Version,
    before: Sequence[Observation],
    after: Sequence[Observation],
) -> str:
    """The places behind a CDN, where all others are live; empty where some place is neither.

    Only what the inventory says lies behind one is taken to: a good certificate of somebody else's
    is otherwise just what was there before.
    """
    others = [v for v in folder.versions() if v != version]
    ours = {
        x
        for x in (folder.read(v).sha256 for v in others[-KEPT:])
        if any(y.sha256 == x for y in (*before, *after))
    }
    if ours:
        return ""  # it showed an older one of ours: that is not live yet, and no CDN
    places = switch_states(before, after, False, "", row["sha256"], office.now())
    elsewhere = {
        s.place for s in after if s.host in _cdn_hosts(office, row, {s.host for s in after})
    }
    if not all(
        p.standing is SwitchState.LIVE or (p.standing is SwitchState.CDN and p.where in elsewhere)
        for p in places
    ):
        return ""
    return ", ".join(p.where for p in places if p.standing is SwitchState.CDN)


def _cdn_hosts(office: IssuanceContext, row: Row, hosts: set[str]) -> set[str]:
    with office.database.read() as conn:
        ids = [
            e["id"]
            for e in cases.places(conn, [row["client_id"]]).get(row["client_id"], ())
            if e["host"] in hosts
        ]
        found = certificate_ends.places(conn, ids)
    return {p["host"] for p in found.values() if domains.parties_of_row(p).hosts == "cdn"}


def rollback(
    office: IssuanceContext, row: Row, folder: Lineage, old: Version, material: CertificateBundle
) -> list[TargetResult]:
    """Key and certificate of an older version, together, to every target."""
    places = office.settings.acme.places
    targets = [t for t in row["targets"].split() if t in places]
    if not any(places[t].kind == "reload" for t in targets):
        folder.switch(old)
    done = [deliver(places[t], row["name"], material, office.base, label=t) for t in targets]
    _note(office, row, deployed=material.sha256)
    return [d for d in done if not d.ok]
