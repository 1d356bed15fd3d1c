"""A store in Redis, for the machines of a service."""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import checkpoint

from .._common.errors import CredentialError, explained, wrong_type
from .._common.extras import missing_extra
from .._common.public import public
from .._common.redaction import Secret, redact
from .._loops.beside import beside
from .._loops.block import leaving
from ._agreement import KEPT, NAME, RENEWED, agreed
from ._desk import Desk
from ._redis_client import OwnClient, read_address
from ._redis_scripts import LOOK, PROLONG, PUT, RELEASE, TAKE, keys_of, milliseconds
from ._sealing import Sealer
from ._store import Entry, StoreError, Taken, TokenStore, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from coredis import Redis, RedisCluster

    from ._redis_scripts import Script

T = TypeVar("T")

_TRIES = 3  # to put the marks of our keys, while others put theirs
_FENCES_KEPT = 24 * 3600  # seconds; a fence could repeat only if Redis's clock were set back further than that


class RedisTokenStore(TokenStore):
    """A `TokenStore` for many machines, in a Redis that all of them reach: Redis 6.2 or later, or Valkey.

    Entering it connects to nothing: the first operation that needs Redis says if it cannot be reached. An operation
    waits for Redis, 5 seconds at most for a connection and as long for an answer. Cancelling an operation ends it at
    once, whatever the network does; it may have had its effect.

    Values are encrypted, and names are hashed. Leases and entries last by the clock of Redis.

    Its operations are those of `TokenStore`. They raise `StoreError` when Redis fails or an entry cannot be read, and
    `CredentialUsageError` where the store is not open.

    Args:
        url_or_client: `redis://user:password@host:6379/0`, `unix:///path`, or `rediss://` for TLS, which trusts the
            authorities that the system trusts, or those in the file that the URL's parameter `ssl_ca_certs` names. Or a
            client of coredis, such as one of a cluster or of a Sentinel, which is open for as long as the store is; the
            store does not close it.
        encryption_keys: Texts that `new_encryption_key()` made. The first one encrypts; all decrypt.
        prefix: The text that the keys in Redis begin with.

    Raises:
        ImportError: when the extra `[redis]` is not installed.
        TypeError: when an argument is of a wrong type.
        ValueError: when the URL, the prefix or a key cannot be used.
    """

    def __init__(
        self,
        url_or_client: str | Redis[Any] | RedisCluster[Any],
        *,
        encryption_keys: Iterable[str],
        prefix: str = "acs",
    ) -> None:
        # No frame that an error passes shows a password or a key.
        given, url_or_client = Secret(url_or_client), ""
        keys, encryption_keys = Secret(encryption_keys), ()
        self._sealer = Sealer(keys.value)
        self._prefix = _check_prefix(prefix)
        if find_spec("coredis") is None:
            raise explained(
                "extra-missing",
                ImportError(missing_extra("RedisTokenStore needs coredis, which", "redis"), name="coredis"),
            )
        is_url = isinstance(given.value, str)
        # str.__str__, here and below, since a subclass of str may show another text than it holds.
        self._address = read_address(Secret(str.__str__(given.value))) if is_url else None
        self._given = None if self._address else _check_client(given.value)
        self._desk = Desk()
        self._agree_at = 0.0
        self._own: OwnClient | None = None
        self._block: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> Self:
        self._agree_at = 0.0
        if self._address is None:
            self._desk.enter()
            await checkpoint()
            return self
        # In a thread, since importing coredis takes a second.
        own = OwnClient(await to_thread.run_sync(self._address.make_factory, limiter=CapacityLimiter(1)))
        self._desk.enter()
        block = beside(own, "Redis of a token store")
        await block.__aenter__()  # it never yields, so no second task can enter in between
        self._block, self._own = block, own
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._desk.check()
        block = self._block
        if block is not None:
            leaving(block)  # it refuses a task that cannot leave, before anything is closed
        self._desk.leave()
        self._block = None
        if block is not None:
            await block.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - its task has been told to end

    async def look(self, name: str) -> Entry | None:
        hidden = self._sealer.name(name)
        return await self._newest(name, await self._ask(LOOK, hidden, read=self._entry(name)))

    async def take(self, name: str, seconds: float) -> Taken:
        read_entry = self._entry(name)

        def read(answer: Any) -> Taken:
            *found, fence, left = answer
            entry = None
            with suppress(UnreadableError):  # an unreadable entry counts as none here, since its lease replaces it
                entry = read_entry(found)
            return Taken(entry, None if fence is None else int(fence), int(left) / 1000)

        terms = (milliseconds(seconds), milliseconds(_FENCES_KEPT))
        taken = await self._ask(TAKE, self._sealer.name(name), *terms, read=read)
        with suppress(UnreadableError):
            return Taken(await self._newest(name, taken.entry), taken.fence, taken.free_in)
        return taken

    async def prolong(self, name: str, fence: int, seconds: float) -> bool:
        return await self._ask(PROLONG, self._sealer.name(name), fence, milliseconds(seconds), read=_is_one)

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        sealed, value = self._sealer.seal(name, fence, value), b""  # no frame that an error passes shows it
        return await self._ask(PUT, self._sealer.name(name), fence, sealed, milliseconds(seconds), read=_is_one)

    async def release(self, name: str, fence: int) -> None:
        await self._ask(RELEASE, self._sealer.name(name), fence, read=_is_one)

    async def _newest(self, name: str, entry: Entry | None) -> Entry | None:
        """This entry, or a newer one under an older name, where other processes put theirs while a key is replaced."""
        for older in self._sealer.older_names(name):
            other = await self._ask(LOOK, older, read=self._entry(name))
            if other is not None and (entry is None or other.fence > entry.fence):
                entry = other
        return entry

    async def _agree(self) -> None:
        """See that the others have our key."""
        for _ in range(_TRIES):
            kept = await self._run(LOOK, NAME, read=_kept)
            value, fence = (None, 0) if kept is None else (kept.value, kept.fence)
            marks = agreed(value, self._sealer)
            if await self._run(PUT, NAME, fence + 1, marks, milliseconds(KEPT), read=_is_one):
                return

    async def _ask(self, script: Script, hidden: str, *arguments: bytes | int, read: Callable[[Any], T]) -> T:
        self._desk.check()
        if time.monotonic() >= self._agree_at:
            self._agree_at = time.monotonic() + RENEWED  # one of those who ask at once looks for all
            try:
                await self._agree()
            except BaseException:
                self._agree_at = 0.0
                raise
        return await self._run(script, hidden, *arguments, read=read)

    async def _run(self, script: Script, hidden: str, *arguments: bytes | int, read: Callable[[Any], T]) -> T:
        try:
            async with nullcontext(self._given) if self._own is None else self._own.client() as client:
                return read(await script.run(client, keys_of(self._prefix, hidden), *arguments))
        except CredentialError:
            raise
        except Exception as error:  # noqa: BLE001 - coredis, the network or a nonsensical answer may raise anything
            problem = redact(_said(error), *self._passwords())
        # Raised outside of the handler, or frames of coredis, which hold the password, would be in the error's context.
        raise explained(
            "redis-failed",
            StoreError(
                f"Redis at {self._where()} has failed ({problem}): see that it runs, is reached from here, and lets "
                "the store run scripts"
            ),
        )

    def _entry(self, name: str) -> Callable[[Any], Entry | None]:
        def read(answer: Any) -> Entry | None:
            sealed = _kept(answer)
            return sealed and Entry(sealed.fence, self._sealer.open(name, sealed.fence, sealed.value))

        return read

    def _passwords(self) -> list[str]:
        return self._address.passwords.value if self._address is not None else []

    def _where(self) -> str:
        if self._address is not None:
            return self._address.shown
        pool = getattr(self._given, "connection_pool", None)
        return str(getattr(pool, "location", None) or "the client's address")

    def __reduce__(self) -> NoReturn:
        raise explained("pickling", TypeError("a store holds keys and is not pickled; make one in each process"))


