"""Situations, and groups of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from tests.certmgr.browser.pki import ROOT, Leaf, Trust
from tests.certmgr.browser.serving import (
    TO_HTTPS,
    Answer,
    Handler,
    Site,
    serve_plain,
    serve_tls,
    tls,
)


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a site serves, and the CAs that its visitors trust in addition to the usual one."""

    served: Leaf | Handler
    trust: Sequence[Trust]


Build = Callable[[str], Leaf | Handler | Trusted | None]
"""Maps the host to what its port of HTTPS serves. A leaf is served with a page; None refuses."""


@dataclass(frozen=True)
class Situation:
    """One site that a user opens.

    Attributes:
        name: Unique in its group.
        group: The subject.
        host: Its own name, so that neither HSTS nor a cache of the browser has met it before.
        build: Builds what it serves over HTTPS.
        plain: Its answers over plain HTTP.
        scheme: https or http: what the user opens.
        aliases: Further names that resolve to this machine.
        silent: Whether the server never answers, so that the visit is ended by the test.
        relative: Whether only ``make soak`` judges it.
        hsts: Whether the browser is asked if it remembers HSTS for the host.
        mixed: Whether the browser is asked if it reports mixed content.
    """

    name: str
    group: str
    host: str
    build: Build
    plain: Answer
    scheme: str = "https"
    aliases: tuple[str, ...] = ()
    silent: bool = False
    relative: bool = False
    hsts: bool = False
    mixed: bool = False

    @property
    def id(self) -> str:
        """Its name among all situations."""
        return f"{self.group}/{self.name}"

    @cached_property
    def built(self) -> Trusted | None:
        """What the site serves over HTTPS."""
        built = self.build(self.host)
        if built is None or isinstance(built, Trusted):
            return built
        return Trusted(built, ())

    @property
    def secure(self) -> Handler | None:
        """Handles connections to its port of HTTPS; None: it refuses them."""
        if self.built is None:
            return None
        served = self.built.served
        return tls(served) if isinstance(served, Leaf) else served

    @property
    def trust(self) -> tuple[Trust, ...]:
        """The CAs that its visitors trust."""
        return (Trust(ROOT.der), *(self.built.trust if self.built is not None else ()))


@contextmanager
def served(situations: Sequence[Situation]) -> Iterator[list[Site]]:
    """Serve situations of different hosts until the end of the block.

    Each has a port of HTTPS. All share the port of plain HTTP, as a scan expects.
    """
    with ExitStack() as stack:
        sites = [serve_tls(stack, s.host, s.secure) for s in situations]
        serve_plain(stack, {s.host: (x, s.plain) for x, s in zip(sites, situations, strict=True)})
        yield sites


@dataclass(slots=True)
class Group:
    """The situations of one subject."""

    name: str
    situations: list[Situation] = field(default_factory=list)

    def add(
        self,
        name: str,
        build: Build,
        *,
        host: str = "",
        answer: Answer = TO_HTTPS,
        scheme: str = "https",
        aliases: tuple[str, ...] = (),
        silent: bool = False,
        relative: bool = False,
        hsts: bool = False,
        mixed: bool = False,
    ) -> None:
        """Add a situation.

        Args:
            name: Its name.
            build: Builds what it serves over HTTPS.
            host: Default: a name made of its name and that of the group.
            answer: Its answer over plain HTTP. Default: a redirect to HTTPS.
            scheme: What the user opens.
            aliases: Further names that resolve to this machine.
            silent: Whether the server never answers.
            relative: Whether only ``make soak`` judges it.
            hsts: Whether the browser is asked if it remembers HSTS for the host.
            mixed: Whether the browser is asked if it reports mixed content.
        """
        self.situations.append(
            Situation(
                name,
                self.name,
                host or f"{name}.{self.name}.test",
                build,
                answer,
                scheme,
                aliases,
                silent,
                relative,
                hsts,
                mixed,
            )
        )
