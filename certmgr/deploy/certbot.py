"""Reads a certbot installation: accounts, lineages, keys and web roots.

Nothing is written. A broken file is reported as a problem and does not stop the rest.

accounts/SERVER/PATH/ID/    private_key.json (a JWK), regr.json (the account's URL), meta.json
renewal/NAME.conf           like an INI file, with lists and sections in sections live/NAME/*.pem
links into archive/NAME/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from josepy.jwk import JWK, JWKEC, JWKRSA

from certmgr.deploy.certbot_hooks import common_hooks
from certmgr.deploy.client_model import (
    ClientAccount,
    ClientInstallation,
    ClientLineage,
    ClientProblem,
    key_type_of,
)
from certmgr.deploy.lineage import safe_name
from certmgr.x509.bundle import CertificateBundle, build_bundle
from certmgr.x509.key_store import pem
from inventory.certificates import from_pem
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import printable

# Far above any key, chain or configuration; a larger file is not certbot's.
MAX_FILE_SIZE = 1_000_000
MAX_ACCOUNTS = 1000
_DEPTH = 6
# Appended to the renewal configuration of a lineage that is taken over, which certbot then ignores.
DISABLED_SUFFIX = ".certmgr-took-over"
HOOKS = ("pre_hook", "post_hook", "renew_hook")  # renew_hook: the option --deploy-hook of certbot


def read_installation(path: Path, interrupted: Sequence[str] = ()) -> ClientInstallation:
    """Read a certbot directory.

    Args:
        path: The directory, usually /etc/letsencrypt.
        interrupted: Lineages whose takeover was interrupted; their configuration may be disabled.

    Raises:
        UsageError: It is not a directory of certbot.
    """
    # A wrong path would otherwise be reported as an installation without lineages, and as a
    # success.
    if not (path / "renewal").is_dir() and not (path / "accounts").is_dir():
        raise UsageError(
            f"{path} is not certbot's directory",
            "it has neither 'renewal' nor 'accounts'",
            "Give the path of /etc/letsencrypt, or of a copy.",
        )
    problems: list[ClientProblem] = []
    accounts = [
        a
        for p in _account_folders(path / "accounts")
        if (a := _try_read(problems, p, lambda p: _account(path / "accounts", p))) is not None
    ]
    # After a kill between the rename and the end of the takeover, the lineage is still taken over.
    hidden = (path / "renewal" / f"{n}.conf{DISABLED_SUFFIX}" for n in interrupted)
    files = sorted([*(path / "renewal").glob("*.conf"), *(p for p in hidden if p.is_file())])
    lineages = []
    for file in files:
        found = _try_read(problems, file, lambda p: _lineage(path, p))
        if found is not None and _is_switched_off(file):
            # An administrator decided that this certificate ends. certbot does not renew it either,
            # so that it does not prevent the takeover of the others.
            problems.append(ClientProblem(file, _SWITCHED_OFF, ""))
        elif found is not None:
            lineages.append(found)
    return ClientInstallation(path, tuple(accounts), tuple(lineages), tuple(problems))


def _is_switched_off(path: Path) -> bool:
    sections = parse_renewal_config(
        read_regular(path, MAX_FILE_SIZE).decode("utf-8-sig", "replace")
    )
    value = sections.get(("renewalparams",), {}).get("autorenew", "")
    return _text(value).lower() in ("false", "no", "off", "0")


_MUST_STAPLE = (
    "certbot requests the extension must-staple, which certificates that are renewed here do not"
    " have"
)
_SWITCHED_OFF = (
    "certbot does not renew it (autorenew = False), so it is left alone: set autorenew = True to"
    " take it over, or remove it with certbot delete"
)


def _try_read(problems: list[ClientProblem], path: Path, work: Callable[[Path], Any]) -> Any:
    """Return the result of ``work``; add a problem and return None if it fails.

    The files were not written by certmgr and may contain anything, so that any error can occur.
    """
    try:
        return work(path)
    except CertmgrError as error:
        problems.append(_problem(path, str(error)))
    except OSError as error:
        problems.append(_problem(path, error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001, RUF100 - josepy and cryptography raise many kinds
        problems.append(_problem(path, f"it cannot be read ({type(error).__name__})"))
    return None


def _problem(path: Path, reason: str) -> ClientProblem:
    # certbot renews what has a file NAME.conf, whether or not it can be read here.
    return ClientProblem(path, reason, path.stem if path.suffix == ".conf" else "")


def _account_folders(base: Path) -> Iterator[Path]:
    """Yield the folders of accounts.

    Their depth depends on the path of the directory URL. Links are followed, since certbot links
    accounts of one CA. Depth and number are limited, so that a loop of links comes to an end.
    """
    count = 0
    for folder, subfolders, files in os.walk(base, followlinks=True):
        subfolders.sort()
        if len(Path(folder).relative_to(base).parts) >= _DEPTH:
            subfolders.clear()
        if "private_key.json" in files or "regr.json" in files:
            count += 1
            yield Path(folder)
        if count >= MAX_ACCOUNTS:
            return


def _account(base: Path, path: Path) -> ClientAccount:
    registration = json.loads(read_regular(path / "regr.json", MAX_FILE_SIZE))
    uri, body = registration["uri"], registration.get("body") or {}
    contacts = tuple(
        printable(c.removeprefix("mailto:"), 200)
        for c in body.get("contact") or ()
        if c.startswith("mailto:")
    )
    if not isinstance(uri, str) or not uri.startswith("https://"):
        raise UsageError(
            "regr.json contains no account",
            "its uri is not an https:// URL",
            "Restore the file, or remove the account.",
        )
    # The same key is kept, so that the account at the CA stays, with its rate limits and its place
    # in CAA records (accounturi, RFC 8657).
    key = JWK.json_loads(read_regular(path / "private_key.json", MAX_FILE_SIZE).decode())
    if not isinstance(key, JWKRSA | JWKEC):
        raise UsageError(
            "private_key.json does not contain an RSA or EC key",
            "ACME accounts need one",
            "Restore the file, or remove the account.",
        )
    server = "/".join(path.parent.relative_to(base).parts)
    return ClientAccount(path.name, f"https://{server}", uri, pem(key.key), contacts)


def _lineage(base: Path, path: Path) -> ClientLineage:
    # The name becomes part of paths, and a file in certbot's folder can have any name.
    name = safe_name(path.name.removesuffix(DISABLED_SUFFIX).removesuffix(".conf"))
    sections = parse_renewal_config(
        read_regular(path, MAX_FILE_SIZE).decode("utf-8-sig", "replace")
    )
    top, values = sections.get((), {}), sections.get(("renewalparams",), {})
    live = base / "live" / name
    # A lineage that was moved names its files in the configuration.
    if not live.is_dir() and "cert" in top:
        live = Path(_text(top["cert"])).parent
    bundle = read_bundle(live)
    return ClientLineage(
        name=name,
        names=bundle.leaf.names,
        key_type=key_type_of(bundle),
        authenticator=_text(values.get("authenticator", "")),
        webroots=_webroots(sections, bundle),
        directory_url=_text(values.get("server", "")),
        account_id=_text(values.get("account", "")),
        reuse_key=_text(values.get("reuse_key", "")).lower() == "true",
        preferred_chain=_text(values.get("preferred_chain", "")),
        profile=_text(values.get("preferred_profile", ""))
        or _text(values.get("required_profile", "")),
        hooks=_hooks(base, values),
        live=live,
        bundle=bundle,
        configuration=path.with_name(f"{name}.conf"),
        remarks=(_MUST_STAPLE,) if _text(values.get("must_staple", "")) == "True" else (),
    )


def _hooks(base: Path, values: Mapping[str, Value]) -> dict[str, str]:
    """Return all that certbot runs for a lineage, none of which runs after a takeover."""
    own = {h: _text(values[h]) for h in HOOKS if values.get(h) not in (None, "", "None")}
    installer = _text(values.get("installer", ""))
    # The plugin of a web server reloads it after a renewal, without any hook.
    reload = {"installer": f"{installer} reloads the server"} if installer else {}
    return own | reload | common_hooks(base)


def read_bundle(live: Path) -> CertificateBundle:
    """Read the key and chain that the links of ``live`` lead to now.

    Raises:
        CertmgrError: They do not belong together, or there is no certificate.
        OSError: A file cannot be read.
    """
    key, chain = (
        read_regular(live / "privkey.pem", MAX_FILE_SIZE),
        read_regular(live / "fullchain.pem", MAX_FILE_SIZE),
    )
    try:
        return build_bundle(key, [c.der for c in from_pem(chain)])
    except ValueError:
        raise CertmgrError(
            f"{live / 'fullchain.pem'} contains no certificate",
            "it has no valid PEM block",
            "Restore the file, or issue the certificate again with certbot.",
        ) from None


def _webroots(
    sections: Mapping[tuple[str, ...], Mapping[str, Value]], bundle: CertificateBundle
) -> dict[str, str]:
    """Return name -> web root.

    They come from [[webroot_map]]. As in certbot, other names get the last path of webroot_path.
    """
    mapped = {k: _text(v) for k, v in sections.get(("renewalparams", "webroot_map"), {}).items()}
    paths = sections.get(("renewalparams",), {}).get("webroot_path", ())
    last = paths if isinstance(paths, str) else paths[-1] if paths else ""
    return mapped | ({n: last for n in bundle.leaf.names if n not in mapped} if last else {})


_SECTION = re.compile(r"(\[+)([^\[\]]+)(\]+)(?:\s*#.*)?")
Value = str | tuple[str, ...]
_TRIPLE = ('"""', "'''")
# Marks a value that is taken as it is; no file of text has this character.
_WHOLE = "\uffff"


