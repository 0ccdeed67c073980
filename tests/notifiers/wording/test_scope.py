"""What a client may read of a finding."""

from __future__ import annotations

from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.wording.scope import for_client
from notifiers.wording.sentences import sentence


def test_names_of_other_clients_are_removed_from_a_shared_certificate() -> None:
    names = ["www.mine.test", "secret.other.test"]
    finding = Finding("name-mismatch", "critical", (), {"names": names, "more": 1})
    mine = for_client(finding, {"shop.mine.test"})
    assert mine.evidence["names"] == ["www.mine.test"]
    assert "other.test" not in sentence(mine, Target("shop.mine.test"))
    assert for_client(finding, {"third.example"}).evidence["names"] == ["none of yours"]
    evidence = {"subject": "CN=secret.other.test", "names": ["secret.other.test"]}
    default = Finding("default-certificate", "critical", (), evidence)
    assert "secret" not in str(for_client(default, {"shop.mine.test"}).evidence)
