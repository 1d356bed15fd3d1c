"""Our own requests among the hooks of a client that belongs to the program.

A hook may read an answer without a limit, or raise for its status, upon which the client closes the answer unread. So a
hook of ours comes first: it reads the answers to our own requests, within the limits, and leaves them to the other
hooks as if unread. A hook may also put into a request what its program sends elsewhere. So another hook of ours comes
last, and restores what was signed. Between the two, no cookie of an answer gets into the client's jar.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from .._common.chains import chain_of
from .._common.redaction import Secret
from .._loops.closing import close_quietly
from .cookies import KeptCookies
from .request import library_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "anyio_acs_credential.reading"
"""The extension of a request of ours that holds its `Reading`; a copy of the request has it, too."""

_STEERING = frozenset({"sni_hostname", "target", "trace"})
"""The extensions by which httpcore decides where a request goes, and what watches it."""

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read at most. Tokens take 2 to 4 KiB."""

_HELD = 1024 * 1024
"""More bytes than a connection hands out without waiting for the network, once its body has been cut off."""

_TOO_LARGE = f"it is larger than {MAX_BODY} bytes"
_UNREADABLE = "http_client has closed it, or has no way to read it here"


class Reading:
    """What was read of the answer to one request.

    Args:
        request: The request, as it is to be sent.
        client: The client that sends it.

    Attributes:
        is_done: Whether the answer has come, and the other attributes are set.
        status: The HTTP status.
        headers: Names in lower case, and values.
        body: The content. Empty where it was not read.
        problem: Why the body was not read, or "".
    """

    def __init__(self, request: Any, client: Any) -> None:
        request.extensions[_MARK] = self
        # The time limits are the client's own.
        self._extensions = {name: value for name, value in request.extensions.items() if name != "timeout"}
        headers = type(request.headers)(request.headers)
        self._sent = {"method": request.method, "url": request.url, "headers": headers, "stream": request.stream}
        self._cookies = KeptCookies(client, request.url.raw_host.decode("ascii"))
        self.is_done = False
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.body = b""
        self.problem = ""

    def after_hooks(self, request: Any) -> None:
        """Restore the request that is to be sent."""
        for name, value in self._sent.items():
            setattr(request, name, value)
        theirs = {name: value for name, value in request.extensions.items() if name not in _STEERING}
        request.extensions = {**theirs, **self._extensions}
        self._cookies.keep()

    async def before_hooks(self, response: Any) -> None:
        """Read the answer, and let the hooks that come next read it as well."""
        self._cookies.put_back(response)
        if _is_compressed(response):
            pass  # the other hooks may read it; unpacked, it may be a thousand times as large
        elif (content := _content_of(response)) is not None:
            self._keep(content)  # its stream may have been read to its end
        else:
            stream = response.stream
            await self._read(stream)
            response.stream = library_of(response).ByteStream(self.body)  # type: ignore[union-attr]  # it has one
            if (elapsed := getattr(stream, "elapsed", None)) is not None:
                response.elapsed = elapsed  # httpx2 asks the stream for it
        self._done(response)

    async def finish(self, response: Any) -> None:
        """Read the answer, unless a hook of ours has, and close it."""
        try:
            if not self.is_done:
                if not _is_compressed(response):
                    await self._read_late(response)
                self._done(response)
        finally:
            await close_quietly(response.aclose)  # noqa: ASYNC102 - it is shielded

    async def find(self, error: Exception) -> None:
        """Take the answer from what was raised for its status, where no hook of ours has read it.

        An error may also bring the answer of another server that a hook has asked.
        """
        for each in chain_of(error):
            with suppress(Exception):
                response = each.response  # type: ignore[attr-defined]  # not every error has one
                if not self.is_done and _reading_of(response.request) is self:
                    await self.finish(response)

    async def _read_late(self, response: Any) -> None:
        if (content := _content_of(response)) is not None:
            self._keep(content)
            return
        try:
            await self._read(response.aiter_raw())
        except RuntimeError:  # closed, taken, or a stream of the other kind; network errors are others
            self.problem = _UNREADABLE

    async def _read(self, chunks: Any) -> None:
        body, dropped = Secret(bytearray()), 0  # no frame that a time limit passes shows half a token
        try:
            # Cancelled from within, not left by `break`: that would leave generators to the garbage collector.
            with anyio.CancelScope() as scope:
                async for chunk in chunks:
                    if len(body.value) <= MAX_BODY:
                        body.value += chunk
                    else:
                        dropped += len(chunk)
                    del chunk
                    if len(body.value) > MAX_BODY:
                        scope.cancel()
                    if dropped > _HELD:
                        break  # a stream that never waits is not ended by a cancellation
        finally:
            await close_quietly(chunks.aclose)  # noqa: ASYNC102 - it is shielded
        self._keep(bytes(body.value))

    def _keep(self, body: bytes) -> None:
        self.body, self.problem = (body, "") if len(body) <= MAX_BODY else (b"", _TOO_LARGE)

    def _done(self, response: Any) -> None:
        if _is_compressed(response):
            self.problem = "it is compressed, though it was asked for as it is"
        self.headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        self.status = response.status_code
        self.is_done = True


@contextmanager
def reading_answer(request: Any, client: Any) -> Iterator[Reading]:
    """Read the answer to a request that a client sends in the block, also where a hook gives it other extensions."""
    reading = Reading(request, client)
    _READINGS[id(request)] = request, reading
    try:
        yield reading
    finally:
        del _READINGS[id(request)]


def surround_hooks(client: Any) -> None:
    """Put our hooks around those of the client. They stay there, and ignore requests that are not ours."""
    hooks = getattr(client, "event_hooks", None)
    if not isinstance(hooks, dict):
        return
    before, after = list(hooks.get("request", ())), list(hooks.get("response", ()))
    if before[-1:] != [_send_ours] or after[:1] != [_read_ours]:
        # New lists: the old ones may be in use.
        before = [*(hook for hook in before if hook is not _send_ours), _send_ours]
        after = [_read_ours, *(hook for hook in after if hook is not _read_ours)]
        with suppress(AttributeError):  # a client by its shape alone may show its hooks and take no others
            client.event_hooks = {**hooks, "request": before, "response": after}


async def _send_ours(request: Any) -> None:
    reading = _reading_of(request)
    if reading is not None:
        reading.after_hooks(request)


async def _read_ours(response: Any) -> None:
    reading = _reading_of(response.request)
    if reading is not None and library_of(response) is not None:
        await reading.before_hooks(response)


_READINGS: dict[int, tuple[Any, Reading]] = {}
"""The requests that are being sent, by their ids, since not each can be a key; and no weak dictionary, since a Ctrl-C
that trio raises in its finalizers, which are Python code, is lost."""


def _reading_of(request: Any) -> Reading | None:
    if id(request) in _READINGS:
        return _READINGS[id(request)][1]
    reading: Reading | None = request.extensions.get(_MARK)
    return reading


def _is_compressed(response: Any) -> bool:
    return response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _content_of(response: Any) -> bytes | None:
    """The body, where it came with the answer."""
    with suppress(Exception):
        content: bytes = response.content
        return content
    return None