def _text(value: Value) -> str:
    """Return a value as one text. Certbot writes "None" for a missing one."""
    text = value if isinstance(value, str) else value[0] if value else ""
    return "" if text == "None" else text


def parse_renewal_config(text: str) -> dict[tuple[str, ...], dict[str, Value]]:
    """Parse a file that certbot wrote with ConfigObj.

    Such a file has sections ``[a]``, subsections ``[[b]]``, quoted values, and lists with commas.

    Returns:
        Path of the section -> key -> value.

    Raises:
        UsageError: A line is invalid.
    """
    sections: dict[tuple[str, ...], dict[str, Value]] = {(): {}}
    section: tuple[str, ...] = ()
    for number, line in _joined_lines(text):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            header = _SECTION.fullmatch(line)
            depth = len(header[1]) if header is not None else 0
            if header is None or depth != len(header[3]) or depth > len(section) + 1:
                raise UsageError(
                    f"Line {number} is not a section header",
                    printable(line, 80),
                    "Correct the line in certbot's configuration.",
                )
            name = header[2].strip().strip("'\"")
            section = (*section[: depth - 1], name)
            sections.setdefault(section, {})
            continue
        key, equals, value = line.partition("=")
        # Three quotation marks are still there if the value does not end.
        if not equals or value.strip().startswith(_TRIPLE):
            raise UsageError(
                f"Line {number} is not 'name = value'",
                printable(line, 80),
                "Correct the line in certbot's configuration.",
            )
        sections[section][key.strip().strip("'\"")] = _value(value.strip())
    return sections


