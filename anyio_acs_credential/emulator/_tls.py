"""Certificates for loopback, and TLS connections that can be cut."""

from __future__ import annotations

import logging
import ssl
from contextvars import ContextVar
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import trustme


class Certificates:
    """The certificate authority of one emulator, and a TLS context for each side. Making it blocks for some 10 ms.

    Attributes:
        ca_file: The path of the authority's certificate, in PEM.
        client: A client's context, which trusts that authority alone.
        server: The server's context, with a certificate for loopback.
    """

    def __init__(self) -> None:
        directory = mkdtemp(prefix="acs-emulator-")
        self._remove = finalize(self, rmtree, directory)
        self.ca_file: str = str(Path(directory, "ca.pem"))
        authority = trustme.CA(organization_name="anyio-acs-credential emulator")
        authority.cert_pem.write_to_path(self.ca_file)
        self.client: ssl.SSLContext = ssl.create_default_context(cafile=self.ca_file)
        self.server: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.minimum_version = ssl.TLSVersion.TLSv1_2
        self.server.set_alpn_protocols(["http/1.1"])
        self.server.sslobject_class = _Connection
        authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(self.server)

    def remove(self) -> None:
        """Remove the file. Otherwise it goes with the object."""
        self._remove()


def cut_connection() -> None:
    """End the connection of the current request. Nothing is sent on it any more."""
    _current.get().dead = True


class _Connection(ssl.SSLObject):
    """The server's end of a connection. An error of TLS ends the connection, and not the whole server."""

    dead = False

    def do_handshake(self) -> None:
        _current.set(self)  # the handshake and the requests run in one context
        super().do_handshake()

    def read(self, *args: Any, **kwargs: Any) -> Any:
        if self.dead:
            return b""
        try:
            return super().read(*args, **kwargs)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLEOFError:  # raised, since after b"" anyio would send an alert, and fail while an answer is sent
            self.dead = True
            raise
        except ssl.SSLError:  # not raised, since anycorn would let it end the task group of all connections
            self.dead = True
            return b""

    def write(self, data: Any) -> int:
        self._check_alive()
        return super().write(data)

    def unwrap(self) -> Any:
        self._check_alive()
        return super().unwrap()

    def _check_alive(self) -> None:
        if self.dead:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection was cut")


_current: ContextVar[_Connection] = ContextVar("connection")


def _is_not_ours(record: logging.LogRecord) -> bool:  # noqa: ARG001 - what was logged does not matter, but where
    return _current.get(None) is None


# anyio logs each failed handshake as an error with its traceback, which would be printed where logging is not set up.
logging.getLogger("anyio.streams.tls").addFilter(_is_not_ours)
