"""Section [acme] of the configuration, with its tables for CAs, solvers and targets.

Commands and file paths are configured only here: no row of the inventory names a file or a command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CaSettings:
    """A further CA, or other limits of a known CA.

    Attributes:
        directory: The URL of its ACME directory.
        ca_file: PEM file that verifies the TLS certificate of the ACME server.
        internal: Whether its URLs may have private addresses, for a test CA or a private CA.
        eab: Whether it requires an external account binding (RFC 8555 section 7.3.4).
        at_once: Concurrent orders; 0 for the default.
        per_domain: Certificates per registered domain, such as ``50/7d``; empty: known limit.
        per_set: Certificates per set of names; empty: known limit.
        per_account: Orders per account; empty: known limit.
        per_failure: Failed validations per name; empty: known limit.
        caa: Its names in CAA records.
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
    """A solver for domain control validation.

    Attributes:
        kind: The name of a module in ``certmgr/acme/challenges/solvers/``, with hyphens.
        path: The web root (``{name}`` is replaced by the name), or the shared alias directory.
        address: The address on which standalone or tls-alpn listens.
        port: The port of standalone or tls-alpn, or of the name server of rfc2136.
        server: The name server of rfc2136.
        zone: The zone of rfc2136.
        tsig_name: The name of the TSIG key of rfc2136.
        tsig_secret: The secret of the TSIG key.
        tsig_algorithm: The algorithm of the TSIG key.
        provider: The DNS provider of dns-lexicon.
        credentials: The credentials of dns-lexicon, such as ``auth_token=env:NAME``.
        command: The argument list of a hook, with an absolute path. ``add`` or ``remove``, the name
            of the record and its value are appended.
        user: The user that runs the hook.
        timeout: Seconds for one call.
        propagation: Seconds within which all authoritative servers must serve the record.
        challenge: The challenge type of a hook: dns-01 or http-01.
        http_port: The port that a preflight probe connects to; 80 except in tests.
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
    """A deployment target (docs/deploy.md).

    Attributes:
        kind: reload (the server reads the live directory), files, pkcs12 or ssh.
        directory: The directory for files, on this or the other machine. ``{name}`` is replaced by
            the name of the lineage.
        path: The path of the PKCS#12 file.
        password: The secret of the PKCS#12 file.
        alias: The friendly name in the PKCS#12 file.
        legacy: Whether the PKCS#12 file uses 3DES, for Windows Server 2016 and Java 8.
        owner: The owner of written files.
        group: The group of written files.
        mode: The mode of written files, such as ``0640``.
        test: The command that checks the server configuration: an argument list with an absolute
            path.
        reload: The command that reloads the server, in the same form.
        user: The user that runs the commands on this machine.
        timeout: Seconds for each command.
        settle: Seconds after a reload before the next switch. Most reload commands return before
            the server has read its files.
        batch: How many renewed lineages share one test and one reload; 1 for none. The programs of
            a shared reload get all names in CERTMGR_LINEAGES, and no CERTMGR_LINEAGE.
        host: The other machine, for ssh.
        port: The SSH port.
        login: The SSH user.
        key_file: The SSH private key.
        known_hosts: The file with the SSH host keys.
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
    batch: int = 50
    host: str = ""
    port: int = 22
    login: str = ""
    key_file: str = ""
    known_hosts: str = ""


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """Section [acme].

    Attributes:
        directory: The directory for account keys, certificate keys and versions; empty for the
            user's data directory.
        default_account: The account of lineages without one.
        default_solver: The solver of lineages without one.
        default_targets: The deployment targets of lineages without any.
        key_type: The type of new keys.
        profile: The certificate profile of lineages without one.
        at_once: Concurrent orders.
        challenge_seconds: Seconds within which the CA must decide a challenge. After that the order
            is continued later.
        verification_seconds: Seconds within which a deployed certificate must be verified live.
        on_failed_name: Whether a renewal leaves out quarantined names after approval (ask) or
            automatically (auto).
        roll_back: Whether a regression after a deployment restores the version before.
        cas: The tables [acme.ca.NAME].
        solvers: The tables [acme.solver.NAME].
        targets: The tables [acme.target.NAME].
    """

    directory: str = ""
    default_account: str = ""
    default_solver: str = ""
    default_targets: tuple[str, ...] = ()
    key_type: str = "ec-p256"
    profile: str = ""
    at_once: int = 16
    challenge_seconds: float = 300.0
    verification_seconds: float = 120.0
    on_failed_name: str = "ask"
    roll_back: bool = True
    cas: Mapping[str, CaSettings] = field(default_factory=dict)
    solvers: Mapping[str, SolverSettings] = field(default_factory=dict)
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)


