"""Running the demonstration where somebody watches: output, signals and the exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio
import click

from .. import SignInRequiredError
from ._demo import run_demo
from ._plain import event_as_json, event_as_line, summary_as_json, summary_as_lines
from ._story import Story

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console

    from ._story import Event

__all__ = ("show",)

_FRAME = 0.08  # seconds between two looks at the story
_SIGNALLED = 128
_UNREAD = _SIGNALLED + 13  # as if SIGPIPE had ended it, which not every system has

# Without a handler, Python would print the library's warnings into the picture, which tells the same.
logging.getLogger("anyio_acs_credential").addHandler(logging.NullHandler())


def show(seconds: int, backend: str, *, entra: bool, as_json: bool) -> int:
    """Run the demonstration and show it as it happens.

    Args:
        seconds: How long it takes.
        backend: "asyncio" or "trio".
        entra: Whether its user signs in to Entra.
        as_json: Whether to show it as JSON lines.

    Returns:
        The exit status.

    Raises:
        click.UsageError: when the backend is not installed.
    """
    if not find_spec(backend):
        raise click.UsageError(f'{backend} is not installed: pip install "anyio-acs-credential[{backend}]".')
    story, status = Story(seconds, entra), 0
    try:
        with _no_proxy(), _output(story, as_json) as draw:
            status = anyio.run(_perform, story, draw, backend=backend)
    except* SignInRequiredError:
        click.echo("acs-credential: the sign-in was declined on its page: start again, and leave that alone", err=True)
        status = 1
    except* KeyboardInterrupt:
        status = _SIGNALLED + signal.SIGINT
    except* BrokenPipeError:
        _discard_output()
        status = _UNREAD
    return status


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Keep HTTP clients from a proxy that the environment names: it would not find this machine's loopback."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "127.0.0.1"
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        if before is not None:
            os.environ["no_proxy"] = before


async def _perform(story: Story, draw: Callable[[], None]) -> int:
    """Run the scenario until it ends or a signal comes, drawing all the while; the exit status."""
    stopped: list[int] = []
    with ExitStack() as stack:  # left after the task group, so that an impatient second Ctrl-C changes nothing
        async with anyio.create_task_group() as group:
            try:
                signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
            except NotImplementedError:
                pass  # asyncio on Windows: there, Ctrl-C raises KeyboardInterrupt
            else:
                group.start_soon(_stop, signals, stopped, group.cancel_scope)
            group.start_soon(_redraw, draw)
            await run_demo(story)
            group.cancel_scope.cancel()
    return _SIGNALLED + stopped[0] if stopped else int(story.failed > 0)


async def _stop(signals: AsyncIterator[signal.Signals], stopped: list[int], scope: anyio.CancelScope) -> None:
    async for number in signals:
        stopped.append(number)
        scope.cancel()


async def _redraw(draw: Callable[[], None]) -> None:
    while True:
        draw()
        await anyio.sleep(_FRAME)


def _output(story: Story, as_json: bool) -> AbstractContextManager[Callable[[], None]]:
    if as_json:
        return _lines(story, event_as_json, summary_as_json)
    from rich.console import Console

    console = Console()
    if _can_show_a_picture(console):
        return _live(story, console)
    return _lines(story, event_as_line, summary_as_lines)


def _can_show_a_picture(console: Console) -> bool:
    from ._live import LEAST_HEIGHT, LEAST_WIDTH

    # FORCE_COLOR makes rich take a pipe for a terminal.
    is_terminal = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    has_room = console.width >= LEAST_WIDTH and console.height >= LEAST_HEIGHT
    return is_terminal and has_room and not console.options.ascii_only


@contextmanager
def _lines(
    story: Story, show_event: Callable[[Event], str], show_summary: Callable[[Story, float], str]
) -> Iterator[Callable[[], None]]:
    """A line for each event, and the sums at the end."""
    shown = 0

    def draw() -> None:
        nonlocal shown
        for event in story.events[shown:]:
            click.echo(show_event(event))
            shown += 1

    yield draw
    draw()
    if story.over:
        click.echo(show_summary(story, story.now()))


@contextmanager
def _live(story: Story, console: Console) -> Iterator[Callable[[], None]]:
    """A picture on the terminal's second screen, which leaves the first as it was, and the result at the end."""
    from rich.live import Live

    from ._live import picture, result

    def draw() -> None:
        live.update(picture(story, story.now(), console.width, console.height), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield draw
    if story.over:
        console.print(result(story, story.now(), console.width))


def _discard_output() -> None:
    """Keep the interpreter's last flush from failing, and saying so."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
