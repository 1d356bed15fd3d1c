"""Whose a file is, and who else may touch it: checked before SQLite opens it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from .._common.errors import explained
from ._store import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def claim(path: Path) -> tuple[int, int]:
    """Make a file that is this user's alone, or check that an existing one is.

    Args:
        path: The file's absolute path.

    Returns:
        Device and inode, which tell this file from all others.

    Raises:
        StoreError: when the file or its directory is somebody else's, others have any right to the file, or everybody
            may replace files in the directory.
        OSError: when the file cannot be made or examined.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process was faster
            # SQLite itself would make the file with the rights that the umask leaves; journals get the file's rights.
            # Only a new file may be closed here: closing one that SQLite has open would end all locks that this process
            # holds on it (https://sqlite.org/howtocorrupt.html, section 2.2).
            os.close(os.open(path, _NEW, 0o600))
        status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        _refuse(f"{str(path)!r} is no file")
    if os.name == "posix":  # pragma: no branch - elsewhere rights are another matter
        _check(path, status)
    return status.st_dev, status.st_ino


def _check(path: Path, status: os.stat_result) -> None:
    user, directory = os.geteuid(), path.parent.stat()
    if status.st_uid != user:
        _refuse(f"{str(path)!r} belongs to another user")
    if status.st_mode & _OTHERS:
        _refuse(f"others have rights to {str(path)!r} (its mode is {stat.S_IMODE(status.st_mode):o}, and not 600)")
    if directory.st_uid not in (user, 0):
        _refuse(f"the directory of {str(path)!r} belongs to another user")
    if directory.st_mode & stat.S_IWOTH and not directory.st_mode & stat.S_ISVTX:
        _refuse(f"everybody may replace files in the directory of {str(path)!r}")


def _refuse(fault: str) -> NoReturn:
    raise explained(
        "store-file",
        StoreError(f"{fault}: give a path in a directory that only the program's user can write to", permanent=True),
    )
