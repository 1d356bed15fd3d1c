"""The tokens of a credential, one after the other, for whoever hands them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from .._common.public import public

if TYPE_CHECKING:
    from .._decisions.state import RefreshState
    from .._tokens.access_token import AccessToken
    from .task import RefreshTask


class TokenUpdates:
    """An async iterator of the held token, if there is a valid one, and of each that replaces it.

    Each read compares the held token with the last one that this iterator gave. So a slow reader gets the newest token
    and misses those between, and an iterator that is dropped leaves nothing behind. Reading waits until another token
    is held, and ends when the credential closes; a static credential gives one token. Cancelling the wait loses no
    token: the next read waits on.
    """

    def __init__(self, state: RefreshState, task: RefreshTask | None) -> None:
        self._state = state
        self._task = task
        self._last: AccessToken | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AccessToken:
        await checkpoint()
        while self._task is None or not self._task.closed:
            token = self._state.valid()
            if token is not None and token is not self._last:
                self._last = token
                return token
            if self._task is None:
                break
            await self._task.wait_for_change()
        raise StopAsyncIteration


public(TokenUpdates, module="typing")
