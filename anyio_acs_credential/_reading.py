"""Reading an answer, within the limits, before the hooks of a client that is somebody else's see it.

A hook may read the answer, as HTTP libraries show it, or raise for its status, upon which the client closes it unread.
So a hook of ours comes first: it reads the answers to our own requests, and leaves them to the others as if unread.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import anyio

READING = "anyio_acs_credential.reading"
"""The extension of a request of ours that holds its `Reading`."""

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read at most. Tokens take 2 to 4 KiB."""

_TOO_LARGE = f"it is larger than {MAX_BODY} bytes"
_CLOSE_TIMEOUT = 1.0


class Reading:
    """What was read of one answer.

    Attributes:
        is_done: Whether the rest is there.
        status: The HTTP status.
        headers: Names in lower case, and values.
        body: The content. Empty where it was not read.
        problem: Why it was not, or "".
    """

    def __init__(self) -> None:
        self.is_done = False
        self.status = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.body = b""
        self.problem = ""

    async def before_hooks(self, response: Any) -> None:
        """Read it, and let the hooks that come next read it as well."""
        if not _is_compressed(response):  # else it is theirs to read: what is unpacked may be a thousand times as large
            await self._read(response.stream)
            module = sys.modules[type(response).__module__.partition(".")[0]]
            response.stream = module.ByteStream(self.body)
        self._done(response)

    async def finish(self, response: Any) -> None:
        """Read it where no hook of ours has, and close it."""
        try:
            if not self.is_done:
                if _is_compressed(response):
                    pass
                elif (content := _content_of(response)) is not None:
                    self._keep(content)
                else:
                    await self._read(response.aiter_raw())
                self._done(response)
        finally:
            with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                await response.aclose()

    async def _read(self, chunks: Any) -> None:
        body = bytearray()
        try:
            # Cancelled from within, not left by `break`: that would leave generators to the garbage collector.
            with anyio.CancelScope() as scope:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > MAX_BODY:
                        scope.cancel()
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


def read_before_hooks(client: Any) -> None:
    """Have the client call our hook before its own. It stays there, and does nothing for requests that are not ours."""
    hooks = getattr(client, "event_hooks", None)
    if isinstance(hooks, dict) and hooks.get("response", [])[:1] != [_read_ours]:
        others = [hook for hook in hooks.get("response", []) if hook is not _read_ours]
        client.event_hooks = {**hooks, "response": [_read_ours, *others]}  # a new list: the old one may be in use


async def _read_ours(response: Any) -> None:
    reading = response.request.extensions.get(READING)
    if reading is not None:
        await reading.before_hooks(response)


def _is_compressed(response: Any) -> bool:
    return response.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _content_of(response: Any) -> bytes | None:
    """The body, where it came with the answer."""
    with suppress(Exception):
        content: bytes = response.content
        return content
    return None
