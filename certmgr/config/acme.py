"""[acme] with its tables: CAs, solvers, targets.

Programs and places stand here and nowhere else: no row of the inventory names a file or a command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CaSettings:
    """A CA of one's own, or limits of a known one.

    ``ca_file``: PEM that its TLS certificate is verified with. ``internal``: its URLs may point to
    addresses inside (a test CA, a private CA). ``orders``: at once. ``per_domain``, ``per_set``,
    ``per_account``: limits as ``50/7d``; empty: those that are known.
    """

    directory: str = ""
    ca_file: str = ""
    internal: bool = False
    eab: bool = False
    at_once: int = 0
    per_domain: str = ""
    per_set: str = ""
    per_account: str = ""
    per_failure: str = ""
    caa: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SolverSettings:
    """How control of a name is shown.

    ``kind``: webroot, alias, standalone, tls-alpn (``address``, ``port``), rfc2136, lexicon, hook.

    ``path``: the web root (``{name}`` becomes the name), or the shared alias directory. ``server``,
    ``port``, ``zone``, ``tsig_*``: of RFC 2136. ``provider`` and ``credentials``
    (``auth_token=env:NAME``): of dns-lexicon. ``command``: an argument list with an absolute path;
    ``add`` or ``remove``, the record's name and its value follow. ``user``: who runs it.
    ``timeout``: seconds. ``propagation``: seconds until every authoritative server must show the
    record. ``challenge``: of a hook: dns-01 or http-01. ``http_port``: where a probe asks (80
    outside of tests).
    """

    kind: str = ""
    path: str = ""
    address: str = ""
    port: int = 0
    server: str = ""
    zone: str = ""
    tsig_name: str = ""
    tsig_secret: str = ""
    tsig_algorithm: str = "hmac-sha256"
    provider: str = ""
    credentials: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    timeout: float = 60.0
    propagation: float = 120.0
    challenge: str = "dns-01"
    http_port: int = 80


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Where a certificate goes (docs/deploy.md).

    ``kind``: reload (the live directory is read by the server itself), files, pkcs12, ssh.

    ``directory`` (``{name}`` becomes the lineage): of files, here or there. ``path``: of the
    PKCS#12 file, ``password`` its secret, ``alias`` its friendly name. ``legacy``: 3DES, for
    Windows Server 2016 and Java 8. ``owner``, ``group``, ``mode`` (``0640``): of what is written.
    ``test`` and ``reload``: argument lists with an absolute path; ``user``: who runs them, here.
    ``host``, ``port``, ``login``, ``key_file``, ``known_hosts``: of ssh. ``timeout``: seconds for
    each command. ``settle``: seconds after a reload before anything is switched again: most reload
    programs return before the server has read its files.
    """

    kind: str = ""
    directory: str = ""
    path: str = ""
    password: str = ""
    alias: str = ""
    legacy: bool = False
    owner: str = ""
    group: str = ""
    mode: str = ""
    test: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    user: str = ""
    timeout: float = 60.0
    settle: float = 1.0
    host: str = ""
    port: int = 22
    login: str = ""
    key_file: str = ""
    known_hosts: str = ""


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """``directory``: account keys, keys of orders and the version directories; empty for the user's
    own. ``default_account``, ``default_solver``, ``default_targets``, ``profile``: of lineages that
    say nothing else. ``at_once``: orders in flight. ``challenge_seconds``: how long a challenge may
    stay undecided. ``proof_seconds``: within which a deployed certificate must be seen. ``shrink``:
    ask, or auto: whether names in quarantine may be left out of a renewal. ``roll_back``: whether
    harm that is seen brings the version before back.
    """

    directory: str = ""
    default_account: str = ""
    default_solver: str = ""
    default_targets: tuple[str, ...] = ()
    key_type: str = "ec-p256"
    profile: str = ""
    at_once: int = 16
    challenge_seconds: float = 300.0
    proof_seconds: float = 120.0
    shrink: str = "ask"
    roll_back: bool = True
    cas: Mapping[str, CaSettings] = field(default_factory=dict)
    solvers: Mapping[str, SolverSettings] = field(default_factory=dict)
    places: Mapping[str, TargetSettings] = field(default_factory=dict)


# The tables below [acme], by their name in the file: what each is called in AcmeSettings, and its
# class.
TABLES = {
    "ca": ("cas", CaSettings),
    "solver": ("solvers", SolverSettings),
    "target": ("places", TargetSettings),
}
SOLVERS = ("webroot", "alias", "standalone", "tls-alpn", "rfc2136", "lexicon", "hook")
TARGETS = ("reload", "files", "pkcs12", "ssh")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LIMIT = re.compile(r"\d{1,7}/\d{1,4}[hd]")


