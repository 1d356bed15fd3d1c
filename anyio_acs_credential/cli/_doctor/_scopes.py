"""The scopes: whether tokens can be good for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import page_of
from ..._exchange import scopes as families
from ._finding import Finding, State, ok, warning

if TYPE_CHECKING:
    from ._case import Case

_KNOWN = ("chat", "voip", "chat.join", "chat.join.limited", "voip.join")


async def check_scopes(case: Case) -> Finding:
    """Whether who issues the tokens knows the scopes. It waits for nothing."""
    return _judge_entra(case.scopes) if case.is_for_entra else _judge(case.scopes)


def _judge_entra(scopes: tuple[str, ...]) -> Finding:
    try:
        families.check_scopes(scopes)
    except ValueError as error:
        return Finding(State.FAILURE, str(error), see=page_of("scopes"))
    return ok(f"a token with {', '.join(scopes)} can be exchanged at {families.route_of(scopes).path}")


def _judge(scopes: tuple[str, ...]) -> Finding:
    if unknown := [scope for scope in scopes if scope not in _KNOWN]:
        text = f"the service documents no scope {', '.join(unknown)}"
        return warning(text, f"choose of {', '.join(_KNOWN)}", "scopes")
    return ok(f"the service issues tokens for {', '.join(scopes)}")
