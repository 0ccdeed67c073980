"""Record the demonstration as docs/pictures/demo.svg: ``PYTHONPATH=. python tools/terminal.py``.

The command runs in a pseudo-terminal, so that it prints colours and tables as for a person.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "demo.svg"
COLUMNS = 120
# The picture shows the scan; the other parts would make it long.
FIRST, END = "certmgr scan:", "certmgr status --causes"


def record(command: list[str]) -> str:
    """Return what a command prints to a terminal."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    chunks = []
    # Linux reports the end of the child as an error of the terminal.
    with suppress(OSError):
        while chunk := os.read(parent, 65536):
            chunks.append(chunk)
    os.close(parent)
    if process.wait() != 0:
        raise SystemExit(f"{command} ended with exit code {process.returncode}")
    return b"".join(chunks).decode().replace("\r\n", "\n")


def main() -> None:
    """Record the demonstration."""
    lines = record([sys.executable, "-m", "certmgr", "demo"]).splitlines()
    first = next(i for i, line in enumerate(lines) if FIRST in line)
    end = next(i for i, line in enumerate(lines) if END in line)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("$ certmgr demo\n" + "\n".join(lines[first:end]).rstrip()))
    picture = console.export_svg(title="certmgr demo")
    # A reader's browser loads nothing from elsewhere: no font, and no link of the library.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"<!--.*?-->", "", picture, flags=re.DOTALL)
    OUT.write_text(picture.replace("Fira Code", "DejaVu Sans Mono"), encoding="utf-8")


if __name__ == "__main__":
    main()
