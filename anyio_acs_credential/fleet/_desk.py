"""Where a store was entered, and whether it is used from there."""

from __future__ import annotations

from .._common.errors import CredentialClosedError, CredentialNotEnteredError, CredentialUsageError, explained
from .._loops.home import Home


class Desk:
    """Lets an operation pass while the store is open, in the event loop, thread and process that entered it."""

    __slots__ = ("_home", "_was_open")

    def __init__(self) -> None:
        self._home: Home | None = None
        self._was_open = False

    def enter(self) -> Home:
        """Open the store in this event loop.

        Raises:
            CredentialUsageError: when it is open already.
        """
        if self._home is not None and not self._home.is_lost:
            raise explained(
                "open-already",
                CredentialUsageError(
                    "the token store is open already: enter it once, where the program starts, and pass it on"
                ),
            )
        self._was_open = True
        self._home = Home(
            "token store",
            "the token store was entered in another event loop: enter one of its own in each thread and event loop",
        )
        return self._home

    def leave(self) -> None:
        """Close the store."""
        self._home = None

    def check(self) -> None:
        """Let an operation pass.

        Raises:
            CredentialUsageError: in another event loop, thread or process than entered the store.
            CredentialNotEnteredError: before the store was entered.
            CredentialClosedError: after the store was left.
        """
        if self._home is not None:
            self._home.check()
        elif self._was_open:
            raise explained(
                "closed",
                CredentialClosedError("the token store is closed: keep its `async with` block around the credentials'"),
            )
        else:
            raise explained(
                "not-entered",
                CredentialNotEnteredError(
                    "the token store works only inside its block: put `async with store:` around the credentials'"
                ),
            )
