"""Each command that takes the name of a record suggests what may be meant if there is none.

The commands are read from the tree that shell completion uses, so that a new one is tested too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certmgr.cli.guidance.completing import tree
from certmgr.demo.authority import Authority
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_account, add_lineage
from tests.program import Ran

Runner = Callable[..., Ran]
# Kind of an argument -> what is typed, and what is suggested.
TYPED = {
    "client": ("autohuas", "10004"),
    "domain": ("shop.autohuas.example", "shop.autohaus.example"),
    "server": ("web-frankfrut", "web-frankfurt"),
    "code": ("certificate-expird", "certificate-expired"),
    "lineage": ("autohuas-shop", "autohaus-shop"),
    "tag": ("importent", "important"),
    "case": ("shop.autohaus", "CM-"),
}
# The kinds of arguments that completion does not know, by the command and the parameter.
OTHER = {
    "account show": ("acount-1", "account-1"),
    "contact show": ("Nguyn", "Nguyen"),
    "contact retire": ("Nguyn", "Nguyen"),
    "contact edit --name X": ("Nguyn", "Nguyen"),
    "purchase show": ("D-78", "id:1"),
    "purchase cancel --reason X": ("shop.autohaus", "id:1"),
    "purchase renew": ("D-78", "id:1"),
    "purchase edit --note X": ("D-78", "id:1"),
    "case open 10004 --purchase": ("D-78", "id:1"),
    "deadline retire": ("htps-2027", "https-2027"),
    "deadline edit --title X": ("htps-2027", "https-2027"),
    "compliance --deadline": ("htps-2027", "https-2027"),
    "notice broadcast --deadline": ("htps-2027", "https-2027"),
    "trust show": ("sever-auth-only", "server-auth-only"),
    "explain": ("certificate-expird", "certificate-expired"),
    "help": ("reprots", "reports"),
    "notify --explain": ("shop.autohuas.example", "shop.autohaus.example"),
    "contact list --client": ("autohuas", "10004"),
}
# What a command needs in addition, so that it reaches the name.
NEEDS = {
    "case approve": ("--by", "X", "--how", "mail"),
    "case assign": ("--by", "X"),
    "case cancel": ("--reason", "X"),
    "case decline": ("--reason", "X"),
    "case note": ("text",),
    "case package": ("--output", "/nonexistent/p.zip"),
    "case receive": ("certificate.pem",),
    "case reopen": ("--reason", "X"),
    "case window": ("2027-01-04T10:00",),
    "client edit": ("--note", "X"),
    "client erase": ("--yes",),
    "contact add --client": ("Name",),
    "domain add --client": ("new.example",),
    "domain add --server": ("new.example", "--client", "10004"),
    "domain edit": ("--note", "X"),
    "domain edit --client": ("shop.autohaus.example",),
    "domain edit --server": ("shop.autohaus.example",),
    "endpoint add --domain": ("x.autohaus.example:8443",),
    "endpoint edit": ("--port", "8443"),
    "finding accept": ("--until", "2027-01-04", "--reason", "X", "--everywhere"),
    "finding assign": ("--until", "2027-01-04", "--by", "X", "--everywhere"),
    **{
        f"finding {verb} --{scope}": ("key-weak", "--until", "2027-01-04", *why)
        for scope in ("client", "domain", "server")
        for verb, why in (("accept", ("--reason", "X")), ("assign", ("--by", "X")))
    },
    "forecast --client": ("--until", "2027-01-04"),
    "import --client": ("--from", "names", "names.txt"),
    "incident open --server": ("--until", "2027-01-04", "--cause", "server-lost", "--reason", "X"),
    "issue --client": ("x.autohaus.example",),
    "lineage edit": ("--profile", "x"),
    "notice broadcast --tag": ("--template", "announcement", "--deadline", "https-2027"),
    "notice snooze": ("--until", "2027-01-04", "--reason", "X"),
    "purchase billing --client": ("--month", "2026-11"),
    "purchase add": ("--vendor", "V", "--name", "shop.autohaus.example"),
    "revoke": ("--yes", "--reason", "superseded"),
    "server edit": ("--note", "X"),
    "client add --reseller": ("2", "Two"),
    "client edit --reseller": ("10004",),
    "deadline add --client": ("new", "--date", "2027-01-04", "--rule", "https-only"),
    "deadline edit --client": ("https-2027",),
}
# A tag that does not exist is made; targets need not be in the inventory.
NEW = {"diagnose", "scan", "issue", "lineage adopt"}
"""Commands whose argument is new, or is any host."""


def calls() -> Iterator[tuple[str, ...]]:
    """Yield a call per command and parameter, and what it must suggest."""
    for path, node in tree().items():
        if path.startswith("zone "):
            continue  # it needs PostgreSQL: test_zones.py
        for argument in node["arguments"]:
            if argument.get("kind") in TYPED and path not in NEW:
                typed, meant = TYPED[argument["kind"]]
                yield (meant, *path.split(), typed, *NEEDS.get(path, ()))
                break
        for name, option in node["options"].items():
            kind = option.get("kind")
            if path == "import" and kind == "server":
                continue  # an import adds the server that it names
            if kind == "tag" and path.split()[-1] in ("add", "edit"):
                continue
            if kind in TYPED:
                typed, meant = TYPED[kind]
                extra = NEEDS.get(f"{path} {name}", NEEDS.get(path, ()))
                yield (meant, *path.split(), name, typed, *extra)
    for words, (typed, meant) in OTHER.items():
        yield (meant, *words.split(), typed)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory with one record of each kind."""
    return tmp_path_factory.mktemp("suggestions") / "inventory.db"


