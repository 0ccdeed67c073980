"""``certmgr demo``."""

from __future__ import annotations

import click

from certmgr.demo.run import run


@click.command()
@click.option(
    "--keep",
    is_flag=True,
    help="Keep the servers running until Enter is pressed, to try commands on them.",
)
def demo(keep: bool) -> int:
    """Show the main job on a dozen TLS sites on loopback; your own data is not touched."""
    return run(keep)
