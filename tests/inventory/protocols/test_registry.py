"""A protocol is one file: everything else finds what its module declares."""

from __future__ import annotations

from pathlib import Path

from certmgr.cli.inspect.scan import scan
from inventory.protocols import STARTTLS
from inventory.targets import PROTOCOLS
from tests.additions import run_with_module

GOPHER = '''
    """Gopher."""

    from inventory.protocols.dialogue import (
        LOCAL_CLIENT, Dialogue, DialogueClient, DialogueReader, StartTlsProtocol,
    )


    def gopher(client: DialogueClient = LOCAL_CLIENT) -> Dialogue:
        reader = DialogueReader()
        reader.send(b"STARTTLS")
        yield from reader.line()
        return b""


    PROTOCOL = StartTlsProtocol(
        name="gopher",
        ports=(70, 7070),
        dialogue=gopher,
        start="STARTTLS after nothing",
        other_names={"burrow": 7070},
        tls_names={"gophers": 7443},
        tls_ports={7444: "the archive of Gopher"},
    )
'''


def test_each_protocol_is_declared_in_the_module_of_its_name() -> None:
    for name, protocol in STARTTLS.items():
        module = protocol.dialogue.__module__
        assert module == f"inventory.protocols.{name.replace('-', '_')}"


def test_targets_and_help_have_all_protocols() -> None:
    assert ", ".join(PROTOCOLS) in (scan.help or "")
    assert set(STARTTLS) == set(PROTOCOLS) - {"https", "tls"}


def test_new_protocol_is_in_targets_and_the_documentation(tmp_path: Path) -> None:
    shown = run_with_module(
        tmp_path,
        "inventory.protocols",
        "gopher",
        GOPHER,
        """
        from inventory.protocols import STARTTLS
        from inventory.targets import PROTOCOLS, parse
        from tools.doc_tables import with_tables

        for target in ("a.test:70", "a.test/burrow", "a.test/gophers", "a.test:7444"):
            print(parse(target))
        print(next(STARTTLS["gopher"].dialogue()))
        print(*PROTOCOLS)
        print(with_tables("targets.md"))
        """,
    ).splitlines()
    assert shown[:4] == ["a.test:70", "a.test:7070", "a.test:7443", "a.test:7444"]
    assert shown[4] == "b'STARTTLS'"
    assert "gopher" in shown[5].split()
    page = shown[6:]
    assert "| `gopher` | 70, 7070 | STARTTLS after nothing | `burrow` (port 7070) |" in page
    assert "| `gophers` | 7443 |" in page
    assert "| the archive of Gopher | 7444 |" in page


def test_declaration_of_another_type_is_refused(tmp_path: Path) -> None:
    shown = run_with_module(
        tmp_path,
        "inventory.protocols",
        "gopher",
        "PROTOCOL = 'gopher'",
        """
        try:
            import inventory.protocols
        except TypeError as error:
            print(error)
        """,
    )
    assert shown == "inventory.protocols.gopher.PROTOCOL is not a StartTlsProtocol\n"
