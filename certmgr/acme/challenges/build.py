"""Solvers from [acme.solver.NAME], and the snippets of web server configuration that they need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from certmgr.acme.challenges.dns01 import Dns01
from certmgr.acme.challenges.interface import ChallengeProof, Leftover, Solver
from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.challenges.persisted import Persisted
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
    """http-01 by a program of the administrator: ``add NAME TOKEN KEY_AUTHORIZATION``."""

    settings: SolverSettings
    challenge: str = "http-01"
    persistent: bool = True

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Call the program with ``add`` for each challenge."""
        for proof in proofs:
            call_hook(self.settings, "add", proof.name, proof.token, proof.key_authorization)

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Call the program with ``remove`` for each challenge."""
        left = []
        for proof in proofs:
            given = (proof.name, proof.token, proof.key_authorization)
            try:
                call_hook(self.settings, "remove", *given)
            except CertmgrError as error:
                what = f"the http-01 answer {proof.token} of {proof.name}"
                command = " ".join((*self.settings.command, "remove", *given))
                left.append(Leftover(proof, what, error.why or error.what, f"Run: {command}"))
        return left


class Solvers:
    """The configured solvers.

    Each is created once, so that parallel orders share its listening server.
    """

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        self._settings, self._clock = settings, clock
        self._solvers: dict[str, Solver] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Solver:
        """Return the solver of a name.

        Raises:
            UsageError: The configuration has no solver of this name.
        """
        with self._lock:
            if name not in self._solvers:
                self._solvers[name] = make(
                    find(self._settings, name), partial(new_dns_client, self._settings), self._clock
                )
            return self._solvers[name]


def new_dns_client(settings: Settings) -> DnsClient:
    """Return a new DNS client with an empty cache."""
    return DnsClient.of(settings)


def find(settings: Settings, name: str) -> SolverSettings:
    """Return the settings of a solver.

    Raises:
        UsageError: The configuration has no solver of this name.
    """
    solver = settings.acme.solvers.get(name)
    if solver is None:
        known = ", ".join(sorted(settings.acme.solvers)) or "none"
        raise UsageError(
            f"There is no solver '{printable(name, 60)}'",
            f"the configuration has {known}",
            f"Write [acme.solver.{printable(name, 40) or 'web'}] with its kind.",
        )
    return solver


def make(
    settings: SolverSettings, create_dns_client: Callable[[], DnsClient], clock: Clock
) -> Solver:
    """Create a solver.

    Args:
        settings: The settings of the solver.
        create_dns_client: Return a new DNS client with an empty cache.
        clock: The current time, for the certificates of tls-alpn-01 and for persistUntil.
    """
    match settings.kind:
        case "webroot" | "alias":
            return WebRoot(settings.path, settings.kind == "alias")
        case "standalone":
            return Standalone(settings.address, settings.port)
        case "tls-alpn":
            return TlsAlpn(settings.address, settings.port, clock)
        case "rfc2136":
            zone = Rfc2136(settings, create_dns_client)
            return Dns01(zone, create_dns_client, settings.propagation)
        case "persist":
            return Persisted(create_dns_client, clock)
        case "lexicon":
            return Dns01(Lexicon(settings), create_dns_client, settings.propagation)
        # The kind hook serves http-01 or dns-01, as its setting "challenge" states.
        case _ if settings.challenge == "http-01":
            return HttpHook(settings)
        case _:
            return Dns01(Hook(settings), create_dns_client, settings.propagation)


def challenge_of(settings: SolverSettings) -> str:
    """Return the challenge type of a solver: http-01, dns-01, tls-alpn-01 or
    dns-persist-01. Pure."""
    if settings.kind == "hook":
        return settings.challenge
    return {
        "webroot": "http-01",
        "alias": "http-01",
        "standalone": "http-01",
        "tls-alpn": "tls-alpn-01",
        "persist": CHALLENGE,
    }.get(settings.kind, "dns-01")


def snippet(settings: SolverSettings, server: str) -> str:
    """Return the configuration for nginx or Apache that exposes the answers of a solver.

    Pure.

    Raises:
        UsageError: The solver needs no configuration of the web server.
    """
    path = "/.well-known/acme-challenge/"
    if settings.kind == "alias":
        # nginx replaces the matched prefix literally: without the slash at the end it would look in
        # another folder.
        folder = settings.path.rstrip("/") + "/"
        if server == "nginx":
            return (
                f"location ^~ {path} {{\n    alias {folder};\n    default_type"
                " application/octet-stream;\n}\n"
            )
        return (
            f'Alias "{path}" "{folder}"\n<Directory "{folder}">\n    Options None\n   '
            " AllowOverride None\n    Require all granted\n</Directory>\n"
        )
    # On port 80 the solver answers the CA itself; on another port a web server passes requests on.
    if settings.kind == "standalone" and settings.port not in (0, 80):
        # Without an address the solver listens everywhere; the web server on the same machine
        # reaches it here.
        host = settings.address or "127.0.0.1"
        base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
        if server == "nginx":
            return f"location ^~ {path} {{\n    proxy_pass {base};\n}}\n"
        return f'ProxyPass "{path}" "{base}{path}"\n'
    raise UsageError(
        "This solver needs nothing in the configuration of a web server",
        f"its kind is {settings.kind}",
        "Only an alias directory, or a standalone server on an internal port, needs a snippet.",
    )