def check(acme: AcmeSettings, key_types: tuple[str, ...]) -> None:
    """Raises :class:`ConfigError`."""
    if acme.key_type not in key_types:
        raise ConfigError(
            f"[acme] key_type is '{acme.key_type}'", f"known are {', '.join(key_types)}"
        )
    if acme.directory and not Path(acme.directory).is_absolute():
        raise ConfigError(
            f"[acme] directory is '{acme.directory}'",
            "it would depend on the folder in which somebody stands",
            "Write the whole path.",
        )
    if not 1 <= acme.at_once <= 200:
        raise ConfigError(f"[acme] at_once is {acme.at_once}", "it is 1 to 200")
    if acme.shrink not in ("ask", "auto"):
        raise ConfigError(f"[acme] shrink is '{acme.shrink}'", "it is ask or auto")
    for seconds, name in (
        (acme.challenge_seconds, "challenge_seconds"),
        (acme.proof_seconds, "proof_seconds"),
    ):
        if not 1 <= seconds <= 86_400:
            raise ConfigError(f"[acme] {name} is {seconds}", "it is 1 to 86,400 seconds")
    for table, named in (("ca", acme.cas), ("solver", acme.solvers), ("target", acme.places)):
        for name in named:
            if not _WORD.fullmatch(name):
                raise ConfigError(
                    f"[acme.{table}.{name[:60]}] cannot be called so",
                    "a name has lower-case letters, digits, - and _",
                    "Rename it.",
                )
    for name, ca in acme.cas.items():
        _ca(f"[acme.ca.{name}]", ca)
    for name, solver in acme.solvers.items():
        _solver(f"[acme.solver.{name}]", solver)
    for name, target in acme.places.items():
        _target(f"[acme.target.{name}]", target)
    if acme.default_solver and acme.default_solver not in acme.solvers:
        raise ConfigError(
            f"[acme] default_solver is '{acme.default_solver}'",
            f"there is no [acme.solver.{acme.default_solver}]",
        )
    for word in acme.default_targets:
        if word not in acme.places:
            raise ConfigError(
                f"[acme] default_targets names '{word}'", f"there is no [acme.target.{word}]"
            )


def _ca(where: str, ca: CaSettings) -> None:
    if ca.directory and not ca.directory.startswith("https://"):
        raise ConfigError(
            f"{where} directory is not https://",
            "ACME is spoken over TLS only (RFC 8555 6.1)",
            "Correct it.",
        )
    for name in ("per_domain", "per_set", "per_account", "per_failure"):
        text = getattr(ca, name)
        if text and not _LIMIT.fullmatch(text):
            raise ConfigError(f"{where} {name} is '{text}'", "", "Write 50/7d or 300/3h.")


def _solver(where: str, solver: SolverSettings) -> None:
    if solver.kind not in SOLVERS:
        raise ConfigError(f"{where} kind is '{solver.kind}'", f"known are {', '.join(SOLVERS)}")
    needs = {
        "webroot": ("path",),
        "alias": ("path",),
        "rfc2136": ("server", "tsig_name", "tsig_secret"),
        "lexicon": ("provider",),
        "hook": ("command",),
    }
    _needs(where, solver, needs.get(solver.kind, ()))
    if solver.path and not Path(solver.path).is_absolute():
        raise ConfigError(f"{where} path is '{solver.path}'", "it is no absolute path")
    if solver.challenge not in ("dns-01", "http-01"):
        raise ConfigError(
            f"{where} challenge is '{solver.challenge}'", "a hook answers dns-01 or http-01"
        )
    _commands(where, solver.command)
    for port in (solver.port, solver.http_port):
        if not 0 <= port <= 65535:
            raise ConfigError(f"{where} has the port {port}", "a port is a number up to 65535")
    if solver.propagation < 0 or solver.timeout <= 0:
        raise ConfigError(f"{where} timeout or propagation cannot be so", "they are seconds")


def _target(where: str, target: TargetSettings) -> None:
    if target.kind not in TARGETS:
        raise ConfigError(f"{where} kind is '{target.kind}'", f"known are {', '.join(TARGETS)}")
    needs = {
        "reload": ("reload",),
        "files": ("directory",),
        "pkcs12": ("path", "password"),
        "ssh": ("host", "login", "key_file", "known_hosts", "directory"),
    }
    _needs(where, target, needs[target.kind])
    for text in (target.directory, target.path, target.key_file, target.known_hosts):
        if text and not Path(text).is_absolute():
            raise ConfigError(f"{where} has '{text}'", "it is no absolute path")
    if target.mode and not re.fullmatch(r"0[0-7]{3}", target.mode):
        raise ConfigError(f"{where} mode is '{target.mode}'", "", 'Write "0640".')
    if target.mode and int(target.mode, 8) & 0o007:
        raise ConfigError(
            f"{where} mode is '{target.mode}'",
            "everybody on that machine could read the key",
            'Write "0640".',
        )
    if target.kind == "ssh" and (target.user or (target.owner and not target.group)):
        why = (
            "the login runs its programs"
            if target.user
            else "the group on that machine is not known here"
        )
        raise ConfigError(
            f"{where} has {'user' if target.user else 'owner without group'}", why, "Correct it."
        )
    if target.timeout <= 0 or not 0 <= target.settle <= 600 or not 1 <= target.port <= 65535:
        raise ConfigError(
            f"{where} has a timeout, a settle or a port that cannot be",
            "seconds (settle up to 600), and a number up to 65535",
        )
    _commands(where, target.test)
    _commands(where, target.reload)


def _needs(where: str, settings: SolverSettings | TargetSettings, names: tuple[str, ...]) -> None:
    missing = [n for n in names if not getattr(settings, n)]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}", f"a {settings.kind} needs it")


def _commands(where: str, command: tuple[str, ...]) -> None:
    if command and not command[0].startswith("/"):
        raise ConfigError(
            f"{where} runs '{command[0][:60]}'",
            "cron's PATH is another one than yours",
            "Write the absolute path of the program.",
        )
