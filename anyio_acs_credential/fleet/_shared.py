"""One token for many processes: `shared`, and the checks of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._common.checks import is_number
from .._common.errors import explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret
from .._refreshing.source import source_of
from ._rounds import SharedSource
from ._store import is_store

if TYPE_CHECKING:
    from .._refreshing.source import TokenRefresher
    from ._store import TokenStore

_SHORTEST_LEASE, _LONGEST_LEASE = 1.0, 300.0  # seconds


def shared(source: TokenRefresher, store: TokenStore, *, key: str, lease: float = 5.0) -> SharedSource:
    """A token source that gives the same token to all processes that have the same store and key.

    Give it to a credential as its `token_refresher`, and enter the store around the credential's block. When it is
    asked for a token, it takes the store's token, if that is newer than the one it gave last. Otherwise one process
    takes the lease, asks the source and puts the token into the store, where the others wait for it. A failure is
    shared as well, for as long as the source asked to wait or the back-off says, and for five minutes at most: each
    process raises it once, and a `refresh()` after that asks the source.

    It waits for the store, and for the source or another process, for as long as the round lasts. A process whose
    source takes longer than a minute loses the lease to the next one. Cancelling it ends the lease. A round whose time
    is up is a failure, which the others share. A store that fails, takes longer than a second or answers nonsense is
    logged once; the process then asks its source by itself, and tries the store again at the pace of a back-off.

    Args:
        source: Fetches a token: a token refresher, or an `EntraTokenExchange`, which also gets the claims of
            challenges.
        store: Keeps the token, such as a `SQLiteTokenStore`. One store may serve many sources.
        key: Whose token it is: a text of your own, the same in all processes for the same user, and a different one for
            each other user and scope.
        lease: Seconds, from 1 to 300, after which the next process takes over from one that was killed as it asked.

    Returns:
        A token source for one credential.

    Raises:
        TypeError: when an argument is of a wrong type.
        ValueError: when the key is empty, or the lease is out of its range.
    """
    given, kept = Secret(source), Secret(store)
    del source, store  # no frame that an error passes shows a token's text, or a source in place of the store
    if not is_store(kept.value):
        raise wrong_type("sharing", "store is a token store, such as a SQLiteTokenStore", kept.value)
    if not isinstance(key, str):
        raise wrong_type("sharing", "key is a text that names the user", key)
    if not key:
        raise explained("sharing", ValueError("key is empty: give a text that names the user in all processes"))
    if not is_number(lease):
        raise wrong_type("sharing", "lease is a number of seconds", lease)
    if not _SHORTEST_LEASE <= lease <= _LONGEST_LEASE:  # false for NaN as well
        raise explained("sharing", ValueError(f"lease is from 1 to 300 seconds, not {lease!r}"))
    return SharedSource(source_of(given.value), kept.value, key, lease)


public(shared, module="fleet")
