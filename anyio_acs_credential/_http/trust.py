"""The certificate authorities that our own connections trust: one TLS context for all of them.

Reading a bundle of authorities takes 20 ms, and OpenSSL keeps 0.7 MB of it for each context.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import certifi

from .._common.errors import ServiceError, explained
from .._common.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the names by which OpenSSL looks for certificates in a folder
_reading = Lock()


class _Authorities(NamedTuple):
    """Where the authorities are, which variable names them, and what changes when their files do."""

    named_by: str
    file: str | None
    folders: str | None
    key_log: str | None
    stamps: tuple[tuple[str | int, ...], ...]


def trusted(file: str | None = None) -> ssl.SSLContext:
    """A context that trusts the authorities of the environment (`SSL_CERT_FILE`, `SSL_CERT_DIR`), or those in a file.

    It reads files. Each call gives the same context until the files change.

    Args:
        file: The path of a bundle in PEM, in place of what the environment names.

    Raises:
        ServiceError: when the environment names what cannot be used. It is permanent.
        OSError: when the bundle cannot be read.
        ValueError: when its path cannot be a path.
    """
    named_by, folders = "", None
    if file is None and (file := os.environ.get("SSL_CERT_FILE") or None):
        named_by = "SSL_CERT_FILE"
    elif file is None and (folders := os.environ.get("SSL_CERT_DIR") or None):
        named_by = "SSL_CERT_DIR"
    elif file is None:
        file = certifi.where()
    stamps = tuple(_stamps([file] if file else _certificates_in(folders or "")))
    with _reading:  # else all who begin at once would read them, and each would keep its own
        return _read(_Authorities(named_by, file, folders, os.environ.get("SSLKEYLOGFILE") or None, stamps))


def _stamps(files: Iterable[str]) -> Iterator[tuple[str | int, ...]]:
    for file in files:
        with suppress(OSError):  # reading the file says what is wrong
            found = Path(file).stat()
            # The time of writing is not enough: `cp -p` keeps it, and the new file may be as long as the old one.
            yield file, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=8)
def _read(authorities: _Authorities) -> ssl.SSLContext:
    named_by, file, folders, key_log, _ = authorities
    try:
        context = ssl.create_default_context(cafile=file, capath=folders)
    except OSError as error:
        if key_log is not None and error.filename == key_log:
            named_by, file = "SSLKEYLOGFILE", key_log
        elif not named_by:
            raise
        problem = f"{named_by} names {file!r}, which cannot be used ({error.strerror or error}): correct {named_by}"
    else:
        if folders is None or any(_certificates_in(folders)):
            # httpcore sets the same at each connection, while another thread may be opening one with this context.
            context.set_alpn_protocols(["http/1.1"])
            context.set_alpn_protocols = _leave  # type: ignore[assignment, method-assign]  # on purpose
            return context
        problem = f"{named_by} names {folders!r}, where OpenSSL finds no certificate: run `openssl rehash` there"
    raise explained("environment", ServiceError(redact(f"{problem}, or unset it"), permanent=True))


def _certificates_in(folders: str) -> Iterator[str]:
    for folder in filter(None, folders.split(os.pathsep)):
        with suppress(OSError), os.scandir(folder) as entries:
            yield from (entry.path for entry in entries if _HASHED.fullmatch(entry.name))


def _leave(_protocols: Iterable[str]) -> None:
    """Change nothing."""


def _forked() -> None:
    global _reading  # noqa: PLW0603 - a thread of the parent may have held it, and will never release it here
    _reading = Lock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_forked)
