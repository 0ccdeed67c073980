"""What a client may read of a finding."""

from __future__ import annotations

from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.wording.scope import for_client
from notifiers.wording.sentences import sentence


def test_names_of_other_clients_are_removed_from_a_shared_certificate() -> None:
    names = ["www.mine.test", "secret.other.test"]
    finding = Finding("name-mismatch", "critical", (), {"names": names, "more": 1})
    mine = for_client(finding, {"shop.mine.test"}, codes=())
    assert mine.evidence["names"] == ["www.mine.test"]
    assert "other.test" not in sentence(mine, Target("shop.mine.test"))
    assert for_client(finding, {"third.example"}, codes=()).evidence["names"] == ["none of yours"]
    evidence = {"subject": "CN=secret.other.test", "names": ["secret.other.test"]}
    default = Finding("default-certificate", "critical", (), evidence)
    assert "secret" not in str(for_client(default, {"shop.mine.test"}, codes=()).evidence)


def test_name_of_another_client_below_the_same_registered_domain_is_removed() -> None:
    names = ["a.platform.test", "b.platform.test", "*.b.platform.test", "free.platform.test"]
    finding = Finding("name-mismatch", "critical", (), {"names": names})
    owners = {"a.platform.test": 1, "b.platform.test": 2, "*.b.platform.test": 2}
    mine = for_client(finding, {"a.platform.test"}, codes=(), owners=owners, client_id=1)
    assert mine.evidence["names"] == ["a.platform.test", "free.platform.test"]
    # A host outside the inventory has no client, and reads no name of any.
    unknown = for_client(finding, {"x.platform.test"}, codes=(), owners=owners)
    assert unknown.evidence["names"] == ["free.platform.test"]
