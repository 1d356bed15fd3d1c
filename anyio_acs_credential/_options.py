"""The arguments of a credential, checked where they are given."""

from __future__ import annotations

import inspect

from ._errors import InvalidTokenError
from ._schedule import RefreshPolicy
from ._source import check_refresher
from ._token import AccessToken

__all__ = ("check_options", "initial_token")


def initial_token(token: object) -> AccessToken:
    """The token that a credential begins with.

    Raises:
        InvalidTokenError: when it is not one.
    """
    if isinstance(token, AccessToken):
        return token
    if isinstance(token, str):
        return AccessToken.from_jwt(token)
    raise InvalidTokenError(f"token is the text of a JWT, or an AccessToken, not {type(token).__name__}")


def check_options(
    refresher: object, proactive_refresh: object, policy: object, observer: object, clock: object
) -> None:
    """Refuse what cannot work, and import what rounds will need: imported in one, it would stall the event loop.

    Raises:
        TypeError: with the fix.
    """
    if not isinstance(proactive_refresh, bool):
        raise TypeError(f"proactive_refresh is True or False, not {type(proactive_refresh).__name__}")
    if not isinstance(policy, RefreshPolicy):
        raise TypeError(f"policy is a RefreshPolicy, not {type(policy).__name__}")
    if observer is not None and not callable(observer):
        raise TypeError(f"observer is a function that takes an event, not {type(observer).__name__}")
    if inspect.iscoroutinefunction(observer):
        raise TypeError("observer is a plain function: it is called in the refresh task, which does not await it")
    if not callable(getattr(clock, "time", None)) or not callable(getattr(clock, "monotonic", None)):
        raise TypeError(f"clock is an object with time() and monotonic(), not {type(clock).__name__}")
    if refresher is not None:
        check_refresher(refresher)

        from . import _report  # noqa: F401
