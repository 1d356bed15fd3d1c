"""Whether the processes that use a store have the same encryption keys. No I/O.

Names are hidden with the key: a process with a wrong one finds an empty store, which tells it nothing. So a store keeps
the marks of the keys that are in use, under a name that is the same for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._common.errors import explained
from ._store import StoreError

if TYPE_CHECKING:
    from ._sealing import Sealer

NAME = "keys"
"""Where the marks are: a name that is not hidden, and so is none of those that are."""

RENEWED = 3600.0
"""Seconds after which a process looks again, and puts its marks anew."""

KEPT = 24 * 3600.0
"""Seconds for which the marks are kept, so that those of a key that is lost end by themselves."""

_MOST = 8  # marks: those of keys that were replaced go


def agreed(kept: bytes | None, sealer: Sealer) -> bytes:
    """The marks to keep: those of this process, and the others that are known.

    Where a key is being replaced, a process that has both lets in those that have either.

    Args:
        kept: What is kept, if anything.
        sealer: This process's.

    Raises:
        StoreError: when there are marks, and none of them is this process's.
    """
    # Keyed hashes, which tell nothing of the keys.
    ours = [mark.encode() for mark in (sealer.name(NAME), *sealer.older_names(NAME))]
    known = [] if kept is None else kept.split()
    if known and not set(known) & set(ours):
        raise explained(
            "wrong-encryption-key",
            StoreError(
                "the other processes of the fleet have another encryption key: give all processes the same "
                "encryption_keys, or wait for a day where their key is lost",
                permanent=True,
            ),
        )
    return b" ".join([*ours, *(mark for mark in known if mark not in ours)][:_MOST])
