"""Sites of a web server that are scanned together, for the tests of pages and redirects."""

from __future__ import annotations

from dataclasses import replace

from certmgr.config.settings import Settings
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.targets import Target
from tests.certmgr.tls_servers import HOST, Stack, refusing_port
from tests.certmgr.websites import NO_RATE_LIMIT, Sites
from tests.clock import clock

SITES = Sites()
"""Each module adds its sites when it is imported, which is before the one scan of all of them."""

DEAD_ENDS = {
    url: (SITES.add(f"return 302 '{url}';"), error)
    for url, error in {
        "javascript:alert(1)": "ERR_UNSAFE_REDIRECT",
        "data:text/html,x": "ERR_UNSAFE_REDIRECT",
        "http://": "ERR_INVALID_REDIRECT",
        "http://a b/": "ERR_INVALID_REDIRECT",
        "http://x.test:99999/": "ERR_INVALID_REDIRECT",
        "http://x.test:25/": "ERR_UNSAFE_PORT",
        "https://$host:HTTP_PORT/": "ERR_SSL_PROTOCOL_ERROR",
        "https://$host:1/": "ERR_UNSAFE_PORT",
    }.items()
}


def scan_http(
    settings: Settings, opened: Stack, port: int, timeout: float = 60, refusing: int = 0
) -> EndpointReport:
    """Scan a host whose plain HTTP is at ``port`` and whose HTTPS is closed."""
    refusing = refusing or refusing_port(opened)
    options = ScanOptions(
        overrides={(HOST, refusing): ("127.0.0.1",)}, http_port=port, timeout=timeout
    )
    visiting = replace(settings, http=NO_RATE_LIMIT)
    (report,) = scan_targets(visiting, options, [Target(HOST, refusing)], clock=clock)
    return report
