"""The HTTP client that a call is made with: the program's, or one of our own, which is closed again."""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from .._common.checks import is_async
from .._common.errors import wrong_type
from .._common.redaction import Secret
from .._loops.closing import close_quietly
from .._loops.own_thread import in_own_thread
from .._loops.per_loop import PerLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from .request import HttpClient

_LIMITERS = PerLoop(lambda: CapacityLimiter(1))


def client_factory(client: HttpClient | None) -> Callable[[], AbstractAsyncContextManager[HttpClient]]:
    """A function that makes, at each call, a context manager that gives the HTTP client to use.

    Args:
        client: The program's own client, which is never closed here. None for one of ours: entering the block makes it
            with `own_transport.make_client`, in a thread, and raises what that raises; leaving the block closes it.

    Raises:
        TypeError: when `client` is not an asynchronous client.
    """
    given = Secret(client)
    del client  # no frame that an error passes shows what is given by mistake, such as a key
    if given.value is not None:
        if isinstance(given.value, type) or not is_async(getattr(given.value, "send", None)):
            raise wrong_type("http-client", "http_client is an httpx.AsyncClient or httpx2.AsyncClient", given.value)
        return lambda: nullcontext(given.value)
    from . import own_transport  # noqa: F401 - 70 ms that only those pay who need it, and not in the middle of a refresh

    return _open


@asynccontextmanager
async def _open() -> AsyncGenerator[HttpClient]:
    from .own_transport import make_client

    client = await in_own_thread(make_client, limiter=_LIMITERS.get())
    try:
        yield client
    finally:
        await close_quietly(client.aclose)  # noqa: ASYNC102 - it is shielded
