"""Files of trust rules: what is accepted, and what is refused with its place."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import certifi
import pytest

from certmgr.x509.trust_data import built_in
from certmgr.x509.trust_rules import SCHEMA, document_of, normalised_hash, parse_rules
from inventory.certificates import from_pem
from inventory.errors import UsageError

HASH = "ab" * 32


def document(**changes: Any) -> dict[str, Any]:
    row = {
        "name": "one",
        "browsers": ["chrome"],
        "kind": "removed",
        "ca": "Test",
        "at": "2026-11-18",
        "certificates": [HASH],
        "source": "test",
        "confidence": "V",
    }
    return {
        "schema": SCHEMA,
        "version": "1",
        "date": "2026-11-27",
        "rule": [{k: v for k, v in (row | changes).items() if v is not None}],
    }


def test_document_is_read_and_written_without_a_change() -> None:
    rules = built_in()
    again = parse_rules(json.loads(json.dumps(document_of(rules))), "copy")
    assert again.rules == rules.rules
    assert (again.version, again.day) == (rules.version, rules.day)


def test_built_in_rules_name_roots_of_certifi_and_have_source_and_confidence() -> None:
    listed = {c.sha256: c.subject for c in from_pem(Path(certifi.where()).read_bytes())}
    rules = {r.name: r for r in built_in().rules}
    assert all(r.source and r.confidence in ("V", "S") for r in rules.values())
    digicert = [listed[c] for c in rules["chrome-digicert-2026"].certificates]
    assert sorted(s.rpartition("CN=DigiCert ")[2] for s in digicert) == [
        "Assured ID Root G2",
        "Assured ID Root G3",
        "Trusted Root G4",
    ]
    assert all("Buypass" in listed[c] for c in rules["mozilla-buypass"].certificates)
    # The ages of keys are approximate in both programmes.
    assert all(r.approximate for n, r in rules.items() if n.startswith("key-age"))


@pytest.mark.parametrize(
    "text",
    [
        HASH,
        HASH.upper(),
        ":".join(HASH[i : i + 2] for i in range(0, 64, 2)),
        f'"{HASH}"',
        f"sha256/{base64.b64encode(bytes.fromhex(HASH)).decode()}",
        base64.b64encode(bytes.fromhex(HASH)).decode(),
    ],
)
def test_hash_is_read_in_every_usual_form(text: str) -> None:
    assert normalised_hash(text) == HASH


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, HASH[:-2], HASH + "00", "sha256/abc"])
def test_other_text_is_no_hash(text: str) -> None:
    assert normalised_hash(text) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"browsers": ["opera"]}, "browsers"),
        ({"browsers": []}, "browsers"),
        ({"kind": "gone"}, "kind"),
        ({"confidence": "X"}, "confidence"),
        ({"source": None}, "source"),
        ({"certificates": None}, "selects no certificate"),
        ({"certificates": ["xyz"]}, "not a SHA-256"),
        ({"certificates": HASH}, "not a list"),
        ({"at": "soon"}, "not a date"),
        ({"at": "9999-99-99"}, "not a date"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"kind": "not-trusted-after"}, "basis"),
        ({"kind": "not-trusted-after", "basis": "logged", "at": None}, "needs at"),
        ({"kind": "key-age"}, "key_from"),
        ({"kind": "key-age", "key_from": "2008-01-01", "years": 15}, "either at or years"),
        ({"kind": "key"}, "rsa_bits"),
        ({"kind": "key", "rsa_bits": True}, "wrong type"),
        ({"kind": "eku"}, "issued_from"),
        ({"kind": "included", "at": None}, "needs at"),
        ({"approximate": "yes"}, "wrong type"),
    ],
)
def test_invalid_rule_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rules(document(**changes), "rules.toml")
    assert "rules.toml" in caught.value.what
    assert reason in caught.value.why
    assert "rule 1" in caught.value.why


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "certmgr.scan/1"},
        {"version": ""},
        {"version": "a b"},
        {"date": "today"},
        {"rule": []},
        {"rule": "x"},
        {"rule": [1]},
        {"more": 1},
        {"rule": [document()["rule"][0]] * 2},
    ],
)
def test_invalid_document_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        parse_rules(document() | changes, "rules.toml")
