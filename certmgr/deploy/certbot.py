"""What a certbot that was here before knows: accounts, lineages, keys, web roots.

Read only; one broken file is a problem and does not stop the rest.

accounts/SERVER/PATH/ID/    private_key.json (a JWK), regr.json (the account's URL), meta.json
renewal/NAME.conf           like an INI file, with lists and sections in sections live/NAME/*.pem
links into archive/NAME/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from josepy.jwk import JWK, JWKEC, JWKRSA

from certmgr.deploy.lineage import safe_name
from certmgr.x509.bundle import CertificateBundle, checked
from certmgr.x509.key_store import pem
from inventory.certificates import from_pem
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular
from inventory.text import printable

LIMIT = 1_000_000
MAX_ACCOUNTS = 1000
_DEPTH = 6
HOOKS = ("pre_hook", "post_hook", "renew_hook")  # renew_hook: what certbot calls --deploy-hook


@dataclass(frozen=True, slots=True)
class CertbotAccount:
    """``key_pem``: PKCS#8, unencrypted.

    ``uri``: at the CA. ``contacts``: mail addresses; newer versions of certbot keep none.
    """

    id: str
    directory_url: str
    uri: str
    key_pem: bytes = field(repr=False)
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CertbotLineage:
    """``key_type``: a word such as ec-p256.

    ``webroots``: name -> folder. ``hooks``: which of certbot's hooks there are -> their shell text,
    to be shown and never run.
    """

    name: str
    names: tuple[str, ...]
    key_type: str
    authenticator: str
    webroots: Mapping[str, str]
    directory_url: str
    account_id: str
    reuse_key: bool
    preferred_chain: str
    profile: str
    hooks: Mapping[str, str]
    live: Path
    material: CertificateBundle


@dataclass(frozen=True, slots=True)
class CertbotProblem:
    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class CertbotInstallation:
    path: Path
    accounts: tuple[CertbotAccount, ...]
    lineages: tuple[CertbotLineage, ...]
    problems: tuple[CertbotProblem, ...]

    def account_of(self, lineage: CertbotLineage) -> CertbotAccount | None:
        """The same account may stand under two servers (certbot links them): the lineage says
        which.
        """
        found = [a for a in self.accounts if a.id == lineage.account_id]
        return next(
            (a for a in found if a.directory_url == lineage.directory_url),
            found[0] if found else None,
        )


def read(path: Path) -> CertbotInstallation:
    """``path``: usually /etc/letsencrypt.

    Raises :class:`UsageError` where that is no folder of certbot's.
    """
    if not (path / "renewal").is_dir() and not (path / "accounts").is_dir():
        raise UsageError(
            f"{path} is not certbot's directory",
            "it has neither 'renewal' nor 'accounts'",
            "Name /etc/letsencrypt, or a copy of it.",
        )
    problems: list[CertbotProblem] = []
    accounts = [
        a
        for p in _account_folders(path / "accounts")
        if (a := _tried(problems, p, lambda p: _account(path / "accounts", p))) is not None
    ]
    files = sorted((path / "renewal").glob("*.conf"))
    lineages = [
        found
        for p in files
        if (found := _tried(problems, p, lambda p: _lineage(path, p))) is not None
    ]
    return CertbotInstallation(path, tuple(accounts), tuple(lineages), tuple(problems))


def _tried(problems: list[CertbotProblem], path: Path, work: Callable[[Path], Any]) -> Any:
    """None and a problem where it cannot be read.

    Its content is certbot's, or anybody's: every error is only a sentence.
    """
    try:
        return work(path)
    except CertmgrError as error:
        problems.append(CertbotProblem(path, str(error)))
    except OSError as error:
        problems.append(CertbotProblem(path, error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001, RUF100 - josepy and cryptography raise many kinds
        problems.append(CertbotProblem(path, f"it cannot be read ({type(error).__name__})"))
    return None


# -- accounts


def _account_folders(base: Path) -> Iterator[Path]:
    """Folders with a key, some levels below: the path of the directory URL has as many as it has.

    Links are followed, as certbot makes them.
    """
    count = 0
    for place, folders, files in os.walk(base, followlinks=True):
        folders.sort()
        if len(Path(place).relative_to(base).parts) >= _DEPTH:
            folders.clear()
        if "private_key.json" in files or "regr.json" in files:
            count += 1
            yield Path(place)
        if count >= MAX_ACCOUNTS:
            return


def _account(base: Path, path: Path) -> CertbotAccount:
    registration = json.loads(read_regular(path / "regr.json", LIMIT))
    uri, body = registration["uri"], registration.get("body") or {}
    contacts = tuple(
        printable(c.removeprefix("mailto:"), 200)
        for c in body.get("contact") or ()
        if c.startswith("mailto:")
    )
    if not isinstance(uri, str) or not uri.startswith("https://"):
        raise UsageError("regr.json names no account", "its uri is no https:// URL")
    key = JWK.json_loads(read_regular(path / "private_key.json", LIMIT).decode())
    if not isinstance(key, JWKRSA | JWKEC):
        raise UsageError("private_key.json is no RSA or EC key")
    server = "/".join(path.parent.relative_to(base).parts)
    return CertbotAccount(path.name, f"https://{server}", uri, pem(key.key), contacts)


# -- lineages


def _lineage(base: Path, path: Path) -> CertbotLineage:
    name = safe_name(path.stem)
    sections = parse(read_regular(path, LIMIT).decode("utf-8", "replace"))
    top, values = sections.get((), {}), sections.get(("renewalparams",), {})
    live = base / "live" / name
    if not live.is_dir() and "cert" in top:
        live = Path(_text(top["cert"])).parent
    material = read_material(live)
    return CertbotLineage(
        name=name,
        names=material.leaf.names,
        key_type=_key_type(material),
        authenticator=_text(values.get("authenticator", "")),
        webroots=_webroots(sections, material),
        directory_url=_text(values.get("server", "")),
        account_id=_text(values.get("account", "")),
        reuse_key=_text(values.get("reuse_key", "")).lower() == "true",
        preferred_chain=_text(values.get("preferred_chain", "")),
        profile=_text(values.get("preferred_profile", "") or values.get("required_profile", "")),
        hooks={h: _text(values[h]) for h in HOOKS if values.get(h) not in (None, "", "None")},
        live=live,
        material=material,
    )


def _key_type(material: CertificateBundle) -> str:
    """As in [acme] key_type."""
    return material.leaf.key.lower().replace("p-", "p").replace(" ", "-")


def read_material(live: Path) -> CertificateBundle:
    """Key and chain as the links of ``live`` have them now. Raises :class:`CertmgrError`."""
    key, chain = (
        read_regular(live / "privkey.pem", LIMIT),
        read_regular(live / "fullchain.pem", LIMIT),
    )
    try:
        return checked(key, [c.der for c in from_pem(chain)])
    except ValueError:
        raise CertmgrError(f"{live / 'fullchain.pem'} holds no certificate") from None


def _webroots(
    sections: Mapping[tuple[str, ...], Mapping[str, Value]], material: CertificateBundle
) -> dict[str, str]:
    """[[webroot_map]]; names that it does not have get the last of webroot_path, as certbot does
    it.
    """
    mapped = {k: _text(v) for k, v in sections.get(("renewalparams", "webroot_map"), {}).items()}
    paths = sections.get(("renewalparams",), {}).get("webroot_path", ())
    last = paths if isinstance(paths, str) else paths[-1] if paths else ""
    return mapped | ({n: last for n in material.leaf.names if n not in mapped} if last else {})


_SECTION = re.compile(r"(\[+)([^\[\]]+)(\]+)(?:\s*#.*)?")
Value = str | tuple[str, ...]


def _text(value: Value) -> str:
    text = value if isinstance(value, str) else value[0] if value else ""
    return "" if text == "None" else text


def parse(text: str) -> dict[tuple[str, ...], dict[str, Value]]:
    """Section path -> key -> value of a file that ConfigObj wrote: ``[a]``, ``[[b]]`` inside it,
    quoted values, lists with commas. Raises :class:`UsageError`.
    """
    sections: dict[tuple[str, ...], dict[str, Value]] = {(): {}}
    where: tuple[str, ...] = ()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            found = _SECTION.fullmatch(line)
            depth = len(found[1]) if found is not None else 0
            if found is None or depth != len(found[3]) or depth > len(where) + 1:
                raise UsageError(f"Line {number} is no section", printable(line, 80))
            name = found[2].strip().strip("'\"")
            where = (*where[: depth - 1], name)
            sections.setdefault(where, {})
            continue
        key, equals, value = line.partition("=")
        if not equals or value.strip().startswith(('"""', "'''")):
            raise UsageError(f"Line {number} is not 'name = value'", printable(line, 80))
        sections[where][key.strip().strip("'\"")] = _value(value.strip())
    return sections


def _value(text: str) -> Value:
    parts: list[str] = []
    rest, is_list = text, False
    while rest:
        if rest[0] in "'\"" and (end := rest.find(rest[0], 1)) > 0:
            part, rest = rest[1:end], rest[end + 1 :].lstrip()
        else:
            cut = min((i for i in (rest.find(","), rest.find(" #")) if i >= 0), default=len(rest))
            part, rest = rest[:cut].strip(), rest[cut:].lstrip()
        parts.append(part)
        if not rest.startswith(","):  # what follows is a comment
            break
        is_list, rest = True, rest[1:].lstrip()
    return tuple(parts) if is_list else (parts[0] if parts else "")
