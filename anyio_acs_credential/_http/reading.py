"""Our own requests among the hooks of a client that is somebody else's.

A hook may read an answer, as HTTP libraries show it, or raise for its status, upon which the client closes it unread.
So a hook of ours comes first: it reads the answers to our own requests, within the limits, and leaves them to the
others as if unread. And a hook may put into a request what its program sends elsewhere. So another of ours comes last,
and sends what was signed. Between the two, nothing of an answer gets into the client's cookies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio

from .cookies import KeptCookies
from .request import library_of

READING = "anyio_acs_credential.reading"
"""The extension of a request of ours that holds its `Reading`."""

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read at most. Tokens take 2 to 4 KiB."""

_HELD = 1024 * 1024
"""More bytes than a connection still hands out, once its body is cut off, without waiting for the network."""

_TOO_LARGE = f"it is larger than {MAX_BODY} bytes"
_UNREADABLE = "http_client has closed it, or has no way to read it here"
_CLOSE_TIMEOUT = 1.0


class Reading:
    """What was read of the answer to one request.

    Args:
        request: The request, as it is to be sent.
        client: Who sends it.

    Attributes:
        is_done: Whether the rest is there.
        status: The HTTP status.
        headers: Names in lower case, and values.
        body: The content. Empty where it was not read.
        problem: Why it was not, or "".
    """

    def __init__(self, request: Any, client: Any) -> None:
        headers = type(request.headers)(request.headers)
        self._sent = {"method": request.method, "url": request.url, "headers": headers, "stream": request.stream}
        self._cookies = KeptCookies(client, request.url.raw_host.decode("ascii"))
        self.is_done = False
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.body = b""
        self.problem = ""

    def after_hooks(self, request: Any) -> None:
        """Make it again what is to be sent."""
        for name, value in self._sent.items():
            setattr(request, name, value)
        self._cookies.keep()

    async def before_hooks(self, response: Any) -> None:
        """Read it, and let the hooks that come next read it as well."""
        self._cookies.put_back(response)
        if _is_compressed(response):
            pass  # it is theirs to read: what is unpacked may be a thousand times as large
        elif (content := _content_of(response)) is not None:
            self._keep(content)  # its stream has perhaps been read to its end
        else:
            await self._read(response.stream)
            response.stream = library_of(response).ByteStream(self.body)  # type: ignore[union-attr]  # it has one
        self._done(response)

    async def finish(self, response: Any) -> None:
        """Read it where no hook of ours has, and close it."""
        try:
            if not self.is_done:
                if not _is_compressed(response):
                    await self._read_late(response)
                self._done(response)
        finally:
            with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                await response.aclose()

    async def find(self, error: Exception) -> None:
        """Take the answer from what was raised for its status, where no hook of ours has read it."""
        with suppress(Exception):
            if not self.is_done and (response := getattr(error, "response", None)) is not None:
                await self.finish(response)

    async def _read_late(self, response: Any) -> None:
        if (content := _content_of(response)) is not None:
            self._keep(content)
            return
        try:
            await self._read(response.aiter_raw())
        except RuntimeError:  # closed, taken, or of the other kind of stream; what the network does is none
            self.problem = _UNREADABLE

    async def _read(self, chunks: Any) -> None:
        body, dropped = bytearray(), 0
        try:
            # Cancelled from within, not left by `break`: that would leave generators to the garbage collector.
            with anyio.CancelScope() as scope:
                async for chunk in chunks:
                    if len(body) <= MAX_BODY:
                        body += chunk
                    else:
                        dropped += len(chunk)
                    if len(body) > MAX_BODY:
                        scope.cancel()
                    if dropped > _HELD:
                        break  # it waits for nothing, and no cancellation ends it
        finally:
            with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                await chunks.aclose()
        self._keep(bytes(body))

    def _keep(self, body: bytes) -> None:
        self.body, self.problem = (body, "") if len(body) <= MAX_BODY else (b"", _TOO_LARGE)

    def _done(self, response: Any) -> None:
        if _is_compressed(response):
            self.problem = "it is compressed, though it was asked for as it is"
        self.headers = tuple((name.lower(), value) for name, value in response.headers.multi_items())
        self.status = response.status_code
        self.is_done = True


def surround_hooks(client: Any) -> None:
    """Put our hooks around those of the client. They stay there, and do nothing for requests that are not ours."""
    hooks = getattr(client, "event_hooks", None)
    if not isinstance(hooks, dict):
        return
    before, after = list(hooks.get("request", ())), list(hooks.get("response", ()))
    if before[-1:] != [_send_ours] or after[:1] != [_read_ours]:
        # New lists: the old ones may be in use.
        before = [*(hook for hook in before if hook is not _send_ours), _send_ours]
        after = [_read_ours, *(hook for hook in after if hook is not _read_ours)]
        with suppress(AttributeError):  # what is a client by its shape alone may show its hooks, and take none
            client.event_hooks = {**hooks, "request": before, "response": after}


async def _send_ours(request: Any) -> None:
    reading = request.extensions.get(READING)
    if reading is not None:
        reading.after_hooks(request)


async def _read_ours(response: Any) -> None:
    reading = response.request.extensions.get(READING)
    if reading is not None and library_of(response) is not None:
        await reading.before_hooks(response)


def _is_compressed(response: Any) -> bool:
    return response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _content_of(response: Any) -> bytes | None:
    """The body, where it came with the answer."""
    with suppress(Exception):
        content: bytes = response.content
        return content
    return None
