"""Sites are named by their port only if the name alone would be ambiguous."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.report import html
from certmgr.report.badge import why_not
from certmgr.report.cards import action_cards, report_ports, site_rows
from certmgr.report.names import site_names
from certmgr.report.tabular import to_csv
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.report.provider import ReportProvider, text_of

SHOP = "shop.example.test"


@pytest.mark.parametrize(
    ("members", "names"),
    [
        # The only port of its name.
        ([("mail", "mail:25")], ("mail",)),
        # All ports of a name, in whatever order they come.
        ([("shop", "shop:8443"), ("mail", "mail:25"), ("shop", "shop:443")], ("shop", "mail")),
        # One of two, even if it is listed for two reasons.
        ([("shop", "shop:8443"), ("shop", "shop:8443")], ("shop:8443",)),
        # The step of a case is about the name.
        ([("shop", "")], ("shop",)),
    ],
)
def test_port_is_named_if_the_group_lacks_another_port_of_the_name(
    members: list[tuple[str, str]], names: tuple[str, ...]
) -> None:
    assert site_names(members, {"shop": 2, "mail": 1}) == names


def test_fault_of_one_port_is_not_that_of_the_name(provider: ReportProvider) -> None:
    now = provider.clock()
    old = provider.issuer.issue(
        SHOP, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
    )
    provider.client("1001", "Shop", hosts="us", dns="us", buys="client", renews="client")
    provider.site("1001", SHOP, server_context(provider.issuer.issue(SHOP)))
    well = provider.ports[SHOP]
    server = Server(secure(server_context(old), lambda host, path: page("Welcome")))
    provider.stack.callback(server.close)
    expired = server.port
    with provider.database.write() as tx:
        endpoints.add(tx, Target(SHOP, expired), addresses=("127.0.0.1",))
    provider.scan()
    report, language = provider.report("1001")
    (card,) = action_cards(report.you_act, report_ports(report))
    assert card.sites == (f"{SHOP}:{expired}",)
    assert {r.site.state: r.names for r in site_rows(report)} == {
        "ok": (f"{SHOP}:{well}",),
        "fault": (f"{SHOP}:{expired}",),
    }
    assert f"{SHOP}:{expired}" in why_not(report) and f":{well}" not in why_not(report)
    assert f"{SHOP}:{expired}" in text_of(html.render(report, language))
    # The row of the other port has no instruction.
    rows = {line.partition(",")[0]: line for line in to_csv(report).splitlines()}
    instruction = report.you_act[0].do[:30]
    assert instruction in rows[f"{SHOP}:{expired}"]
    assert instruction not in rows[f"{SHOP}:{well}"]
