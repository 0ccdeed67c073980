"""``certmgr demo``: the demonstration."""

from __future__ import annotations

import click

from certmgr.demo.run import run


@click.command()
@click.option(
    "--keep",
    is_flag=True,
    help="Keep the servers running until Enter is pressed, so that you can try commands.",
)
def demo(keep: bool) -> int:
    """Show the main functions on a dozen TLS sites on loopback. Your data is not changed."""
    return run(keep)
