"""The operations of the emulator, for which faults can be ordered. No I/O."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import product
from typing import TYPE_CHECKING

from .._common.errors import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PLACE = re.compile(r"\{(\w+)\}")
_RAW_ID = re.compile(r"\d+:[^/$]+")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

# What the method and the path of no request have, and what to do.
_NEVER_THERE = {
    r"\\\?|(?<![(*+}])\?[\w$.-]+=": "leave out the query, which is no part of the path",
    "://": "leave out the scheme and the host",
    r"^\^?[a-z]+ /": "write the method in capitals",
}


class Operations:
    """The emulator's operations.

    Args:
        addresses: The method and the path of each, with names in braces, such as `{identity}`, where requests differ.
        tenant_id: The tenant's id.
        identities: Returns the raw ids of the known users.
    """

    def __init__(
        self, addresses: Iterable[tuple[str, str]], tenant_id: str, identities: Callable[[], Iterable[str]]
    ) -> None:
        self._known = [f"{method} {path}" for method, path in addresses]
        self._tenants = (tenant_id, "organizations", "common")
        self._identities = identities
        self._invented: list[str] = []

    def invent(self, target: str) -> None:
        """Admit the target of an ordered answer. Where no operation fits it, it becomes an operation itself.

        Raises:
            ValueError: when no operation fits it, and it is not a path, looks like a misspelt operation, or has what no
                request has, such as a query.
        """
        words = _literal(target)
        if self._fits(target) is None:
            if "/" not in words or self._nearest(words) or _advice(target):
                raise self._refusal(target)
            self._invented.append(words)

    def check(self, target: str) -> None:
        """Admit a target that fits an operation, or the target of an ordered answer.

        Raises:
            ValueError: when it fits none.
        """
        if self._fits(target) is None:
            raise self._refusal(target)

    def _fits(self, target: str) -> str | None:
        words = _literal(target)  # it may name users and principals that become known only later
        ids = [*_GUID.findall(words), self._tenants[0]]
        users = ["8:acs:resource_user", *_RAW_ID.findall(words), *self._identities()]
        fillings = {"tenant": self._tenants, "tenant_id": ids, "object_id": ids, "identity": users}
        requests = [*self._invented]
        for known in self._known:
            form, places = _PLACE.sub("{}", known), _PLACE.findall(known)
            requests += (form.format(*filling) for filling in product(*(fillings[place] for place in places)))
        return next((request for request in requests if re.search(target, request)), None)

    def _nearest(self, words: str) -> list[str]:
        names = {name for known in self._known for name in re.findall(r"[A-Za-z]{6,}", known)}
        asked = [word for word in re.findall(r"[A-Za-z]{6,}", words) if word not in names]
        return [near for word in asked for near in get_close_matches(word, names, n=1, cutoff=0.75)]

    def _refusal(self, target: str) -> ValueError:
        nearest = self._nearest(_literal(target))
        meant = f"did you mean {nearest[0]!r}?" if nearest else f"{advice}." if (advice := _advice(target)) else ""
        return explained(
            "emulator-fault",
            ValueError(
                f"no operation of the emulator fits the target {target!r}{f': {meant}' if meant else '.'} "
                f"It has {', '.join(self._known)}; what else is to be there is ordered with answer() first"
            ),
        )


def _advice(target: str) -> str | None:
    return next((advice for pattern, advice in _NEVER_THERE.items() if re.search(pattern, target)), None)


def _literal(target: str) -> str:
    """A pattern as plain text, without anchors and escapes."""
    return re.sub(r"\\(.)", r"\1", target.strip("^$"))
