"""The rules of a token store, run against one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..fleet._store import Taken, TokenStore

    Rule = Callable[[TokenStore, str], Awaitable[None]]

_LONG, _SHORT = 60.0, 0.2  # seconds: a lease that outlives every check, and one that a check waits for
_PATIENCE = 10.0  # seconds within which a short lease or entry has to end
_TIMES = 5  # on trio, which shuffles tasks, the greatest fence comes last by chance once in `_MANY` times
_MANY = 20


async def check_token_store(make_store: Callable[[], TokenStore]) -> None:
    """Run every rule of `fleet.TokenStore` against a store of your own.

    It waits a second or two for leases that have to end; in virtual time, with a store that goes by a `VirtualClock`,
    no real time passes. Cancelling it leaves the store that is open. It uses new names, and its entries end within a
    minute.

    Args:
        make_store: Makes a store, not entered; called once for each rule.

    Raises:
        AssertionError: when a rule is broken; the message says which.
    """
    for rule in _RULES:
        name = f"check:{rule.__name__}:{secrets.token_hex(8)}"
        async with make_store() as store:
            await rule(store, name)


def _demand(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)


async def _take(store: TokenStore, name: str, seconds: float = _LONG) -> int:
    """Take a lease that is free, or is about to be."""
    with anyio.move_on_after(_PATIENCE):
        while (taken := await store.take(name, seconds)).fence is None:  # noqa: ASYNC110 - a store tells nobody
            await anyio.sleep(_SHORT / 4)
        return taken.fence
    raise AssertionError(f"a lease whose time is over is free, and take() still gives no fence after {_PATIENCE:g} s")


def _demand_held(taken: Taken, most: float) -> None:
    _demand(taken.fence is None, "a lease has one holder, and take() gave it to a second one")
    _demand(
        0 < taken.free_in <= most, f"free_in is what is left of the lease, at most {most:g} s, not {taken.free_in!r}"
    )


async def _a_lease_has_one_holder(store: TokenStore, name: str) -> None:
    _demand(await store.look(name) is None, "look() gives None where nothing was put")
    first = await store.take(name, _LONG)
    _demand(first.entry is None, "take() gives no entry where nothing was put")
    _demand(type(first.fence) is int and first.fence > 0, f"a fence is a positive int, not {first.fence!r}")
    _demand(first.free_in == 0, "free_in is 0.0 for who has got the lease")
    _demand_held(await store.take(name, 2 * _LONG), _LONG)
    await _take(store, f"{name}:another")


async def _of_many_at_once_one_gets_the_lease(store: TokenStore, name: str) -> None:
    fences: list[int | None] = []

    async def take() -> None:
        fences.append((await store.take(name, _LONG)).fence)

    async with anyio.create_task_group() as group:
        for _ in range(_MANY):
            group.start_soon(take)
    got = sum(fence is not None for fence in fences)
    _demand(got == 1, f"one of {_MANY} who call take() at once gets the lease, not {got}")


async def _a_lease_is_prolonged_by_its_fence(store: TokenStore, name: str) -> None:
    _demand(not await store.prolong(name, 1, _LONG), "prolong() is False where there is no lease")
    fence = await _take(store, name, _LONG)
    _demand(await store.prolong(name, fence, 2 * _LONG), "prolong() is True while the lease lasts")
    _demand(not await store.prolong(name, fence - 1, _LONG), "prolong() is False for another fence")
    taken = await store.take(name, _LONG)
    _demand_held(taken, 2 * _LONG)
    _demand(taken.free_in > _LONG, "prolong() has the lease last so many seconds from now on")


async def _a_lease_is_released_by_its_fence(store: TokenStore, name: str) -> None:
    await store.release(name, 1)
    fence = await _take(store, name)
    await store.release(name, fence - 1)
    _demand_held(await store.take(name, _LONG), _LONG)
    await store.release(name, fence)
    _demand(not await store.prolong(name, fence, _LONG), "prolong() is False for a lease that was released")
    following = (await store.take(name, _LONG)).fence
    _demand(following is not None, "release() frees the lease")
    _demand(following is not None and following > fence, "each lease of a name has a greater fence than those before")
    await store.release(name, fence)
    _demand_held(await store.take(name, _LONG), _LONG)


async def _a_lease_ends_by_itself(store: TokenStore, name: str) -> None:
    fence = await _take(store, name, _SHORT)
    following = await _take(store, name, _LONG)
    _demand(following > fence, "each lease of a name has a greater fence than those before")
    _demand(not await store.prolong(name, fence, _LONG), "prolong() is False for a lease that has passed to another")
    _demand_held(await store.take(name, _LONG), _LONG)


async def _what_is_put_is_kept(store: TokenStore, name: str) -> None:
    for value in (b"", bytes(range(256)), 100_000 * b"value"):
        fence = await _take(store, name)
        _demand(await store.put(name, fence, value, _LONG), "put() is True where nothing newer is kept")
        taken = await store.take(name, _LONG)
        _demand(taken.fence is not None, "put() ends the lease of its fence")
        for entry in (taken.entry, await store.look(name)):
            _demand(entry is not None, "what was put is there, for look() and for take()")
            _demand(entry is not None and entry.value == value, "the value is that which was put")
            _demand(entry is not None and entry.fence == fence, "an entry's fence is that with which it was put")
        await store.release(name, taken.fence or 0)


async def _nothing_newer_is_replaced(store: TokenStore, name: str) -> None:
    fence = await _take(store, name)
    await store.put(name, fence, b"newer", _LONG)
    following = await _take(store, name)
    for older in (fence, fence - 1):
        _demand(
            not await store.put(name, older, b"older", _LONG), "put() is False where what is kept is as new or newer"
        )
    entry = await store.look(name)
    _demand(entry is not None and entry.value == b"newer", "a put() that is False changes nothing")
    _demand(await store.prolong(name, following, _LONG), "a put() that is False leaves the lease alone")


async def _of_many_at_once_the_newest_is_kept(store: TokenStore, name: str) -> None:
    for _ in range(_TIMES):
        fences: list[int] = []
        for _ in range(_MANY):
            fences.append(await _take(store, name))
            await store.release(name, fences[-1])
        async with anyio.create_task_group() as group:
            for fence in reversed(fences):
                group.start_soon(store.put, name, fence, str(fence).encode(), _LONG)
        entry = await store.look(name)
        _demand(
            entry is not None and entry.fence == fences[-1] and entry.value == str(fences[-1]).encode(),
            f"of {_MANY} put() at once, that with the greatest fence is kept: compare and replace in one operation",
        )


async def _a_late_answer_is_kept_and_leaves_the_next_lease(store: TokenStore, name: str) -> None:
    late = await _take(store, name, _SHORT)
    fence = await _take(store, name)
    _demand(
        await store.put(name, late, b"late", _LONG), "put() is True where nothing newer is kept, without a lease too"
    )
    _demand(await store.prolong(name, fence, _LONG), "put() ends the lease of its own fence, and no other's")
    _demand(await store.put(name, fence, b"newer", _LONG), "put() replaces an entry with a lower fence")
    entry = await store.look(name)
    _demand(entry is not None and entry.value == b"newer", "put() replaces an entry with a lower fence")


async def _an_entry_ends(store: TokenStore, name: str) -> None:
    fence = await _take(store, name)
    await store.put(name, fence, b"value", _SHORT)
    with anyio.move_on_after(_PATIENCE):
        while await store.look(name) is not None:  # noqa: ASYNC110 - likewise
            await anyio.sleep(_SHORT / 4)
        taken = await store.take(name, _LONG)
        _demand(taken.entry is None, "an entry whose time is over is there neither for look() nor for take()")
        _demand(taken.fence is not None and taken.fence > fence, "fences grow also where the last entry is gone")
        return
    raise AssertionError(f"look() still gives an entry {_PATIENCE:g} s after its time was over")


async def _names_are_apart(store: TokenStore, name: str) -> None:
    names = [
        name,
        name.upper(),
        f"{name} ",
        f"{name}\0",
        f"{name}'\";%_*{{}}",
        f"{name}:Ünï\N{GRINNING FACE}",
        4000 * name,
    ]
    for each in names:
        await store.put(each, await _take(store, each), each.encode(), _LONG)
    for each in names:
        entry = await store.look(each)
        _demand(
            entry is not None and entry.value == each.encode(),
            f"each text is a name of its own, such as one with {len(each)} characters and the end {each[-8:]!r}",
        )


async def _what_is_cancelled_harms_nobody(store: TokenStore, name: str) -> None:
    for seconds in (0.0, 0.0001, 0.001, 0.01):
        with anyio.move_on_after(seconds):
            await store.take(name, _SHORT)
    fence = await _take(store, name)
    with anyio.move_on_after(0):
        await store.put(name, fence, b"value", _LONG)
    entry = await store.look(name)
    _demand(entry is None or entry.value == b"value", "a cancelled put() has had its effect, or has none")


_RULES: tuple[Rule, ...] = (
    _a_lease_has_one_holder,
    _of_many_at_once_one_gets_the_lease,
    _a_lease_is_prolonged_by_its_fence,
    _a_lease_is_released_by_its_fence,
    _a_lease_ends_by_itself,
    _what_is_put_is_kept,
    _nothing_newer_is_replaced,
    _of_many_at_once_the_newest_is_kept,
    _a_late_answer_is_kept_and_leaves_the_next_lease,
    _an_entry_ends,
    _names_are_apart,
    _what_is_cancelled_harms_nobody,
)
