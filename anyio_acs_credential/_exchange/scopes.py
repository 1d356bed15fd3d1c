"""Which scopes an Entra token may be exchanged with, and where: a table.

Scopes, paths and api-versions are those of the official credentials: JavaScript's `@azure/communication-common` 2.5.0
and .NET's `Azure.Communication.Common` 1.4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._common.errors import explained, wrong_type

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Route: TypeAlias = tuple[str, str]  # where tokens of a family are exchanged: the path, and its api-version

DEFAULT_SCOPE = "https://communication.azure.com/clients/.default"
"""The scope that every Communication Services resource accepts from an Entra user. The service has it in preview."""

TEAMS_PHONE_SCOPE = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
"""The scope of Teams Phone Extensibility: the calls of a Teams user whom the resource's owner has allowed."""

_TEAMS_PHONE_EXTENSIBILITY = ("/access/teamsExtension/:exchangeAccessToken", "2025-06-30")
_CLIENTS = ("/access/entra/:exchangeAccessToken", "2025-03-02-preview")

# The second prefix is the US government cloud's.
_ROUTES = {
    "https://auth.msft.communication.azure.com/": _TEAMS_PHONE_EXTENSIBILITY,
    "https://auth.msft.communication.azure.us/": _TEAMS_PHONE_EXTENSIBILITY,
    "https://communication.azure.com/clients/": _CLIENTS,
}
_KNOWN = ", ".join(_ROUTES)


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes, if one exchange takes them all.

    Args:
        scopes: Texts that begin with one of the prefixes in the table, all in one family.

    Returns:
        The scopes as a tuple.

    Raises:
        TypeError: when they are not a collection of texts.
        ValueError: when there is no scope, one is unknown, or they belong to more than one family.
    """
    if isinstance(scopes, str):
        raise explained("scopes", TypeError("scopes are a collection of texts: write (scope,) instead of scope"))
    try:
        checked = tuple(scopes)
    except TypeError:
        raise wrong_type("scopes", "scopes are a collection of texts", scopes) from None
    for scope in checked:
        if not isinstance(scope, str):
            raise explained(
                "scopes", TypeError(f"scopes are a collection of texts, and one of them is {type(scope).__name__}")
            )
    checked = tuple(map(str.__str__, checked))  # a subclass of str may show another text than it holds
    for scope in checked:
        if _find(scope) is None:
            raise explained(
                "scopes", ValueError(f"the scope {scope!r} is unknown: begin each scope with one of {_KNOWN}")
            )
    families = {_find(scope) for scope in checked}
    if len(families) != 1:
        fault = "scopes of more than one family are mixed" if families else "there is no scope"
        raise explained("scopes", ValueError(f"{fault}: give scopes that all begin with one of {_KNOWN}"))
    return checked


def route_of(scopes: tuple[str, ...]) -> Route:
    """Where a token with these scopes is exchanged: the path, and its api-version.

    Args:
        scopes: What `check_scopes` returned.
    """
    return next(route for route in map(_find, scopes) if route is not None)


def is_teams_phone(scopes: tuple[str, ...]) -> bool:
    """Whether the scopes are those of Teams Phone Extensibility.

    Args:
        scopes: What `check_scopes` returned.
    """
    return route_of(scopes) is _TEAMS_PHONE_EXTENSIBILITY


def _find(scope: str) -> Route | None:
    lower = scope.lower()
    for prefix, route in _ROUTES.items():
        # Teams' prefixes are compared without case, as .NET's 1.4.1 does; the other's with case, as all packages do.
        if scope.startswith(prefix) or (route is _TEAMS_PHONE_EXTENSIBILITY and lower.startswith(prefix)):
            return route
    return None
