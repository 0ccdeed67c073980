"""One site, probed without an inventory."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import ProbeContext, TargetProbe, probe_target
from inventory.targets import Target
from tests.clock import clock
from tests.servers.ports import free_port

HOST = "shop.example.test"


def served(
    issuer: Authority, opened: contextlib.ExitStack, address: str = "127.0.0.1", port: int = 0
) -> int:
    """Serve the site and return its port."""
    server = Server(
        secure(server_context(issuer.issue(HOST)), lambda host, path: page("Shop")),
        address=address,
        port=port,
    )
    opened.callback(server.close)
    return server.port


def probe(
    settings: Settings, port: int, addresses: tuple[str, ...], **network: tuple[str, ...]
) -> EndpointReport:
    """Probe the site at these addresses; nothing serves it over plain HTTP."""
    chosen = replace(settings, network=NetworkSettings(**network))
    return probe_target(
        ProbeContext(settings=chosen, database=None, clock=clock),
        ScanOptions(overrides={(HOST, port): addresses}, http_port=free_port(), always_http=True),
        TargetProbe(target=Target(HOST, port), paths=("/",), purpose="site"),
    )
