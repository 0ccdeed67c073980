"""The resolution of names to addresses."""

from __future__ import annotations

from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST, Stack, resolved_by, serve_certificate
from tests.clock import clock
from tests.servers import real


def test_each_address_of_a_name_is_visited(
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    addresses = ["127.0.0.1", "127.0.0.9", "::1"]
    resolver = opened.enter_context(real.dns({HOST: addresses}))
    asking = resolved_by(settings, resolver)
    (report,) = scan_targets(asking, ScanOptions(), [Target(HOST, port)], clock=clock)
    assert [a.address for a in report.addresses] == addresses
    assert [(f.code, f.addresses) for f in report.findings] == [
        ("https-missing", ("127.0.0.9", "::1")),
    ]


def test_address_family_without_an_answer_is_reported_and_the_other_one_visited(
    settings: Settings, issuer: Authority, opened: Stack
) -> None:
    port = serve_certificate(opened, issuer.issue(HOST))
    resolver = opened.enter_context(real.dns({HOST: ["127.0.0.1"]}, broken_family="AAAA"))
    asking = resolved_by(settings, resolver)
    (report,) = scan_targets(asking, ScanOptions(), [Target(HOST, port)], clock=clock)
    assert [(f.code, f.severity) for f in report.findings] == [("dns-failure", "undetermined")]
    assert report.addresses[0].trusted is True
    assert report.resolved is False
