"""``certmgr audit export`` and ``verify``, and the program of the documentation."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.campaign import PATIENCE
from tests.certmgr.installation import Installation
from tests.program import Ran

PROGRAM = Path(__file__).parents[4] / "docs" / "verify_audit.py"
PUBLIC = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def run_program(file: Path, key: Path) -> tuple[int, str]:
    """Run the program of the documentation without this project on its path."""
    done = subprocess.run(
        [sys.executable, "-I", PROGRAM, file, key], capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout + done.stderr


def write_key(path: Path, password: bytes = b"") -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(*PUBLIC))
    return key


@pytest.fixture
def exported(installation: Installation, tmp_path: Path) -> Path:
    """A signed export; its keys are audit.key and audit.pub in the same folder."""
    write_key(tmp_path / "audit.key")
    file = tmp_path / "audit.jsonl"
    installation.run(
        "audit", "export", "--sign", str(tmp_path / "audit.key"), "--output", str(file)
    )
    return file


def test_signed_export_is_valid_for_certmgr_and_for_the_program_of_the_documentation(
    installation: Installation, exported: Path
) -> None:
    key = exported.with_name("audit.pub")
    head = installation.run("audit", "verify").out.split()[-1]
    out = installation.run("audit", "verify", str(exported), "--key", str(key)).out
    assert head in out and "The signature is valid" in out
    code, text = run_program(exported, key)
    assert code == 0 and head in text
    lines = exported.read_bytes().splitlines()
    assert len(lines) == int(text.split()[0]) + 2
    assert len(PROGRAM.read_text().splitlines()) < 65


def _edit(
    number: int, change: Callable[[dict[str, object]], object]
) -> Callable[[list[bytes]], None]:
    def edit(lines: list[bytes]) -> None:
        values = json.loads(lines[number])
        change(values)
        lines[number] = json.dumps(values).encode()

    return edit


CHANGES: dict[str, tuple[Callable[[list[bytes]], object], str]] = {
    "actor": (_edit(2, lambda v: v.update(actor="x")), "entry 2 does not follow"),
    "detail": (_edit(3, lambda v: v.update(detail="{}")), "entry 3 does not follow"),
    "own hash": (_edit(2, lambda v: v.update(hash="0" * 64)), "entry 2 does not follow"),
    "nested detail": (_edit(2, lambda v: v.update(detail=[[1]])), "entry 2 does not follow"),
    "removed": (lambda lines: lines.pop(2), "entry 3 does not follow"),
    "repeated": (lambda lines: lines.insert(2, lines[2]), "entry 2 does not follow"),
    "swapped": (lambda lines: lines.insert(2, lines.pop(3)), "entry 3 does not follow"),
    "first removed": (lambda lines: lines.pop(1), "entry 2 does not follow"),
    "last removed": (lambda lines: lines.pop(-2), ""),
    "cut": (lambda lines: lines.pop(), "without its seal"),
    "extended": (lambda lines: lines.append(lines[1]), "after"),
    "id": (_edit(2, lambda v: v.update(id=77)), ""),
    "time of the export": (_edit(-1, lambda v: v.update(exported_at="2020-01-01T00:00:00Z")), ""),
    "no signature": (_edit(-1, lambda v: v.update(signature=None)), "signature"),
    "other signature": (_edit(-1, lambda v: v.update(signature="00" * 64)), "signature"),
    "odd signature": (_edit(-1, lambda v: v.update(signature="zz")), ""),
    "other schema": (_edit(0, lambda v: v.update(schema="x/1")), "no export"),
    "not JSON": (lambda lines: lines.insert(2, b"\xff{" * 50), ""),
    "deep": (lambda lines: lines.insert(2, b"[" * 200_000), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_export_is_refused_with_the_first_broken_entry(
    installation: Installation, exported: Path, name: str
) -> None:
    change, reason = CHANGES[name]
    key = exported.with_name("audit.pub")
    lines = exported.read_bytes().splitlines()
    change(lines)
    exported.write_bytes(b"\n".join(lines) + b"\n")
    error = installation.run("audit", "verify", str(exported), "--key", str(key), expect=3).err
    assert reason in error and "Traceback" not in error and "internal error" not in error
    code, text = run_program(exported, key)
    assert code == 1 and reason in text and "Traceback" not in text


def test_signature_of_another_key_is_refused(installation: Installation, exported: Path) -> None:
    write_key(exported.with_name("other.key"))
    other = exported.with_name("other.pub")
    error = installation.run("audit", "verify", str(exported), "--key", str(other), expect=3).err
    assert "another key" in error
    assert run_program(exported, other)[0] == 1


def test_export_of_a_broken_log_names_its_entry(installation: Installation, tmp_path: Path) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute("UPDATE audit SET actor = 'x' WHERE id = 2")
        connection.commit()
    file = tmp_path / "broken.jsonl"
    installation.run("audit", "export", "--output", str(file))
    error = installation.run("audit", "verify", str(file), expect=3).err
    assert "entry 2 does not follow" in error


@pytest.mark.parametrize("signed", [True, False])
def test_export_whose_signature_is_not_verified_fails_unless_the_chain_is_enough(
    installation: Installation, exported: Path, *, signed: bool
) -> None:
    if not signed:
        exported.write_text(installation.run("audit", "export").out)
    ran = installation.run("audit", "verify", str(exported), expect=3)
    assert "entries follow each other" in ran.out
    assert ("the signature" if signed else "no signature") in ran.err
    assert "Not verified: " in ran.err
    chain = installation.run("audit", "verify", str(exported), "--chain-only", expect=0)
    assert "Not verified: " in chain.err
    installation.run("audit", "verify", "--chain-only", expect=2)
    key = ("--key", str(exported.with_name("audit.pub")))
    installation.run("audit", "verify", str(exported), *key, "--chain-only", expect=2)


def test_keys_that_cannot_sign_are_refused_with_what_to_do(
    installation: Installation, tmp_path: Path
) -> None:
    run = installation.run
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ec.key").write_bytes(pem)
    (tmp_path / "text.key").write_text("no key")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in ("ec.key", "text.key"):
        error = run("audit", "export", "--sign", str(tmp_path / name), expect=2).err
        assert "openssl genpkey -algorithm ed25519" in error
    refused: list[tuple[str, ...]] = [
        ("export", "--sign", str(pipe)),
        ("verify", str(pipe)),
        ("verify", "/dev/zero"),
        ("verify", str(tmp_path)),
    ]
    for arguments in refused:
        assert "not a regular file" in run("audit", *arguments, expect=3).err
    refused = [
        ("verify", "--key", str(tmp_path / "ec.key")),
        ("verify", str(tmp_path / "text.key"), "--expect", "0" * 64),
        ("verify", str(tmp_path / "text.key"), "--key", str(tmp_path / "ec.key")),
    ]
    for arguments in refused:
        run("audit", *arguments, expect=2)


def test_encrypted_key_needs_the_configured_passphrase(
    installation: Installation, tmp_path: Path
) -> None:
    write_key(tmp_path / "audit.key", b"correct horse")
    arguments = ("audit", "export", "--sign", str(tmp_path / "audit.key"))
    assert "[audit] passphrase" in installation.run(*arguments, expect=2).err

    def export(passphrase: str, code: int) -> Ran:
        return installation.run(
            *arguments,
            expect=code,
            CERTMGR_AUDIT_PASSPHRASE="env:AUDIT_PASS",
            AUDIT_PASS=passphrase,
        )

    assert "passphrase is wrong" in export("wrong", 2).err
    (tmp_path / "x.jsonl").write_text(export("correct horse", 0).out)
    assert run_program(tmp_path / "x.jsonl", tmp_path / "audit.pub")[0] == 0


def test_verification_states_that_there_is_no_head_to_compare_with(
    installation: Installation, tmp_path: Path
) -> None:
    heads = tmp_path / "heads.jsonl"

    def run(*arguments: str, expect: int | None = 0) -> Ran:
        return installation.run(*arguments, expect=expect, CERTMGR_AUDIT_HEAD_FILE=str(heads))

    assert f"Not compared: {heads} has no head yet" in run("audit", "verify").out
    assert "Not compared" not in installation.run("audit", "verify").out
    run("run", "--no-scan", expect=None)
    assert "1 stored heads are in the log" in run("audit", "verify").out
    heads.unlink()
    error = run("audit", "verify", expect=3).err
    assert f"{heads} is missing" in error and "Restore the file" in error
