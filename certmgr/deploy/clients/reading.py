"""What the readers of other clients share. Files are hostile: sizes and numbers are bounded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from certmgr.deploy.client_model import (
    ClientLineage,
    ClientProblem,
    ServedFile,
    key_type_of,
)
from certmgr.deploy.clients.pem_files import certificates_in, content_of, key_in
from certmgr.deploy.lineage import safe_name
from certmgr.x509.bundle import CertificateBundle, build_bundle
from certmgr.x509.key_store import pem
from certmgr.x509.private_keys import load_pem
from inventory.errors import CertmgrError, InvalidName, UsageError
from inventory.files import read_regular
from inventory.names import certificate_name
from inventory.text import printable

# Keys, chains and configurations have some thousand bytes.
MAX_FILE = 1_000_000
# A provider has thousands on one machine; a folder with more is not that of a client.
MAX_LINEAGES = 10_000
# Renewal configuration with this suffix is not seen by its client.
DISABLED_SUFFIX = ".certmgr-took-over"
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLAIN = re.compile(r"([^\s'\";&|]+)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


def attempt(problems: list[ClientProblem], path: Path, work: Callable[[], Any], name: str) -> Any:
    """Return the result of ``work``; add a problem and return None if it fails.

    Args:
        problems: The list of problems.
        path: The file that is blamed.
        work: Reads it.
        name: The lineage that the client may still renew; empty for other files.
    """
    try:
        return work()
    except CertmgrError as error:
        problems.append(ClientProblem(path, str(error), name))
    except OSError as error:
        problems.append(ClientProblem(path, error.strerror or str(error), name))
    # What the parsers of JSON, PEM and keys raise on a damaged file. It is one file of many.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        problems.append(ClientProblem(path, "it cannot be read: its content is damaged", name))
    return None


def text_of(path: Path) -> str:
    """Return the text of a regular file of bounded size."""
    data = read_regular(path, MAX_FILE)
    if len(data) > MAX_FILE:
        raise UsageError(f"{path} is too large", f"more than {MAX_FILE:,} bytes", "Check the file.")
    return data.decode("utf-8-sig", "replace")


def lineage_name(text: str) -> str:
    """Return the name of a client's certificate as the name of a lineage, safe in paths.

    Raises:
        UsageError: It is not safe.
    """
    # acme.sh and dehydrated name folders as the administrator typed the domain, also by U-labels.
    if not text.isascii():
        with contextlib.suppress(InvalidName, UnicodeError):
            text = certificate_name(text)
    # As the names of new lineages, an IPv6 address has hyphens here.
    return safe_name(text.replace("*", "_").replace(":", "-"))


def named_folder(
    problems: list[ClientProblem], file: Path, name: str, value: str, default: Path
) -> Path:
    """Return the folder that a configuration names.

    If it does not exist, that is a problem, and the default is returned: after a move to another
    machine or home, the files stand there.

    Args:
        problems: The list of problems.
        file: The configuration.
        name: The variable.
        value: Its value; empty for the default.
        default: The folder without the variable.
    """
    folder = Path(value) if value else default
    if folder == default or folder.is_dir():
        return folder
    reason = f"{name} names {printable(value, 200)}, which does not exist; {default} is read"
    problems.append(ClientProblem(file, reason))
    return default


def account_key(path: Path) -> bytes:
    """Return the key of an account as unencrypted PKCS#8.

    Raises:
        CertmgrError: The file holds no key that can be read.
    """
    # Clients write their keys with headers of several formats, and some with parameters before
    # them.
    key = key_in(read_regular(path, MAX_FILE))
    try:
        return pem(load_pem(key or b""))
    except (ValueError, TypeError):
        raise UsageError(
            f"{path} holds no account key",
            "it is not an unencrypted PEM key",
            "Restore the file, or name an account of the inventory with --account.",
        ) from None


def read_bundle(key: Path | None, *certificates: Path) -> CertificateBundle:
    """Return the key and chain of a certificate.

    Args:
        key: The file of the key; None if it is not here.
        certificates: Files with the leaf first, then its chain; missing files are left out.

    Raises:
        CertmgrError: They do not belong together, or there is no certificate.
    """
    chain: list[bytes] = []
    for path in certificates:
        if path.is_file():
            found = certificates_in(read_regular(path, MAX_FILE))
            # Some clients write the chain into several files, which overlap.
            chain += [der for der in found if der not in chain]
    key_pem = None
    if key is not None and key.is_file():
        key_pem = key_in(read_regular(key, MAX_FILE))
    if not chain:
        raise UsageError(
            "There is no certificate yet",
            f"{printable(str(certificates[0]), 300)} has no valid PEM block",
            "Issue it with the other client first, or delete it there.",
        )
    return build_bundle(key_pem, chain)


def served(paths: Sequence[Path], bundle: CertificateBundle) -> tuple[ServedFile, ...]:
    """Return what the existing ones of ``paths`` hold."""
    result = []
    for path in dict.fromkeys(paths):
        if path.is_file():
            try:
                content = content_of(read_regular(path, MAX_FILE), bundle)
            except CertmgrError:
                content = ""
            result.append(ServedFile(path, content))
        # A link that leads nowhere is an objection, and not a file that does not exist.
        elif path.is_symlink():
            result.append(ServedFile(path, ""))
    return tuple(result)


def lineage(
    name: str,
    bundle: CertificateBundle,
    *,
    live: Path,
    configuration: Path,
    files: Sequence[Path] = (),
    authenticator: str = "",
    directory_url: str = "",
    account_id: str = "",
    reuse_key: bool = False,
    preferred_chain: str = "",
    profile: str = "",
    hooks: dict[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> ClientLineage:
    """Return a lineage from what all readers know."""
    return ClientLineage(
        name=name,
        names=bundle.leaf.names,
        key_type=key_type_of(bundle),
        authenticator=printable(authenticator, 200),
        webroots={},
        directory_url=directory_url,
        account_id=account_id,
        reuse_key=reuse_key,
        preferred_chain=preferred_chain,
        profile=profile,
        hooks={k: printable(v, 300) for k, v in (hooks or {}).items() if v},
        live=live,
        bundle=bundle,
        files=served(files, bundle),
        configuration=configuration,
        remarks=tuple(printable(r, 500) for r in remarks),
    )


def shell_assignments(text: str, known: dict[str, str] | None = None) -> dict[str, str]:
    """Return the plain assignments of a shell file, without running it.

    ``${NAME}`` and ``$NAME`` of earlier assignments are replaced. A value with a command or an
    expression is left out, because only the shell could compute it.

    Args:
        text: The text of the file.
        known: Variables that are set before.
    """
    values = dict(known or {})
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            continue
        value = _shell_value(match[2], values)
        # An earlier value of the variable does not hold any more, although the new one is unknown.
        if value is None:
            values.pop(match[1], None)
        else:
            values[match[1]] = value
    return values


def _shell_value(text: str, known: dict[str, str]) -> str | None:
    """Return a value without quotes and comment; None if only a shell can compute it."""
    result, rest = "", text
    while rest and not rest[0].isspace() and rest[0] not in ";&|":
        if rest[0] == "'":
            end = rest.find("'", 1)
            if end < 0:
                return None
            result, rest = result + rest[1:end], rest[end + 1 :]
            continue
        pattern = _QUOTED if rest[0] == '"' else _PLAIN
        if (found := pattern.match(rest)) is None:
            return None  # a quotation that does not end
        part, rest = found[1], rest[found.end() :]
        # An unknown variable is empty, as in a shell without "set -u".
        part = _VARIABLE.sub(lambda m: known.get(m[1] or m[2], ""), part)
        if "`" in part or "$" in part:
            return None
        result += re.sub(r"\\(.)", r"\1", part)
    return result
