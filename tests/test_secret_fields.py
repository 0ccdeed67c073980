"""Values with a secret do not show it: they may be part of a log line or an error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SECRET = re.compile(r"(^|_)(secret|password|passphrase|token|key_pem|private_key)(_|$)")
_SECRET_FIELD = re.compile(r"^ +\w*(secret|password|passphrase|token|key)\w*: (str|bytes)", re.M)
# Names that look like those of secrets, each with the reason why its value is none.
_PUBLIC = {
    "AuditSettings.passphrase": "a reference (env:NAME, file:PATH)",
    "CasesSettings.passphrase": "a reference (env:NAME, file:PATH)",
    "ChallengeProof.token": "the CA publishes it, and a web server shows it",
    "SolverSettings.tsig_secret": "a reference (env:NAME, file:PATH)",
    "TargetSettings.password": "a reference (env:NAME, file:PATH)",
}


def _classes() -> Iterator[ast.ClassDef]:
    """Yield the dataclasses of the program."""
    for package in ("certmgr", "inventory", "notifiers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            # Most files have no such name, and parsing takes time.
            nodes = ast.parse(text).body if _SECRET_FIELD.search(text) else []
            for node in nodes:
                if isinstance(node, ast.ClassDef) and any(
                    "dataclass" in ast.unparse(d) for d in node.decorator_list
                ):
                    yield node


def test_representation_of_a_value_has_no_field_with_a_secret() -> None:
    shown = {
        f"{found.name}.{field.target.id}"
        for found in _classes()
        for field in found.body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and _SECRET.search(field.target.id)
        and re.match("str|bytes", ast.unparse(field.annotation))
        and "repr=False" not in ast.unparse(field)
    }
    assert shown == set(_PUBLIC)
