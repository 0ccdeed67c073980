"""Certificate policies of a path (RFC 5280 6.1)."""

from __future__ import annotations

import pytest

from certmgr.x509.policies import policies_valid
from inventory.certificates import parse
from tests.certificates import tlv
from tests.certmgr.browser import der
from tests.certmgr.browser.pki import ca, leaf

ONE, TWO, ANY = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "2.5.29.32.0"
REQUIRED = der.require_policy()


def _mapping(issuer: str, subject: str) -> bytes:
    pair = der.seq(der.oid(issuer), der.oid(subject))
    return der.extension("2.5.29.33", der.seq(pair), critical=True)


@pytest.mark.parametrize(
    ("of_issuer", "of_leaf", "valid"),
    [
        ([], [], True),
        ([REQUIRED], [], False),
        ([REQUIRED], [der.policies(ONE)], False),
        ([REQUIRED, der.policies(ONE)], [der.policies(ONE)], True),
        ([REQUIRED, der.policies(ONE)], [der.policies(TWO)], False),
        ([REQUIRED, der.policies(ONE)], [der.policies(ANY)], True),
        ([REQUIRED, der.policies(ANY)], [der.policies(TWO)], True),
        ([REQUIRED, der.policies(ONE), _mapping(ONE, TWO)], [der.policies(TWO)], True),
        ([REQUIRED, der.policies(ONE), _mapping(ONE, TWO)], [der.policies(ONE)], False),
        ([der.require_policy(2)], [], True),
        ([], [REQUIRED], False),
        ([der.policies(ONE)], [REQUIRED, der.policies(ONE)], True),
        (
            [REQUIRED, der.policies(ONE), der.extension("2.5.29.54", der.integer(0), True)],
            [der.policies(ANY)],
            False,
        ),
        ([der.extension("2.5.29.36", der.seq(tlv(0x81, b"\0")), True)], [], True),
    ],
)
def test_path_needs_a_policy_if_its_ca_requires_one(
    of_issuer: list[bytes], of_leaf: list[bytes], valid: bool
) -> None:
    root = ca("Root of policies")
    issuer = ca("Issuer", root, extensions={str(i): e for i, e in enumerate(of_issuer)})
    made = leaf("a.test", issuer=issuer, extensions={str(i): e for i, e in enumerate(of_leaf)})
    path = [parse(d) for d in (*made.chain, root.der)]
    assert policies_valid(path, own=True) is valid


def test_requirement_of_an_anchor_counts_if_it_is_the_administrators() -> None:
    root = ca("Root that requires", extensions={"x": REQUIRED})
    path = [parse(d) for d in (*leaf("a.test", issuer=root).chain, root.der)]
    assert not policies_valid(path, own=True)
    assert policies_valid(path, own=False)