# The tables below [acme] by their name in the file: the attribute of AcmeSettings, and the class.
TABLES = {
    "ca": ("cas", CaSettings),
    "solver": ("solvers", SolverSettings),
    "target": ("targets", TargetSettings),
}
TARGETS = ("reload", "files", "pkcs12", "ssh")
# The name stands in rows, messages and commands, so that it needs no quoting anywhere.
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# A number of events per hours (h) or days (d), such as 50/7d.
_LIMIT = re.compile(r"\d{1,7}/\d{1,4}[hd]")


def check(acme: AcmeSettings, key_types: tuple[str, ...]) -> None:
    """Check the values of section [acme].

    Args:
        acme: The section.
        key_types: The valid key types.

    Raises:
        ConfigError: A value is invalid.
    """
    if acme.key_type not in key_types:
        raise ConfigError(
            f"[acme] key_type is '{acme.key_type}'", f"it must be one of {', '.join(key_types)}"
        )
    if acme.directory and not Path(acme.directory).is_absolute():
        raise ConfigError(
            f"[acme] directory is '{acme.directory}'",
            "a relative path would depend on the current directory",
            "Write an absolute path.",
        )
    # Each order is a thread, with a connection and files. CAs limit connections per address as
    # well.
    if not 1 <= acme.at_once <= 200:
        raise ConfigError(f"[acme] at_once is {acme.at_once}", "it must be 1 to 200")
    if acme.on_failed_name not in ("ask", "auto"):
        raise ConfigError(
            f"[acme] on_failed_name is '{acme.on_failed_name}'", "it must be ask or auto"
        )
    for seconds, name in (
        (acme.challenge_seconds, "challenge_seconds"),
        (acme.verification_seconds, "verification_seconds"),
    ):
        # Zero would give up before the first answer; a day is the age at which an order is
        # abandoned.
        if not 1 <= seconds <= 86_400:
            raise ConfigError(f"[acme] {name} is {seconds}", "it must be 1 to 86,400 seconds")
    _check_tables(acme)
    # Found here and not at the first renewal, which may be months away.
    if acme.default_solver and acme.default_solver not in acme.solvers:
        raise ConfigError(
            f"[acme] default_solver is '{acme.default_solver}'",
            f"there is no [acme.solver.{acme.default_solver}]",
        )
    for word in acme.default_targets:
        if word not in acme.targets:
            raise ConfigError(
                f"[acme] default_targets names '{word}'", f"there is no [acme.target.{word}]"
            )


def _check_tables(acme: AcmeSettings) -> None:
    for table, named in (("ca", acme.cas), ("solver", acme.solvers), ("target", acme.targets)):
        for name in named:
            if not _WORD.fullmatch(name):
                raise ConfigError(
                    f"[acme.{table}.{name[:60]}] has an invalid name",
                    "a name consists of lower-case letters, digits, - and _",
                    "Rename the table.",
                )
    # Each table is checked even if no lineage uses it, so that an error is found before a renewal.
    for name, ca in acme.cas.items():
        _ca(f"[acme.ca.{name}]", ca)
    for name, solver in acme.solvers.items():
        _solver(f"[acme.solver.{name}]", solver)
    for name, target in acme.targets.items():
        _target(f"[acme.target.{name}]", target)


