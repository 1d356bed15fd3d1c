"""The commands, and how their errors are reported: by a line that names the fix, and by an exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .._common.errors import CredentialError
from ._demo._command import demo
from ._doctor._command import doctor
from ._emulator import emulator
from ._inspect import inspect
from ._output import OutputError, complain, discard_output, in_a_line, require_output
from ._teams_phone import teams_phone
from ._token import token
from ._watch._command import watch

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = "acs-credential"
_INTERRUPTED, _UNREAD = 130, 141  # 128 and the number of SIGINT or SIGPIPE, as in a shell


def run(arguments: Sequence[str] | None) -> int:
    """Run a command, and report an error in a line.

    Args:
        arguments: The command line behind the program's name; None for this process's own.

    Returns:
        The exit status.
    """
    require_output()
    try:
        status: int | None = _group.main(arguments, prog_name=_NAME, standalone_mode=False)
    except BaseException as error:  # noqa: BLE001, ASYNC103 - an unknown error is raised again
        return _explain(_the_one_that_counts(error))  # noqa: ASYNC104 - likewise
    return status or 0


def _the_one_that_counts(error: BaseException) -> BaseException:
    """The error itself; of an exception group, the Ctrl-C in it, or else its first error."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    interrupts = error.subgroup(KeyboardInterrupt)
    return _the_one_that_counts((interrupts or error).exceptions[0])


def _explain(error: BaseException) -> int:
    match error:
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else _NAME
            complain(f"{in_a_line(error.format_message())} (see {path} --help)")
            return error.exit_code
        case click.ClickException():
            complain(in_a_line(error.format_message()))
            return error.exit_code
        case CredentialError():
            complain(in_a_line(str(error)))
            return 1
        case click.Abort() | KeyboardInterrupt():
            return _INTERRUPTED
        case OutputError():
            return _end_output(error)
        case OSError():  # commands explain their own, so this one is click's, which could not write a help text
            return _end_output(OutputError(error))
        case _:
            raise error


def _end_output(error: OutputError) -> int:
    discard_output()
    if error.is_unread:
        return _UNREAD
    complain(str(error))
    return 1


@click.group(invoke_without_command=True)
@click.version_option(package_name="anyio-acs-credential", message="%(version)s")
@click.pass_context
def _group(context: click.Context) -> None:
    """Access tokens for Azure Communication Services that renew themselves.

    \b
    Begin with:
      acs-credential demo                      see it at work; no account and no settings needed
      acs-credential demo --entra              the same for a person who signs in to Entra
      acs-credential demo --workers 4          four processes that share one token
    \b
    With ACS_CONNECTION_STRING set to what the Azure portal shows under "Keys":
      acs-credential token                     an access token of a new user
      acs-credential token | acs-credential inspect
      acs-credential watch                     a credential that renews its token, live
      acs-credential doctor                    what is wrong between here and the service
      acs-credential teams-phone --help        who may use Teams Phone
    \b
    Each command has examples and exit statuses: acs-credential token --help
    """  # noqa: D301 - click's mark is the character, not its escape
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (demo, doctor, watch, token, inspect, teams_phone, emulator):
    _group.add_command(_command)
