"""The file of a SQLite store: opened, checked, read and changed. All of it blocks, in a thread of the store's own.

Why it is not in SQLite's WAL mode: there, a connection holds locks for as long as it is open, and shares memory with
other connections. A fork copies what SQLite knows of its locks, but not the locks. With a rollback journal, there are
no locks between two operations, and a fork waits for the operation in progress. The next process that opens the file
rolls back what `kill -9` left half done.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, nullcontext, suppress
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from .._common.errors import explained
from ._slot import Slot
from ._sqlite_rights import claim
from ._store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

_BUSY = 0.5  # seconds that SQLite waits for another process's transaction
_FORK_WAIT = 1.0  # seconds at most that a fork waits for an operation
_OURS = 0x41435346  # "ACSF", SQLite's application_id of our files
_PURGE_EVERY, _PURGE_AFTER = 3600.0, 86_400.0  # seconds between purges, and from an entry's end to its purge
_COLUMNS = "last_fence, leased_until, leased_for, fence, value, kept_until"
_SCHEMA = """CREATE TABLE IF NOT EXISTS slots (
    name TEXT PRIMARY KEY, last_fence INTEGER NOT NULL, leased_until REAL NOT NULL, leased_for REAL NOT NULL,
    fence INTEGER NOT NULL, value BLOB NOT NULL, kept_until REAL NOT NULL)"""
_READ = f"SELECT {_COLUMNS} FROM slots WHERE name = ?"  # noqa: S608 - our own names
_WRITE = f"INSERT OR REPLACE INTO slots (name, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - likewise
_PURGE = "DELETE FROM slots WHERE kept_until < ? AND leased_until < ?"

Answer = TypeVar("Answer")


class SQLiteFile:
    """A file with slots.

    Args:
        path: Where the file is, or will be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] = (0, 0)
        self._purge_at = 0.0
        self.at_work: Lock = Lock()
        self._inside: sqlite3.Connection | None = None  # the transaction of `together()`
        _files.add(self)

    def read(self, names: Sequence[str]) -> dict[str, Slot]:
        """The slots of some names.

        Args:
            names: The names, as they stand in the file.

        Raises:
            StoreError: when the file cannot be used.
        """
        with self._open() as connection:
            return {name: _slot(connection, name) for name in names}

    def change(self, name: str, decide: Callable[[Slot, float], tuple[Slot | None, Answer]]) -> Answer:
        """Replace a slot, in one transaction.

        Args:
            name: The name, as it stands in the file.
            decide: Takes the slot and the time in Unix seconds, and returns the slot that replaces it, or None, with
                the answer.

        Returns:
            The answer.

        Raises:
            StoreError: when the file cannot be used.
        """
        with self._open() as connection, self._transaction(connection):
            slot, now = _slot(connection, name), time.time()
            changed, answer = decide(slot, now)
            if changed is not None and changed is not slot:
                values = (changed.last_fence, changed.leased_until, changed.leased_for)
                kept = (changed.fence, changed.value, changed.kept_until)
                connection.execute(_WRITE, (name, *values, *kept))
                if now > self._purge_at:
                    self._purge_at = now + _PURGE_EVERY
                    connection.execute(_PURGE, (now - _PURGE_AFTER, now))
            return answer

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block whose changes are one transaction: most of the time of each goes into waiting for the disk.

        Raises:
            StoreError: when the file cannot be used. Nothing in the block has been done then, nor when that raises.
        """
        with self._open() as connection, _transaction(connection):
            self._inside = connection
            try:
                yield
            finally:
                self._inside = None

    def _transaction(self, connection: sqlite3.Connection) -> AbstractContextManager[None]:
        return nullcontext() if self._inside is not None else _transaction(connection)

    def close(self) -> None:
        """Close the file. The next operation opens it again."""
        with self.at_work:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if self._inside is not None:
            yield self._inside
            return
        with self.at_work:
            try:
                yield self._connected()
            except StoreError:
                self._close()
                raise
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise explained(
                    "store-failed",
                    StoreError(
                        f"the token store {str(self._path)!r} cannot be used ({type(error).__name__}: {error}): see "
                        "whether its disk is full, read-only or gone, and delete the file if it is damaged"
                    ),
                ) from error

    def _connected(self) -> sqlite3.Connection:
        # Checked each time: on a file that was deleted or replaced meanwhile, this process would be a fleet by itself.
        found = claim(self._path)
        if self._connection is None or found != self._opened:
            self._close()
            self._connection = _connect(self._path)
            self._opened = found
        return self._connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", timeout=_BUSY, isolation_level=None, uri=True)
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not _is_ours(connection):  # checked outside of a transaction first, since that waits for other processes'
            with _transaction(connection):
                _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_ours(connection: sqlite3.Connection) -> bool:
    (whose,) = connection.execute("PRAGMA application_id").fetchone()
    return bool(whose == _OURS)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _is_ours(connection):  # another process has prepared it meanwhile
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        raise explained(
            "store-file",
            StoreError(f"{str(path)!r} is another program's database: give a path of its own", permanent=True),
        )
    connection.execute(f"PRAGMA application_id = {_OURS}")
    connection.execute(_SCHEMA)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _slot(connection: sqlite3.Connection, name: str) -> Slot:
    row = connection.execute(_READ, (name,)).fetchone()
    return Slot() if row is None else Slot(*row)


_files: WeakSet[SQLiteFile] = WeakSet()
_held: list[Lock] = []


def _before_fork() -> None:
    _held.extend(file.at_work for file in tuple(_files) if file.at_work.acquire(timeout=_FORK_WAIT))


def _after_fork() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
