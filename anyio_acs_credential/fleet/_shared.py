"""One token for many processes: `shared`, and what may be given to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks import is_number
from .._errors import explained, wrong_type
from .._public import public
from .._refreshing.source import check_refresher
from ._rounds import SharedSource
from ._store import is_store

if TYPE_CHECKING:
    from .._refreshing.source import TokenRefresher
    from ._store import TokenStore

_SHORTEST_LEASE, _LONGEST_LEASE = 1.0, 300.0  # seconds


def shared(source: TokenRefresher, store: TokenStore, *, key: str, lease: float = 5.0) -> SharedSource:
    """A token source that gives the same token to all processes that have the same store and key.

    Give it to a credential as its `token_refresher`, and enter the store around the credential's block. Asked for a
    token, it takes what the store holds, if that is newer than what it gave last. Else one process takes the lease,
    asks the source and puts what that gave into the store, where the others wait for it. Failures are shared as well,
    for as long as the source asked to wait, or as a back-off says, and for five minutes at most: each process is told
    once, and a `refresh()` that comes after that asks the source.

    It waits for the store, and for the source or another process, as long as the round lasts. A process that waits for
    its source for longer than a minute loses the lease to the next. Cancelling it ends the lease; where the round's
    time is up, that is a failure which the others are told. A store that fails, takes longer than a second or answers
    nonsense is logged once and done without, and tried again at the pace of a back-off.

    Args:
        source: What fetches a token: a token refresher, or an `EntraTokenExchange`, which is asked with the claims of
            challenges too.
        store: Where the token is kept, such as a `SQLiteTokenStore`. One store may serve many sources.
        key: Whose token it is: a text of your own, the same in all processes for the same user, another for each
            other user and scope.
        lease: Seconds after which the next process takes over from one that was killed as it asked, 1 to 300.

    Returns:
        A token source for one credential.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the key is empty or the lease out of its range.
    """
    check_refresher(source)
    if not is_store(store):
        raise wrong_type("sharing", "store is a token store, such as a SQLiteTokenStore", store)
    if not isinstance(key, str):
        raise wrong_type("sharing", "key is a text that names the user", key)
    if not key:
        raise explained("sharing", ValueError("key is empty: give a text that names the user in all processes"))
    if not is_number(lease):
        raise wrong_type("sharing", "lease is a number of seconds", lease)
    if not _SHORTEST_LEASE <= lease <= _LONGEST_LEASE:  # false for NaN as well
        raise explained("sharing", ValueError(f"lease is from 1 to 300 seconds, not {lease!r}"))
    return SharedSource(source, store, key, lease)


public(shared, module="fleet")