def _ca(where: str, ca: CaSettings) -> None:
    if ca.directory and not ca.directory.startswith("https://"):
        raise ConfigError(
            f"{where} directory is not https://",
            "ACME requires HTTPS (RFC 8555 section 6.1)",
            "Write an https:// URL.",
        )
    for name in ("per_domain", "per_set", "per_account", "per_failure"):
        text = getattr(ca, name)
        if text and not _LIMIT.fullmatch(text):
            raise ConfigError(f"{where} {name} is '{text}'", "", "Write 50/7d or 300/3h.")


def _solver(where: str, solver: SolverSettings) -> None:
    """Check what holds for all kinds. The kinds are above this room: check_solvers() there checks
    the kind, and what it requires."""
    # cron and systemd start programs in other directories than a shell.
    if solver.path and not Path(solver.path).is_absolute():
        raise ConfigError(f"{where} path is '{solver.path}'", "it must be an absolute path")
    _commands(where, solver.command)
    for port in (solver.port, solver.http_port):
        if not 0 <= port <= 65535:
            raise ConfigError(f"{where} port is {port}", "it must be 0 to 65535")
    if solver.propagation < 0 or solver.timeout <= 0:
        raise ConfigError(
            f"{where} timeout or propagation is invalid",
            "timeout must be above 0, and propagation 0 or more seconds",
        )


def _target(where: str, target: TargetSettings) -> None:
    if target.kind not in TARGETS:
        raise ConfigError(
            f"{where} kind is '{target.kind}'", f"it must be one of {', '.join(TARGETS)}"
        )
    needs = {
        "reload": ("reload",),
        "files": ("directory",),
        "pkcs12": ("path", "password"),
        "ssh": ("host", "login", "key_file", "known_hosts", "directory"),
    }
    _needs(where, target, needs[target.kind])
    for text in (target.directory, target.path, target.key_file, target.known_hosts):
        if text and not Path(text).is_absolute():
            raise ConfigError(f"{where} has '{text}'", "it must be an absolute path")
    # A zero and three digits: no set-user or sticky bit on a file with a key.
    if target.mode and not re.fullmatch(r"0[0-7]{3}", target.mode):
        raise ConfigError(f"{where} mode is '{target.mode}'", "", 'Write "0640".')
    # The files include the private key, so access for all users is never accepted.
    if target.mode and int(target.mode, 8) & 0o007:
        raise ConfigError(
            f"{where} mode is '{target.mode}'",
            "all users of that machine could read the key",
            'Write "0640".',
        )
    # What the configuration states for this machine has no meaning on the other one.
    if target.kind == "ssh" and (target.user or (target.owner and not target.group)):
        why = (
            "the SSH login runs the commands"
            if target.user
            else "the groups of that machine are unknown here"
        )
        raise ConfigError(
            f"{where} has {'user' if target.user else 'owner without group'}",
            why,
            "Remove user, or add group.",
        )
    # The lock is held meanwhile, so that ten minutes are a bound for a slow server, not a schedule.
    if target.timeout <= 0 or not 0 <= target.settle <= 600 or not 1 <= target.port <= 65535:
        raise ConfigError(
            f"{where} has an invalid timeout, settle or port",
            "timeout must be above 0, settle 0 to 600 seconds, and port 1 to 65535",
        )
    # Each member of a batch that fails its test costs further tests, to find out which one it is.
    if not 1 <= target.batch <= 200:
        raise ConfigError(f"{where} batch is {target.batch}", "it must be 1 to 200")
    _commands(where, target.test)
    _commands(where, target.reload)


def _needs(where: str, settings: TargetSettings, names: tuple[str, ...]) -> None:
    missing = [n for n in names if not getattr(settings, n)]
    if missing:
        raise ConfigError(
            f"{where} lacks {', '.join(missing)}", f"kind {settings.kind} requires it"
        )


def _commands(where: str, command: tuple[str, ...]) -> None:
    if command and not command[0].startswith("/"):
        raise ConfigError(
            f"{where} runs '{command[0][:60]}'",
            "PATH under cron differs from the PATH of your shell",
            "Write the absolute path of the program.",
        )
