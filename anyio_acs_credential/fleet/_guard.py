"""Between a source and a store: a failing store costs a second at most, is logged once, and has a back-off."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from anyio import current_time, move_on_after

from .._common.redaction import redact
from .._decisions.schedule import backoff
from .._loops.cancellation import is_fault, native_cancellations
from ._judging import POLICY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._tokens.token_source import TokenSource
    from ._store import UnreadableError

_PATIENCE = 1.0  # seconds by which a store may delay a token

_logger = logging.getLogger("anyio_acs_credential")

Answer = TypeVar("Answer")


class OutOfOrderError(Exception):
    """The store did not do what it was asked. This error never leaves the room."""


class Patience:
    """The time that a round still has for the store.

    Attributes:
        left: Seconds.
    """

    __slots__ = ("left",)

    def __init__(self, left: float = _PATIENCE) -> None:
        self.left = left


class Guard:
    """Asks a store, and counts its failures.

    Args:
        source: The source that asks. It has the clock, and says which texts the log must not show.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._streak = 0
        self._retry_at = 0.0

    @property
    def is_backing_off(self) -> bool:
        """Whether the store is in a back-off after a failure, and is not asked now."""
        return self._streak > 0 and self._source.clock.monotonic() < self._retry_at

    async def ask(
        self, patience: Patience, operation: Callable[[], Awaitable[Answer]], *, costs: bool = True
    ) -> Answer:
        """Have the store do something.

        It waits for the operation, for as long as the round's patience lasts. Cancelling it cancels the operation.

        Args:
            patience: The time that the round has left for the store.
            operation: Asks the store, and reads its answer.
            costs: Whether the time that it takes counts against the patience. It does not while another process works,
                since the token is not later for that.

        Raises:
            OutOfOrderError: when the store fails, takes too long or answers nonsense.
        """
        began, fault = current_time(), "it gave no answer in time"
        cancellations = native_cancellations()
        try:
            with move_on_after(patience.left):
                return await operation()
        except BaseException as error:  # noqa: ASYNC103 - a store's driver may raise anything
            if not is_fault(error, cancellations):
                raise
            fault = self._described(error)
        finally:
            if costs:
                patience.left = max(patience.left - (current_time() - began), 0.0)
        self._failed(fault)
        raise OutOfOrderError

    def tell(self, error: UnreadableError) -> None:
        """Log that an entry cannot be read and will be replaced."""
        extra: dict[str, object] = {"acs_event": "store_unreadable"}
        self._log(logging.WARNING, extra, "an entry of the token store is replaced: %s", self._described(error))

    def recovered(self) -> None:
        """Take note that the store keeps what is put: by who asks, or by another process, whose answer was found.

        That it is read says little: one that is full or read-only is read, and fails in each round.
        """
        if self._streak:
            streak, self._streak = self._streak, 0
            extra = {"acs_event": "store_recovered", "acs_failures": streak}
            self._log(logging.INFO, extra, "the token store works again after %d failed attempts", streak)

    def _failed(self, fault: str) -> None:
        self._streak += 1
        wait = backoff(self._streak, POLICY.retry_max, random.random(), POLICY)  # noqa: S311 - spreads, hides nothing
        self._retry_at = self._source.clock.monotonic() + wait
        next_attempt_at = self._source.clock.time() + wait
        self._log(
            logging.WARNING if self._streak == 1 else logging.DEBUG,
            {"acs_event": "store_failed", "acs_failures": self._streak, "acs_next_attempt_at": next_attempt_at},
            "the token store is out of order (%s): this process fetches tokens by itself, and tries it again at %s",
            fault,
            datetime.fromtimestamp(next_attempt_at, UTC).isoformat(timespec="seconds"),
        )

    def _described(self, error: BaseException) -> str:
        try:
            text = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - other people's exceptions may fail at being shown
            text = type(error).__name__
        return redact(text, *self._source.secrets())

    def _log(self, level: int, extra: dict[str, object], message: str, *args: object) -> None:
        with suppress(Exception):  # a log handler that raises must not fail a round
            _logger.log(level, message, *args, extra=extra)
