"""What a scope means: which service a token is for, and what it allows there."""

from __future__ import annotations

from typing import NamedTuple

from .errors import OAuthError

_OPENID = frozenset({"openid", "profile", "email", "offline_access"})
_GRAPH = "00000003-0000-0000-c000-000000000000"  # Microsoft Graph's application id, the same in every tenant
_RESOURCE = frozenset({"https://communication.azure.com"})
_TEAMS = frozenset({"https://auth.msft.communication.azure.com", "https://auth.msft.communication.azure.us"})


class Api(NamedTuple):
    """An API that takes Entra tokens.

    Attributes:
        audiences: The audiences of its tokens; one that ends with ".us" is the US government cloud's.
        names: The scopes of which a token must have one.
        applications: Whether it also takes an application's own tokens, which have no scopes.
    """

    audiences: frozenset[str]
    names: frozenset[str]
    applications: bool = False


MANAGEMENT = Api(_RESOURCE, frozenset({"user_impersonation"}), applications=True)
"""The Identity API, where the token takes the place of the access key."""
CLIENTS = Api(_RESOURCE, frozenset({"Chat", "VoIP"}))
"""The exchange that every resource has."""
TEAMS_EXTENSION = Api(_TEAMS, frozenset({"TeamsExtension.ManageCalls"}))
"""The exchange of Teams Phone Extensibility."""
TEAMS_USERS = Api(_TEAMS, frozenset({"Teams.ManageCalls", "Teams.ManageChats"}))
"""The exchange of a Teams user's token."""


class Permission(NamedTuple):
    """What a person is asked to allow.

    Attributes:
        scopes: The full scopes in alphabetical order, without those of OpenID.
        openid: The scopes of OpenID that were asked for.
        audience: The audience of the access token.
        names: The names of its scopes there.
    """

    scopes: tuple[str, ...]
    openid: frozenset[str]
    audience: str
    names: tuple[str, ...]


def read_scopes(text: str, client_id: str) -> Permission:
    """The permission that a request asks for.

    Args:
        text: Scopes, separated by spaces.
        client_id: The application; its own scopes are `api://{client_id}/...` and `{client_id}/.default`.

    Raises:
        OAuthError: when a scope is unknown, or there are scopes of more than one service.
    """
    asked = frozenset(text.split())
    scopes = tuple(sorted(asked - _OPENID))
    found = {_find(scope, client_id) for scope in scopes} or {(_GRAPH, "User.Read")}
    audiences = {audience for audience, _ in found}
    if len(audiences) > 1:
        raise OAuthError("invalid_scope", 28000, "The scopes belong to more than one resource.")
    names = {name for _, granted in found for name in granted.split()}
    return Permission(scopes, asked & _OPENID, audiences.pop(), tuple(sorted(names)))


def _find(scope: str, client_id: str) -> tuple[str, str]:
    """The audience of a scope, and what it grants."""
    resource, _, name = scope.rpartition("/")
    if resource in {client_id, f"api://{client_id}"}:
        return client_id, "access_as_user" if name == ".default" else name
    if resource in {"", "https://graph.microsoft.com"}:
        return _GRAPH, "User.Read" if name == ".default" else name
    if resource in _TEAMS:
        return resource, _known(name, TEAMS_EXTENSION.names | TEAMS_USERS.names)
    if resource == "https://communication.azure.com/clients":
        return resource.removesuffix("/clients"), _known(name, CLIENTS.names)
    if resource.removesuffix("/") in _RESOURCE:  # the official clients write the resource with a slash at its end
        return resource.removesuffix("/"), _known(name, MANAGEMENT.names)
    raise OAuthError("invalid_resource", 500011, f"The resource principal named {resource} was not found.")


def _known(name: str, names: frozenset[str]) -> str:
    if name == ".default":
        return " ".join(sorted(names))
    if name not in names:
        raise OAuthError("invalid_scope", 70011, f"The scope {name} is not valid.")
    return name
