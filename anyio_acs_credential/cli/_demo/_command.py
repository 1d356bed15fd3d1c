"""`acs-credential demo`."""

from __future__ import annotations

import click

from .._arguments import Seconds, Whole, backend_option
from .._interrupt import loading
from ._crew import FEWEST, MOST


@click.command(short_help="See requests outlive their access tokens.")
@click.option("--entra", is_flag=True, help="With a person who signs in to Entra, and the exchange of her tokens.")
@click.option("--seconds", type=Seconds(10, 120), default=20, show_default=True, help="How long it takes, 10 to 120.")
@click.option(
    "--workers",
    type=Whole(FEWEST, MOST),
    metavar="N",
    help=f"As {FEWEST} to {MOST} processes that share one token.",
)
@backend_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and the sums in the last.")
def demo(entra: bool, seconds: int, workers: int | None, backend: str, as_json: bool) -> int:
    """See requests outlive their access tokens, an outage and a revocation.

    It starts an emulator of Communication Services on this machine, whose tokens live a few seconds, and sends it chat
    requests all the time. The token endpoint goes down while a token is to be renewed; later all tokens are revoked. No
    request fails. On a terminal the run is a live picture, in a pipe it is lines.

    With --entra, the user is a person who signs in with a device code; the demo shows it, and enters it for her. Her
    Entra token is exchanged for access tokens with the scope of Teams Phone Extensibility. It is the exchange that
    goes down, and the revocation ends the Entra token too: a claims challenge asks for a newer one. No second sign-in
    is needed.

    With --workers, that many processes share one token through a SQLite file, as the workers of a web server do. One of
    them fetches each token, and the others take it from the file. The one that fetched is killed with kill -9, the
    others go on, and it comes back. The last lines say how many tokens the service issued for each that a worker held:
    1, where without sharing it would be the number of workers. There is no outage and no revocation.

    \b
    Examples:
      acs-credential demo                          watch it for 20 seconds
      acs-credential demo --entra                  the same with a sign-in to Entra
      acs-credential demo --workers 4              four processes with one token
      acs-credential demo --workers 4 --entra      which somebody has signed in for, once
      acs-credential demo --seconds 60             the same at a third of the pace
      acs-credential demo --backend trio           on trio instead of asyncio
      acs-credential demo | cat                    a line for each thing that happens
      acs-credential demo --json | tail -n 1       the sums alone, for a program

    \b
    Exit status:
      0  no request failed        130  ended by Ctrl-C
      1  a request failed, or     143  ended by SIGTERM
         nobody signed in, or     129  ended by SIGHUP
         a worker broke           141  nobody reads the output any more
      2  it could not be run
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from ._run import show

    return show(seconds, backend, entra=entra, workers=workers, as_json=as_json)
