"""Asking a token source: one awaited call, whose every failure comes back as a value."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from .._common.chains import cut_repeats
from .._common.checks import misfit
from .._common.errors import TokenSourceError, explained
from .._common.redaction import Secret
from .._loops.block import interrupt_in
from .._loops.cancellation import ends_program, is_cancellation, native_cancellations
from .._tokens.results import SupportsExpiry, SupportsLife, accept
from .._tokens.token_source import TokenSource
from .round import wake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._tokens.access_token import AccessToken
    from .._tokens.clock import Clock
    from .._tokens.token_source import Watch
    from .round import Round

TokenRefresher: TypeAlias = "Callable[[], Awaitable[str | AccessToken | SupportsExpiry | SupportsLife]]"
"""A callable without required arguments whose result is awaited and gives a JWT, or a token with its expiry or life."""


def source_of(refresher: object) -> TokenSource:
    """The token source that a program gives, which may be a callback.

    Raises:
        TypeError: with the fix, when it is not callable or has required arguments.
    """
    given, refresher = Secret(refresher), None  # no frame that an error passes shows a token in its place, or its repr
    if isinstance(given.value, TokenSource):
        return given.value
    if not callable(given.value):
        raise explained(
            "refresher",
            TypeError(
                f"token_refresher is {type(given.value).__name__}, which cannot be called; give the async "
                "function itself, "
                "not what it returns"
            ),
        )
    if (reason := misfit(given.value)) is not None:
        raise explained(
            "refresher",
            TypeError(
                f"token_refresher is called without arguments, but needs some ({reason}); bind them with "
                "functools.partial"
            ),
        )
    return Callback(given.value)


class Callback(TokenSource):
    """A program's callback as a token source. No credential asks it with claims: few callbacks take an argument."""

    takes_claims = False

    def __init__(self, refresher: Callable[..., Any]) -> None:
        self._refresher = refresher

    async def __call__(self, claims: str | None = None) -> object:
        """Call the callback, and await what it returns."""
        # Who asks with claims all the same gets the callback's TypeError. Left out, they would seem to be met.
        answer = self._refresher() if claims is None else self._refresher(claims)
        if not inspect.isawaitable(answer):
            kind = type(answer).__name__
            del answer  # it may be the token, which no frame that an error passes shows
            raise explained(
                "refresher-result",
                TypeError(
                    f"the token refresher returned {kind}, which cannot be awaited; give an async function, and call "
                    "blocking code in it through anyio.to_thread.run_sync"
                ),
            )
        return await answer

    def secrets(self) -> list[str]:
        """None: the credential knows all that a callback has brought."""
        return []

    def watch_exchanges(self, watch: Watch) -> None:
        """A callback makes no exchange that could be watched."""


async def ask(
    source: TokenSource, timeout: float, ours: CancelScope, question: Round, clock: Clock
) -> AccessToken | BaseException:
    """Ask for the next token, in a task of its own.

    A source may leave a cancel scope or a task group open, such as one in an async generator that it has not read to
    the end. In the refresh task, such a scope would stay open around every later round.

    Args:
        source: The token source.
        timeout: Seconds that it may take.
        ours: The scope whose cancellation is meant for this task.
        question: The round in progress. Its claims, if it has any, are passed to the source.
        clock: The credential's clock.

    Returns:
        The token, or what came instead: whatever the source raised, a cancellation that nobody asked for included.

    Raises:
        BaseException: `KeyboardInterrupt`, `SystemExit` and `GeneratorExit`, alone or in a group, and our own
            cancellation.
    """
    answers: list[AccessToken | BaseException] = []
    ended = Event()
    cancellations = native_cancellations()
    try:
        with move_on_after(timeout) as limit:
            async with create_task_group() as group:
                scopes, task = (limit, ours, group.cancel_scope), partial(answer, clock=clock)
                group.start_soon(task, source, question, answers, ended, scopes, name="token source")
                await ended.wait()
    except get_cancelled_exc_class():
        _let_the_program_end(answers)  # Ctrl-C may have struck the source of a closing credential as it tidied up
        raise
    except BaseExceptionGroup as left_behind:
        _let_the_program_end(answers)
        if (interrupt := interrupt_in(left_behind)) is not None:
            raise interrupt from None  # pragma: no cover - Ctrl-C that strikes between two lines of anyio's
        if native_cancellations() > cancellations:
            raise get_cancelled_exc_class() from None
        await checkpoint_if_cancelled()
        # Any other error came from what the source has left open. It has answered, or is told as late below.
    if not answers:
        return explained(
            "source-late",
            TokenSourceError(
                f"the token source gave no answer within {timeout:g} s (RefreshPolicy.refresh_timeout): see "
                "what it waits for"
            ),
        )
    _let_the_program_end(answers)
    (found,) = answers
    return found


async def answer(
    source: TokenSource,
    question: Round,
    answers: list[AccessToken | BaseException],
    ended: Event,
    scopes: tuple[CancelScope, ...],
    *,
    clock: Clock,
) -> None:
    """The task of a source: it adds one answer at most, and raises nothing but our own cancellation."""
    cancellations = native_cancellations()
    question.as_its_source()
    try:
        await checkpoint_if_cancelled()  # asyncio begins a task also where its scope has been cancelled since
        answers.append(accept(await call(source, question.claims), clock))
    except BaseException as error:  # noqa: ASYNC103 - a stray cancellation is the source's fault
        if is_cancellation(error) and (
            any(scope.cancel_called for scope in scopes) or native_cancellations() > cancellations
        ):
            raise
        cut_repeats(error)
        answers.append(error)  # noqa: ASYNC104 - likewise
    finally:
        question.source_ended()
        wake(ended)


async def call(source: TokenSource, claims: str | None) -> object:
    """Call the source, and nothing else: on trio, Ctrl-C may strike here (see `_refreshing.block`)."""
    return await source(claims)


def _let_the_program_end(answers: list[AccessToken | BaseException]) -> None:
    for found in answers:
        if isinstance(found, BaseException) and ends_program(found):
            raise found from None