def _kept(answer: Any) -> Entry | None:
    """What Redis has, as it is there."""
    fence, value = answer
    if fence is None or value is None:
        return None
    if not isinstance(value, bytes | str):
        raise TypeError("no text is kept")
    return Entry(int(fence), value.encode() if isinstance(value, str) else value)


def _is_one(answer: Any) -> bool:
    return {0: False, 1: True}[answer]  # anything else is nonsense


def _said(error: BaseException | None) -> str:
    """The texts of an error and its causes, since coredis itself often says only that there is no connection."""
    said: list[str] = []
    while error is not None and len(said) < 5:
        said.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return ", from ".join(said)


def _check_prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise wrong_type("redis-url", "prefix is text", prefix)
    text = str.__str__(prefix)
    if {"{", "}"} & set(text):
        raise explained(
            "redis-url",
            ValueError("prefix has a brace in it, with which Redis Cluster would spread a name's keys: leave it out"),
        )
    return text


def _check_client(client: Any) -> Any:
    if isinstance(client, type) or not (hasattr(client, "evalsha") and hasattr(client, "create_request")):
        kind = "a class" if isinstance(client, type) else type(client).__name__
        raise explained(
            "redis-url",
            TypeError(f"url_or_client is the URL of a Redis, or a client of coredis (redis-py is another), not {kind}"),
        )
    return client


public(RedisTokenStore, module="fleet")