@pytest.fixture
def filled(certmgr: Runner, database: Path, issuer: Authority) -> Runner:
    """The inventory, with a certificate and a list of names in its folder."""

    def run(*words: str) -> Ran:
        paths = (str(database.parent / w) if w.endswith((".pem", ".txt")) else w for w in words)
        return certmgr("--database", str(database), *paths)

    if not database.exists():
        (database.parent / "names.txt").write_text("new.example\n")
        chain = issuer.issue("shop.autohaus.example").chain_pem
        (database.parent / "certificate.pem").write_bytes(chain)
        for words in (
            ("client", "add", "10004", "Autohaus Nguyen", "--tag", "important"),
            ("server", "add", "web-frankfurt", "--address", "192.0.2.1"),
            ("domain", "add", "shop.autohaus.example", "--client", "10004"),
            ("contact", "add", "Nguyen", "--client", "10004", "--method", "phone:+49 30 1"),
            (
                "purchase",
                "add",
                "10004",
                "--vendor",
                "V",
                "--number",
                "D-77",
                "--name",
                "shop.autohaus.example",
            ),
            ("case", "open", "10004", "shop.autohaus.example"),
            ("deadline", "add", "https-2027", "--date", "2027-07-01", "--rule", "https-only"),
        ):
            ran = run(*words)
            assert ran.code == 0, (words, ran.err)
        with open_sqlite(database, "Ada").write() as tx:
            account = add_account(tx, "account-1")
            add_lineage(tx, "autohaus-shop", "10004", account, "shop.autohaus.example")
    return run


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: " ".join(call[1:]))
def test_command_suggests_what_may_be_meant(filled: Runner, call: tuple[str, ...]) -> None:
    meant, *words = call
    ran = filled(*words)
    # A monitoring plug-in writes one line to standard output, and exits with 3.
    code, text = (3, ran.out) if words[0] == "check" else (2, ran.err)
    assert ran.code == code, (ran.out, ran.err)
    assert meant in text, text
    assert "Did you mean" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "suggested"),
    [(("stauts",), "'status'"), (("repotr", "--all"), "'report'"), (("client", "lst"), "'list'")],
)
def test_misspelt_command_is_suggested(
    certmgr: Runner, words: tuple[str, ...], suggested: str
) -> None:
    ran = certmgr(*words)
    assert ran.code == 2
    assert "Did you mean" in ran.err and suggested in ran.err
    assert "Did you mean" not in certmgr("xyzzy").err
