"""The checks, in the order in which a request meets them, and which check needs which."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anyio

from ..._common.errors import CredentialError
from ._entra import check_exchange, check_sign_in
from ._finding import Finding, State, explain, failure, not_tried
from ._machine import check_environment, check_versions
from ._network import check_name, check_tcp
from ._resource import check_chat, check_clock, check_key, check_resource, check_tls, check_token
from ._scopes import check_assignment, check_scopes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._case import Case


class _Check(NamedTuple):
    """A check.

    Attributes:
        name: Its name for programs.
        needs: The checks without whose success it is pointless.
        run: Makes the check.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[Case], Awaitable[Finding]]


TITLES = {
    "version": "version",
    "clock": "clock",
    "environment": "environment",
    "name": "name",
    "tcp": "TCP",
    "tls": "TLS",
    "resource": "resource",
    "access_key": "access key",
    "sign_in": "Entra sign-in",
    "exchange": "exchange",
    "scopes": "scopes",
    "assignment": "assignment",
    "token": "token",
    "chat": "chat",
}
"""The titles of the checks, in the order in which they are reported."""


# The order in which they are made: the first answer of the service has the time that the clock is compared with.
_ORDER = (
    _Check("version", (), check_versions),
    _Check("environment", (), check_environment),
    _Check("name", ("environment",), check_name),
    _Check("tcp", ("name",), check_tcp),
    _Check("tls", ("tcp",), check_tls),
    _Check("clock", ("tcp",), check_clock),
    _Check("resource", ("tls",), check_resource),
    _Check("access_key", ("resource",), check_key),
    _Check("sign_in", ("environment",), check_sign_in),
    _Check("scopes", (), check_scopes),
    _Check("exchange", ("resource", "scopes"), check_exchange),
    _Check("assignment", ("access_key", "scopes"), check_assignment),
    _Check("token", ("resource", "scopes"), check_token),
    _Check("chat", (), check_chat),
)
_STEPS = 4  # the most steps in a check; each step has a time limit of its own


async def examine(case: Case, tell: Callable[[str, Finding], None]) -> Mapping[str, Finding]:
    """Make all checks, one after the other.

    It waits for each no longer than a few times the case's patience. Cancelling it closes what is open.

    Args:
        case: The case.
        tell: Called with each finding, in the order of `TITLES`, as soon as it and those before it are known.

    Returns:
        The findings in that order, by the names of the checks.
    """
    found: dict[str, Finding] = {}
    untold = list(TITLES)
    async with case.stack:
        for check in _ORDER:
            finding = await _make(check, case, found)
            found[check.name] = finding.without(*case.secrets())
            while untold and untold[0] in found:
                tell(untold[0], found[untold.pop(0)])
    return {name: found[name] for name in TITLES}


async def _make(check: _Check, case: Case, found: Mapping[str, Finding]) -> Finding:
    if (why := _pointless(check, case, found)) is not None:
        return not_tried(why)
    with anyio.move_on_after(_STEPS * case.patience):
        try:
            return await check.run(case)
        except CredentialError as error:
            return explain(error)
    return failure("this check does not come to an end", "see what this machine waits for: a disk, or a name server")


def _pointless(check: _Check, case: Case, found: Mapping[str, Finding]) -> str | None:
    """A check that it needs and that did not succeed; None where all did."""
    for name in _needs(check, case):
        need = found[name]
        if need.state is State.FAILURE:
            return f"not before {TITLES[name]} is well"
        if need.state is State.NOT_TRIED:
            return need.text
    return None


def _needs(check: _Check, case: Case) -> tuple[str, ...]:
    if check.name == "token" and case.entra_token is not None:
        return (*check.needs, "exchange")
    if check.name == "token" and case.key is not None:
        return (*check.needs, "access_key")
    return check.needs
