"""Entry point of ``python -m certmgr``."""

from certmgr.cli.main import run

run()
