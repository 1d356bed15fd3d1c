"""The contents of MSAL's token cache, as a store keeps them, and how changes of two processes are merged. No I/O."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._common.redaction import Secret

Contents: TypeAlias = "dict[str, dict[str, dict[str, Any]]]"
"""Entries by kind and key, as MSAL has them. An entry is replaced as a whole and never changed in place."""

_TIMES = ("last_modification_time", "cached_at")  # MSAL dates refresh tokens and access tokens so, and nothing else


def read(value: Secret) -> Contents:
    """The contents in a store's value.

    Args:
        value: The bytes that `write()` made.

    Raises:
        ValueError: when they are not the contents of a token cache. The message shows nothing of them.
    """
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(value.value)
    if not (isinstance(found, dict) and all(map(_is_kind, found.values()))):
        raise ValueError("an entry of the store holds no token cache: see what else uses this key")
    return found


def write(contents: Contents) -> bytes:
    """The contents as a value for a store."""
    return json.dumps(contents, separators=(",", ":")).encode()


def merge(before: Contents, ours: Contents, theirs: Contents) -> Contents:
    """The contents with the changes of both sides.

    An entry that one side has changed or removed is taken from that side. Where both have changed it, the newer one
    counts, by the second in which MSAL wrote it, and the store's where the seconds are equal or unknown. An entry that
    one side has removed and the other has changed stays.

    Args:
        before: What both sides began with; empty where that is unknown, so that nothing counts as removed.
        ours: The contents in memory.
        theirs: The contents in the store.
    """
    merged: Contents = {}
    for kind in {**theirs, **ours}:
        sides = [side.get(kind, {}) for side in (before, ours, theirs)]
        entries = {key: _chosen(*(side.get(key) for side in sides)) for key in {**sides[2], **sides[1]}}
        merged[kind] = {key: entry for key, entry in entries.items() if entry is not None}
    return merged


def _chosen(
    before: dict[str, Any] | None, ours: dict[str, Any] | None, theirs: dict[str, Any] | None
) -> dict[str, Any] | None:
    if ours == before:
        return theirs
    if theirs == before or theirs is None:
        return ours
    return ours if ours is not None and _written(ours) > _written(theirs) else theirs


def _written(entry: Mapping[str, Any]) -> int:
    for name in _TIMES:
        with suppress(KeyError, TypeError, ValueError):
            return int(entry[name])
    return 0


def _is_kind(entries: object) -> bool:
    return isinstance(entries, dict) and all(isinstance(entry, dict) for entry in entries.values())
