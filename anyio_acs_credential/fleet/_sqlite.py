"""The store of one machine: a SQLite file, used in a thread of its own."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from .._common.errors import explained
from .._common.public import public
from .._common.redaction import Secret
from ._agreement import KEPT, NAME, RENEWED, agreed
from ._desk import Desk
from ._sealing import Sealer
from ._sqlite_file import SQLiteFile
from ._store import Entry, Taken, TokenStore, UnreadableError
from ._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from ._slot import Slot

Result = TypeVar("Result")


class SQLiteTokenStore(TokenStore):
    """A `TokenStore` for the processes of one machine: a file, with the standard library's `sqlite3`.

    There is nothing to install or to run. Each process has the same path; where workers are forked, each worker enters
    a store of its own. The file is made with mode 0600 in a directory that exists, and nothing in it can be read
    without a key. It survives `kill -9` at any instruction. Put it on a local disk, since SQLite cannot rely on the
    locks of a network file system.

    Blocking calls run in a thread of the store's own. A call that hangs, as on a disk that is gone, holds up neither
    the event loop nor the interpreter's end. Operations then wait until their caller gives up, as `shared()` does after
    a second. A cancelled operation may have its effect.

    Its operations are those of `TokenStore`. They raise `StoreError` when the file cannot be used, or an entry was not
    written by one who has the keys, and `CredentialUsageError` in another event loop or process than the one that
    entered the store.

    Args:
        path: Where the file is, or will be made. It belongs to one user of the machine; workers that run as another
            user need another file.
        encryption_keys: Texts that `new_encryption_key()` made. The first one encrypts; all decrypt; see `Sealer`.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when there is no key, one was not made by `new_encryption_key()`, or the path cannot be a
            file's.
    """

    def __init__(self, path: str | os.PathLike[str], *, encryption_keys: Iterable[str]) -> None:
        hidden, encryption_keys = Secret(encryption_keys), ()  # no frame that an error passes shows one
        self._path = _checked(path)
        self._sealer = Sealer(hidden.value)
        self._desk = Desk()
        self._agree_at = 0.0
        self._file: SQLiteFile
        self._worker: Worker

    async def __aenter__(self) -> Self:
        home, self._agree_at = self._desk.enter(), 0.0
        self._file = SQLiteFile(self._path)
        self._worker = Worker(home, "anyio_acs_credential.fleet", self._file.together)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._desk.check()
        self._desk.leave()
        await self._worker.stop(self._file.close)  # noqa: ASYNC102 - it is shielded, for a second

    async def look(self, name: str) -> Entry | None:
        return await self._do(self._look, name, together=False)

    async def take(self, name: str, seconds: float) -> Taken:
        return await self._do(self._take, name, seconds)

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        return await self._do(self._change, name, lambda slot, now: slot.prolonged(now, fence, seconds))

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        hidden, value = Secret(value), b""  # no frame that an error passes shows it
        return await self._do(self._put, name, fence, hidden, seconds)

    async def release(self, name: str, fence: int) -> None:
        await self._do(self._change, name, lambda slot, _now: slot.released(fence))

    async def _do(self, function: Callable[..., Result], *args: object, together: bool = True) -> Result:
        self._desk.check()
        return await self._worker.call(self._among_ours, function, *args, together=together)

    # The methods below run in the store's thread.

    def _among_ours(self, function: Callable[..., Result], *args: object) -> Result:
        """Do something, where the others have our key."""
        if time.monotonic() >= self._agree_at:
            self._file.change(NAME, self._agree)
            self._agree_at = time.monotonic() + RENEWED
        return function(*args)

    def _agree(self, slot: Slot, now: float) -> tuple[Slot | None, None]:
        entry = slot.entry(now)
        marks = agreed(None if entry is None else entry.value, self._sealer)
        return slot.filled(now, slot.fence + 1, marks, KEPT), None

    def _look(self, name: str) -> Entry | None:
        names = [self._sealer.name(name), *self._sealer.older_names(name)]
        now = time.time()
        kept = filter(None, (slot.entry(now) for slot in self._file.read(names).values()))
        # While a key is replaced, other processes put their entries under an older name.
        return self._opened(name, max(kept, key=lambda entry: entry.fence, default=None))

    def _take(self, name: str, seconds: float) -> Taken:
        taken = self._file.change(self._sealer.name(name), lambda slot, now: slot.taken(now, seconds))
        entry = None
        with suppress(UnreadableError):  # an unreadable entry counts as none here, since its lease replaces it
            entry = self._look(name) if self._sealer.older_names(name) else self._opened(name, taken.entry)
        return Taken(entry, taken.fence, taken.free_in)

    def _put(self, name: str, fence: int, hidden: Secret, seconds: float) -> bool:
        sealed = self._sealer.seal(name, fence, hidden.value)
        return self._change(name, lambda slot, now: slot.filled(now, fence, sealed, seconds))

    def _change(self, name: str, decide: Callable[[Slot, float], Slot | None]) -> bool:
        def both(slot: Slot, now: float) -> tuple[Slot | None, bool]:
            changed = decide(slot, now)
            return changed, changed is not None

        return self._file.change(self._sealer.name(name), both)

    def _opened(self, name: str, entry: Entry | None) -> Entry | None:
        if entry is None:
            return None
        return Entry(entry.fence, self._sealer.open(name, entry.fence, entry.value))


def _checked(path: object) -> Path:
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given:
        raise explained(
            "store-path", TypeError(f"give the path of a file as path, such as '/var/lib/app/tokens.db', not {path!r}")
        )
    given = str.__str__(given)  # Path() of a subclass of str may take what that shows, and not what it holds
    if "\0" in given:
        raise explained(
            "store-path", ValueError(f"the path {given!r} has a NUL in it, which no file has: leave it out")
        )
    if given == ":memory:":
        raise explained(
            "store-path",
            ValueError("':memory:' is no file, which several processes could share: use MemoryTokenStore for tests"),
        )
    return Path(given).absolute()


public(SQLiteTokenStore, module="fleet")
