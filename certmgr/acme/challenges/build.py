"""From [acme.solver.NAME] to a solver, and what a web server's configuration needs for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from certmgr.acme.challenges.dns01 import Dns01
from certmgr.acme.challenges.interface import ChallengeProof, Solver
from certmgr.acme.challenges.standalone import Standalone
from certmgr.acme.challenges.tlsalpn import TlsAlpn
from certmgr.acme.challenges.webroot import WebRoot
from certmgr.acme.challenges.zones import Hook, Lexicon, Rfc2136, call_hook
from certmgr.config.acme import SolverSettings
from certmgr.config.settings import Settings
from certmgr.net.dns import DnsClient
from inventory.clock import Clock, system_clock
from inventory.errors import CertmgrError, UsageError
from inventory.text import printable


@dataclass(slots=True)
class HttpHook:
    """http-01 by a program: ``add NAME TOKEN KEY_AUTHORIZATION``."""

    settings: SolverSettings
    challenge: str = "http-01"

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        for one in proofs:
            call_hook(self.settings, "add", one.name, one.token, one.key_authorization)

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        for one in proofs:
            with contextlib.suppress(CertmgrError):
                call_hook(self.settings, "remove", one.name, one.token, one.key_authorization)


class Solvers:
    """Those of the configuration, each made once, so that orders which run at the same time share
    what listens.
    """

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock
        self._made: dict[str, Solver] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Solver:
        """Raises :class:`UsageError` for a word that the configuration does not know."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make(
                    find(self._settings, name), partial(asker, self._settings), self._clock
                )
            return self._made[name]


def asker(settings: Settings) -> DnsClient:
    """A new one, with an empty memory."""
    return DnsClient.of(settings)


def find(settings: Settings, name: str) -> SolverSettings:
    found = settings.acme.solvers.get(name)
    if found is None:
        known = ", ".join(sorted(settings.acme.solvers)) or "none"
        raise UsageError(
            f"There is no solver '{printable(name, 60)}'",
            f"the configuration has {known}",
            f"Write [acme.solver.{printable(name, 40) or 'web'}] with its kind.",
        )
    return found


def make(own: SolverSettings, new_asker: Callable[[], DnsClient], clock: Clock) -> Solver:
    match own.kind:
        case "webroot" | "alias":
            return WebRoot(own.path, own.kind == "alias")
        case "standalone":
            return Standalone(own.address, own.port)
        case "tls-alpn":
            return TlsAlpn(own.address, own.port, clock)
        case "rfc2136":
            return Dns01(Rfc2136(own, new_asker), new_asker, own.propagation)
        case "lexicon":
            return Dns01(Lexicon(own), new_asker, own.propagation)
        case _ if own.challenge == "http-01":
            return HttpHook(own)
        case _:
            return Dns01(Hook(own), new_asker, own.propagation)


def challenge_of(own: SolverSettings) -> str:
    """http-01, dns-01 or tls-alpn-01. Pure."""
    if own.kind == "hook":
        return own.challenge
    return {
        "webroot": "http-01",
        "alias": "http-01",
        "standalone": "http-01",
        "tls-alpn": "tls-alpn-01",
    }.get(own.kind, "dns-01")


def snippet(own: SolverSettings, server: str) -> str:
    """What nginx or Apache need so that the CA finds the answers of this solver.

    Pure. Raises :class:`UsageError` where none is needed.
    """
    path = "/.well-known/acme-challenge/"
    if own.kind == "alias":
        folder = own.path.rstrip("/") + "/"
        if server == "nginx":
            return (
                f"location ^~ {path} {{\n    alias {folder};\n    default_type"
                " application/octet-stream;\n}\n"
            )
        return (
            f'Alias "{path}" "{folder}"\n<Directory "{folder}">\n    Options None\n   '
            " AllowOverride None\n    Require all granted\n</Directory>\n"
        )
    if own.kind == "standalone" and own.port not in (0, 80):
        host = own.address or "127.0.0.1"
        where = f"http://{f'[{host}]' if ':' in host else host}:{own.port}"
        if server == "nginx":
            return f"location ^~ {path} {{\n    proxy_pass {where};\n}}\n"
        return f'ProxyPass "{path}" "{where}{path}"\n'
    raise UsageError(
        "This solver needs nothing in a web server's configuration",
        f"its kind is {own.kind}",
        "An alias directory, or a standalone server on an inside port, does.",
    )
