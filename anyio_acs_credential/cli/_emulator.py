"""`acs-credential emulator`."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ._arguments import Seconds, Whole, backend_option
from ._interrupt import loading
from ._output import complain, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..emulator import Emulator
    from ._running import Program

_DAY, _YEAR = 86_400, 31_536_000
_TOLD = ("endpoint", "connection_string", "authority", "tenant_id", "client_id", "client_secret", "ca_file")


class _Command(click.Command):
    """A command that may have a program behind `--`; all arguments there are the program's."""

    allow_extra_args = True
    allow_interspersed_args = False  # the options of a program without -- are not taken for the command's

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, context.obj = args[:at], args[at + 1 :]
            if not context.obj:
                raise click.UsageError("there is no program behind --: name one, or leave out --", context)
        words = super().parse_args(context, args)
        if words:
            line = shlex.join(["--", *words, *(context.obj or ())])
            raise click.UsageError(
                f"a program and its arguments are behind --: acs-credential emulator {line}", context
            )
        return words


@click.command(
    cls=_Command,
    options_metavar="[OPTIONS] [-- PROGRAM [ARGUMENT]...]",
    short_help="Run the emulator for tests in any language.",
)
@click.option(
    "--port", type=Whole(0, 65535), default=0, metavar="NUMBER", help="On 127.0.0.1, over TLS; without it, a free one."
)
@click.option("--token-lifetime", type=Seconds(1, _YEAR), help="Seconds that every access token lives.")
@click.option("--entra-token-lifetime", type=Seconds(1, _YEAR), help="Seconds that every Entra token lives.")
@click.option("--device-code-interval", type=Seconds(1, 60), help="Seconds between two questions about a device code.")
@click.option("--device-code-lifetime", type=Seconds(1, _DAY), help="Seconds that a device code lives.")
@click.option(
    "--clock-offset", type=Seconds(-20 * _YEAR, 20 * _YEAR), help="Seconds that its clock is ahead of this machine's."
)
@click.option("--sign-in-as", metavar="NAME", help="Who signs in at the sign-in page without being asked.")
@click.option(
    "--require-teams-phone-assignment",
    is_flag=True,
    help="Exchange no token of a person whom nobody has allowed to use Teams Phone, as the service.",
)
@backend_option
@click.pass_obj
def emulator(words: list[str] | None, /, port: int, sign_in_as: str | None, backend: str, **given: Any) -> int:
    """Run an emulator of Communication Services and of an Entra tenant on this machine, for tests in any language.

    When it is ready, it prints one line of JSON: endpoint, connection_string, authority, tenant_id, client_id,
    client_secret, and ca_file, the certificate authority to trust (SSL_CERT_FILE, NODE_EXTRA_CA_CERTS). It ends on
    Ctrl-C, SIGTERM and SIGHUP, and when its standard input is a pipe that closes, as it does when a test suite dies.
    Keys, secrets and the authority are made anew each time, and are gone at the end.

    With a program behind --, it runs that instead, and ends with it and its status. It prints nothing, and passes
    SIGINT, SIGTERM and SIGHUP on. The program has ACS_CONNECTION_STRING and ACS_ENDPOINT; ACS_USER_ID and ACS_TOKEN, of
    a user who is made for it; ENTRA_AUTHORITY, ENTRA_CLIENT_ID and ENTRA_CLIENT_SECRET; for azure-identity,
    AZURE_AUTHORITY_HOST, AZURE_CLIENT_ID and AZURE_TENANT_ID; SSL_CERT_FILE and REQUESTS_CA_BUNDLE.

    \b
    Examples:
      acs-credential emulator -- python app.py         a program against it
      acs-credential emulator -- pytest                a test suite
      acs-credential emulator                          until Ctrl-C, on a free port
      acs-credential emulator --port 8443              on this one
      acs-credential emulator --token-lifetime 5       with tokens that end soon
      acs-credential emulator > emulator.json &        for a shell; see jq -r .connection_string
    \b
      const { spawn } = require("node:child_process");
      const emulator = spawn("acs-credential", ["emulator"]);   // ends with this process
      emulator.stdout.once("data", (line) => JSON.parse(line).connection_string);

    \b
    Exit status:
      0  it was ended after it was ready       130  ended by Ctrl-C before
      1  the port is taken                     143  ended by SIGTERM before
      2  an argument is wrong                  129  ended by SIGHUP before
                                               141  nobody reads the output any more
    \b
    With a program, its own; 128 and a number where that signal ended it;
    127 where it is not found, and 126 where it cannot be run.
    """  # noqa: D301 - click's mark is the character, not its escape
    with loading():
        from ._running import Program, run

    settings = {name: value for name, value in given.items() if value is not None}
    if words is not None:
        program = Program(words)
        return run(partial(_serve, partial(_run, program), sign_in_as, port=port, **settings), backend, program.take)
    ready: list[str] = []
    status = run(partial(_serve, partial(_tell, ready), sign_in_as, port=port, **settings), backend)
    return 0 if ready else status


async def _serve(
    use: Callable[[Emulator], Awaitable[int | None]], sign_in_as: str | None, **settings: Any
) -> int | None:
    from ..emulator import open_emulator

    try:
        async with open_emulator(**settings) as running:
            running.sign_in_as = sign_in_as
            return await use(running)
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


async def _run(program: Program, running: Emulator) -> int:
    """Run a program that finds the emulator."""
    from ._environment import environment_of

    return await program.run(await environment_of(running))


async def _tell(ready: list[str], running: Emulator) -> None:
    """Print where the emulator is, and wait until whoever started this process closes standard input."""
    from anyio import sleep_forever

    ready.append(json.dumps({name: getattr(running, name) for name in _TOLD}))
    say(ready[0])
    if sys.stderr is not None and sys.stderr.isatty():
        complain(f"ready at {running.endpoint}; set SSL_CERT_FILE={running.ca_file}; Ctrl-C ends")
    pipe = _pipe_at_standard_input()
    await (sleep_forever() if pipe is None else _until_closed(pipe))


def _pipe_at_standard_input() -> int | None:
    """Its descriptor; None where it is a terminal, a file or closed, and does not show whether our starter lives."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError):
        return None
    return descriptor if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None  # Node.js uses sockets as pipes


async def _until_closed(pipe: int) -> None:
    """Wait until whoever holds the other end of the pipe closes it, or dies."""
    from .._loops.own_thread import in_own_thread

    def read() -> None:
        with suppress(OSError):
            while os.read(pipe, 4096):
                pass

    await in_own_thread(read)
