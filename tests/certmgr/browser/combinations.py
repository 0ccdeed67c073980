"""Situations with two faults of a certificate: Chromium shows the error of one of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.certmgr.browser import der
from tests.certmgr.browser.pki import CLIENT_AUTH, ca, days, leaf, trusts
from tests.certmgr.browser.situations import Group, Trusted

GROUP = Group("combinations")

_X = der.extension("1.3.6.1.4.1.99999.1", der.NULL, True)
_OTHER = der.san("other.example.com")
# Fault -> the part of the chain that has it, and the fields of that part.
_FAULTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "expired": ("leaf", {"begin": days(-90), "end": days(-2)}),
    "not-yet-valid": ("leaf", {"begin": days(2), "end": days(90)}),
    "another-name": ("leaf", {"extensions": {"san": _OTHER}}),
    "common-name-only": ("leaf", {"extensions": {"san": None}}),
    "weak-key": ("leaf", {"kind": "rsa1024 leaf"}),
    "sha1": ("leaf", {"digest": "sha1"}),
    "key-usage": ("leaf", {"extensions": {"usage": der.key_usage(4)}}),
    "purpose": ("leaf", {"extensions": {"eku": der.extended_key_usage(CLIENT_AUTH)}}),
    "critical-extension": ("leaf", {"extensions": {"x": _X}}),
    "wrong-signature": ("leaf", {"signature_value": bytes(256)}),
    "malformed": ("leaf", {"extensions": {"x": der.extension("2.5.29.30", b"\x30\x05", True)}}),
    "unreadable": ("leaf", {"version": 9}),
    "intermediate-expired": ("issuer", {"end": days(-3)}),
    "intermediate-sha1": ("issuer", {"digest": "sha1"}),
    "intermediate-no-ca": ("issuer", {"extensions": {"basic": None}}),
    "constrained": ("issuer", {"extensions": {"x": der.name_constraints(["example.com"])}}),
    "root-expired": ("root", {"end": days(-4)}),
    "root-unknown": ("root", {}),
}


def _build(names: tuple[str, ...], host: str) -> Trusted:
    fields: dict[str, dict[str, Any]] = {"leaf": {}, "issuer": {}, "root": {}}
    for name in names:
        part, changes = _FAULTS[name]
        for field, value in changes.items():
            if field == "extensions":
                value = fields[part].get("extensions", {}) | value
            fields[part][field] = value
    title = " ".join(names)
    root = ca(f"Root {title}", kind="rsa2048 root", **fields["root"])
    issuer = ca(f"Issuer {title}", root, kind="rsa2048 issuer", **fields["issuer"])
    made = leaf(host, issuer=issuer, **fields["leaf"])
    return Trusted(made, () if "root-unknown" in names else trusts(root))


# "make test" judges these pairs only.
_TESTED = {"sha1-and-wrong-signature", "key-usage-and-unreadable"}
for _pair in itertools.combinations(_FAULTS, 2):
    # A certificate has one period.
    if not set(_pair) <= {"expired", "not-yet-valid"}:
        _name = "-and-".join(_pair)
        GROUP.add(_name, partial(_build, _pair), relative=_name not in _TESTED)
