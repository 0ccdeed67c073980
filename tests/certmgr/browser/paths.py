"""Situations of alternative paths: issuers of one name, only some of which are good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.certmgr.browser import der
from tests.certmgr.browser.pki import (
    CLIENT_AUTH,
    ROOT,
    Ca,
    Leaf,
    Trust,
    authority_key,
    ca,
    days,
    leaf,
    rsa_root,
    trusts,
)
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("paths")
_ORDINARY = frozenset({"bad-first-constrained", "anchor-in-the-middle", "candidates-12"})


def _add(name: str, build: Callable[[str], Leaf | Trusted]) -> None:
    GROUP.add(name, build, relative=name not in _ORDINARY)


# What is wrong with one of two certificates of an intermediate
_X = der.extension("1.3.6.1.4.1.99999.1", der.NULL, True)
FAULTS: dict[str, Mapping[str, Any]] = {
    "expired": {"end": days(-3)},
    "not-yet-valid": {"begin": days(3)},
    "sha1": {"digest": "sha1"},
    "constrained": {"extensions": {"x": der.name_constraints(["example.com"])}},
    "excluded": {"extensions": {"x": der.name_constraints([], ["paths.test"])}},
    "for-clients": {"extensions": {"eku": der.extended_key_usage(CLIENT_AUTH)}},
    "no-ca": {"extensions": {"basic": der.basic_constraints(False)}},
    "without-basic-constraints": {"extensions": {"basic": None}},
    "without-signing": {"extensions": {"usage": der.key_usage(0)}},
    "critical": {"extensions": {"x": _X}},
    "wrong-signature": {"signature_value": bytes(256)},
    "requires-policy": {"extensions": {"x": der.require_policy()}},
    "version-1": {"version": None, "extensions": dict.fromkeys(("basic", "usage", "ski", "aki"))},
    "version-9": {"version": 9},
    "malformed-san": {"extensions": {"x": der.extension("2.5.29.17", b"\x30\5")}},
    "without-key-identifiers": {"extensions": {"ski": None, "aki": None}},
    "another-key-identifier": {"extensions": {"ski": der.extension("2.5.29.14", b"\x04\x04abcd")}},
    "authority-of-another": {"extensions": {"aki": authority_key(ROOT.public)}},
}


def _two(fault: str, order: str, host: str) -> Trusted:
    """An intermediate with two certificates of one key."""
    name = f"Two certificates, {fault} {order}"
    good = ca(name, rsa_root())
    bad = ca(name, rsa_root(), **FAULTS[fault])
    sent = {"bad-first": (bad, good), "good-first": (good, bad), "bad-only": (bad,)}[order]
    return Trusted(leaf(host, issuer=good).sent_with(*(c.der for c in sent)), trusts(rsa_root()))


for _fault in FAULTS:
    for _order in ("bad-first", "good-first", "bad-only"):
        _add(f"{_order}-{_fault}", partial(_two, _fault, _order))


# Cross-signatures of roots
def _cross(name: str, host: str, **fields: Any) -> tuple[Leaf, Ca, Ca]:
    """Return a leaf below a new root, which an old root has certified, and both roots."""
    old, new = ca(f"Old root {name}", **fields), ca(f"New root {name}")
    cross = ca(f"New root {name}", old, kind=f"p256 New root {name}")
    issuer = ca(f"Issuer of new root {name}", new)
    return leaf(host, issuer=issuer).sent_with(issuer.der, cross.der), old, new


def _trusting(name: str, which: str, fields: Mapping[str, Any], host: str) -> Trusted:
    made, old, new = _cross(name, host, **fields)
    return Trusted(
        made, trusts(*{"old": [old], "new": [new], "both": [old, new], "none": []}[which])
    )


for _which in ("old", "new", "both", "none"):
    _add(f"cross-signed-trusting-{_which}", partial(_trusting, f"a {_which}", _which, {}))
    _add(
        f"cross-signed-by-expired-trusting-{_which}",
        partial(_trusting, f"b {_which}", _which, {"end": days(-5)}),
    )
_OTHER_DOMAIN = {"extensions": {"x": der.name_constraints(["example.com"])}}
for _which in ("old", "both"):
    _add(
        f"cross-signed-by-constrained-trusting-{_which}",
        partial(_trusting, f"c {_which}", _which, _OTHER_DOMAIN),
    )


# Anchors
def _middle(host: str) -> Trusted:
    """An intermediate is the anchor, and its root is unknown."""
    anchor = ca("Anchor in the middle", ca("Root above an anchor"))
    issuer = ca("Issuer below an anchor", anchor)
    return Trusted(leaf(host, issuer=issuer), [Trust(anchor.der)])


def _middle_direct(fields: Mapping[str, Any], host: str) -> Trusted:
    title = " ".join(map(str, fields)) or "plain"
    anchor = ca(f"Direct anchor {title}", ca(f"Root above a direct anchor {title}"), **fields)
    return Trusted(leaf(host, issuer=anchor), [Trust(anchor.der)])


def _middle_not_sent(host: str) -> Trusted:
    anchor = ca("Anchor that is not sent", ca("Root above an anchor that is not sent"))
    return Trusted(leaf(host, issuer=anchor).sent_with(), [Trust(anchor.der)])


def _root_of_same_name(host: str) -> Trusted:
    """Two roots have one name and different keys; both are anchors."""
    first = ca("Roots of one name", kind="p256 first of one name")
    second = ca("Roots of one name", kind="p256 second of one name")
    return Trusted(leaf(host, issuer=second), trusts(first, second))


def _root_of_same_name_without_key_id(host: str) -> Trusted:
    first = ca("Roots without key", kind="p256 first without key")
    second = ca("Roots without key", kind="p256 second without key")
    return Trusted(leaf(host, issuer=second, extensions={"aki": None}), trusts(first, second))


def _root_of_same_name_unknown(host: str) -> Trusted:
    known = ca("Roots of one name, one known", kind="p256 known")
    unknown = ca("Roots of one name, one known", kind="p256 unknown")
    return Trusted(leaf(host, issuer=unknown), trusts(known))


def _leaf_is_anchor(host: str) -> Trusted:
    """The leaf itself, which a CA has issued, is trusted."""
    made = leaf(host, issuer=ca("Unknown CA of a trusted leaf"))
    return Trusted(made, [Trust(made.chain[0], "P,,")])


def _rollover(order: str, host: str) -> Trusted:
    """A root signed its new key, which it has under the same name (RFC 4210 4.4)."""
    old = ca(f"Rollover {order}", kind="p256 old")
    new = ca(f"Rollover {order}", kind="p256 new")
    new_by_old = ca(f"Rollover {order}", old, kind="p256 new")
    made = leaf(host, issuer=new)
    return Trusted(
        made.sent_with(new_by_old.der),
        trusts(*{"old": [old], "new": [new], "both": [new, old]}[order]),
    )


_add("anchor-in-the-middle", _middle)
_add("anchor-in-the-middle-direct", partial(_middle_direct, {}))
_add("anchor-in-the-middle-expired", partial(_middle_direct, {"end": days(-3)}))
_add("anchor-in-the-middle-not-yet-valid", partial(_middle_direct, {"begin": days(3)}))
_add("anchor-in-the-middle-sha1", partial(_middle_direct, {"digest": "sha1"}))
_add("anchor-in-the-middle-of-serial-zero", partial(_middle_direct, {"serial": 0}))
_add("anchor-not-sent", _middle_not_sent)
_add("anchors-of-one-name", _root_of_same_name)
_add("anchors-of-one-name-without-key-identifier", _root_of_same_name_without_key_id)
_add("anchors-of-one-name-one-unknown", _root_of_same_name_unknown)
_add("anchor-is-leaf-as-server", _leaf_is_anchor)
for _order in ("old", "new", "both"):
    _add(f"rollover-trusting-{_order}", partial(_rollover, _order))


# Many candidates for one issuer
def _candidates(count: int, host: str) -> Leaf:
    name = f"One of {count} candidates"
    good = ca(name, ROOT, kind="p256 good candidate")
    others = [ca(name, ROOT, kind=f"p256 candidate {n}") for n in range(count - 1)]
    made = leaf(host, issuer=good, extensions={"aki": None})
    return made.sent_with(*(c.der for c in others), good.der)


def _ladder(height: int, host: str) -> Leaf:
    """Each CA of a chain has two certificates, one by an unknown key of the same name."""
    above, sent = ROOT, list[bytes]()
    for level in range(height):
        name = f"Ladder {level} of {height}"
        wrong = Ca(above.name, above.der, ca(f"wrong {name}").key, above.parent)
        sent = [ca(name, wrong, kind=f"p256 {name}").der, *sent]
        above = ca(name, above, kind=f"p256 {name}")
        sent = [sent[0], above.der, *sent[1:]]
    return leaf(host, issuer=above).sent_with(*sent)


def _candidates_above(count: int, host: str) -> Leaf:
    """The right one is the second level of a chain."""
    name = f"One of {count} candidates above"
    good = ca(name, ROOT, kind="p256 good candidate above")
    others = [ca(name, ROOT, kind=f"p256 candidate above {n}") for n in range(count - 1)]
    lower = ca(f"Below {count} candidates", good, extensions={"aki": None})
    return leaf(host, issuer=lower).sent_with(lower.der, *(c.der for c in others), good.der)


def _candidates_with_key(count: int, host: str) -> Leaf:
    """The leaf names the key of its issuer, which so is the first candidate."""
    name = f"One of {count} candidates with key"
    good = ca(name, ROOT, kind="p256 good candidate with key")
    others = [ca(name, ROOT, kind=f"p256 candidate with key {n}") for n in range(count - 1)]
    return leaf(host, issuer=good).sent_with(*(c.der for c in others), good.der)


def _candidates_older(count: int, host: str) -> Leaf:
    """The certificate that began last is the first candidate, and the right one."""
    name = f"One of {count} older candidates"
    good = ca(name, ROOT, kind="p256 good candidate of later date", begin=days(-2))
    others = [
        ca(name, ROOT, kind=f"p256 older candidate {n}", begin=days(-9)) for n in range(count - 1)
    ]
    made = leaf(host, issuer=good, extensions={"aki": None})
    return made.sent_with(*(c.der for c in others), good.der)


def _candidates_expired(count: int, host: str) -> Leaf:
    """An issuer has many certificates of one key, and all but the oldest have expired."""
    name = f"One of {count} expired candidates"
    made = [
        ca(name, ROOT, kind=f"p256 {name}", begin=days(-80 + n), end=days(n - 60 if n else 60))
        for n in range(count)
    ]
    return leaf(host, issuer=made[0]).sent_with(*(c.der for c in made))


def _deep(height: int, host: str) -> Leaf:
    above = ROOT
    for level in range(height):
        above = ca(f"Level {level} of {height}", above)
    return leaf(host, issuer=above)


for _count in (3, 6, 7, 8, 12):
    _add(f"candidates-{_count}", partial(_candidates, _count))
for _count in (6, 7, 12):
    _add(f"candidates-above-{_count}", partial(_candidates_above, _count))
_add("candidates-with-key-12", partial(_candidates_with_key, 12))
_add("candidates-older-12", partial(_candidates_older, 12))
_add("candidates-expired-12", partial(_candidates_expired, 12))
for _count in (2, 3, 4):
    _add(f"ladder-{_count}", partial(_ladder, _count))
for _count in (8, 12, 19, 20, 24):
    _add(f"levels-{_count}", partial(_deep, _count))


# Circles
def _circle(host: str) -> Trusted:
    """Two CAs have signed each other, and one of them is an anchor."""
    first, second = ca("Circle A"), ca("Circle B")
    first_by_second = ca("Circle A", second, kind="p256 Circle A")
    second_by_first = ca("Circle B", first, kind="p256 Circle B")
    made = leaf(host, issuer=first)
    return Trusted(made.sent_with(first_by_second.der, second_by_first.der), trusts(second))


def _circle_unknown(host: str) -> Leaf:
    first, second = ca("Circle C"), ca("Circle D")
    first_by_second = ca("Circle C", second, kind="p256 Circle C")
    second_by_first = ca("Circle D", first, kind="p256 Circle D")
    return leaf(host, issuer=first).sent_with(first_by_second.der, second_by_first.der)


def _self_issued(path_length: int, host: str) -> Leaf:
    """A self-issued certificate does not count for the path length (RFC 5280 4.2.1.9)."""
    old = ca(
        f"Self-issued {path_length}",
        ROOT,
        extensions={"basic": der.basic_constraints(True, path_length)},
    )
    new = ca(f"Self-issued {path_length}", old, kind="p256 self-issued")
    return leaf(host, issuer=new)


_add("circle", _circle)
_add("circle-unknown", _circle_unknown)
_add("self-issued-path-length-0", partial(_self_issued, 0))
_add("self-issued-path-length-1", partial(_self_issued, 1))
