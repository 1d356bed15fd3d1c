"""Asking a token source: one awaited call, whose every failure comes back as a value."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeAlias

from anyio import CancelScope, get_cancelled_exc_class, move_on_after

from ._callables import misfit
from ._errors import TokenSourceError, explained
from ._token import AccessToken, SupportsExpiry, accept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ("TokenRefresher", "TokenSource", "ask", "call", "check_refresher", "ends_program")

TokenRefresher: TypeAlias = "Callable[[], Awaitable[str | AccessToken | SupportsExpiry]]"
"""A callable without required arguments whose result is awaited and gives a JWT, or a token with its expiry."""

TokenSource: TypeAlias = "Callable[..., Awaitable[str | AccessToken | SupportsExpiry]]"
"""A token refresher, or what also takes, as its argument, the claims of a challenge that its round has to meet."""

_ALWAYS_PASS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def check_refresher(refresher: object) -> None:
    """Refuse what cannot be called without arguments.

    Raises:
        TypeError: with the fix, when it is not callable or has required arguments.
    """
    if not callable(refresher):
        raise TypeError(
            explained(
                "refresher",
                f"token_refresher is {type(refresher).__name__}, which cannot be called; give the async "
                "function itself, "
                "not what it returns",
            )
        )
    if (reason := misfit(refresher)) is not None:
        raise TypeError(
            explained(
                "refresher",
                f"token_refresher is called without arguments, but needs some ({reason}); bind them with "
                "functools.partial",
            )
        )


async def ask(
    refresher: TokenSource, timeout: float, ours: CancelScope, claims: str | None = None
) -> AccessToken | BaseException:
    """Ask for the next token.

    Args:
        refresher: The token source.
        timeout: Seconds that it may take.
        ours: The scope whose cancellation is meant for this task.
        claims: What the source is given, if there are any. Only a source that takes them is asked with some.

    Returns:
        The token, or what came instead: whatever the source raised, a cancellation that nobody asked for included.

    Raises:
        BaseException: `KeyboardInterrupt`, `SystemExit` and `GeneratorExit`, alone or in a group, and our own
            cancellation.
    """
    cancellations = _native_cancellations()
    try:
        with move_on_after(timeout):
            return accept(await call(refresher, claims))
    except BaseException as error:  # noqa: ASYNC103 - what must leave does; a stray cancellation is the source's fault
        if ends_program(error):
            raise
        if isinstance(error, get_cancelled_exc_class()) and (
            ours.cancel_called or _native_cancellations() > cancellations
        ):
            raise
        return error  # noqa: ASYNC104 - likewise
    return TokenSourceError(
        explained(
            "source-late",
            f"the token source gave no answer within {timeout:g} s (RefreshPolicy.refresh_timeout): see "
            "what it waits for",
        )
    )


async def call(refresher: TokenSource, claims: str | None) -> object:
    """Nothing but the source: where Ctrl-C may strike, on trio (see `_block`)."""
    answer = refresher() if claims is None else refresher(claims)
    if not inspect.isawaitable(answer):
        raise TypeError(
            explained(
                "refresher-result",
                f"the token refresher returned {type(answer).__name__}, which cannot be awaited; give an "
                "async function, "
                "and call blocking code in it through anyio.to_thread.run_sync",
            )
        )
    return await answer


def ends_program(error: BaseException) -> bool:
    """Whether an exception is, or holds, one that nobody but the program's end may stop."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ALWAYS_PASS) is not None
    return isinstance(error, _ALWAYS_PASS)


def _native_cancellations() -> int:
    """How often asyncio's own `Task.cancel()` was called on this task, as `asyncio.run` does at its end."""
    if get_cancelled_exc_class().__module__ == "trio":
        return 0
    import asyncio

    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