def _joined_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text), with a value in three quotation marks as a value in one.

    ConfigObj writes a value so that has both kinds of quotation marks, such as a hook, or several
    lines.
    """
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number].strip()
        number += 1
        key, equals, value = line.partition("=")
        mark = value.strip()[:3]
        if not equals or line.startswith("#") or mark not in _TRIPLE:
            yield first, line
            continue
        rest = value.strip()[3:]
        while mark not in rest and number < len(lines):
            rest += "\n" + lines[number]
            number += 1
        inner, end, _ = rest.partition(mark)
        yield first, f"{key}={_WHOLE}{inner}" if end else line


def _value(text: str) -> Value:
    """Parse a value: a quoted or plain text, or a list with commas."""
    if text.startswith(_WHOLE):
        return text.removeprefix(_WHOLE)
    parts: list[str] = []
    rest, is_list = text, False
    while rest:
        if rest[0] in "'\"" and (end := rest.find(rest[0], 1)) > 0:
            part, rest = rest[1:end], rest[end + 1 :].lstrip()
        else:
            cut = min((i for i in (rest.find(","), rest.find(" #")) if i >= 0), default=len(rest))
            part, rest = rest[:cut].strip(), rest[cut:].lstrip()
        parts.append(part)
        if not rest.startswith(","):  # the rest is a comment
            break
        is_list, rest = True, rest[1:].lstrip()
    return tuple(parts) if is_list else (parts[0] if parts else "")
