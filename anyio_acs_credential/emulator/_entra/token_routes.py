"""The authority's endpoints for programs: OpenID discovery, device codes and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse
from starlette.routing import Route

from .client_secrets import read_client
from .errors import OAuthError
from .scopes import read_scopes
from .state import read_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from .grants import Grant
    from .state import Entra

_ON_BEHALF_OF = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLIENT_CREDENTIALS = "client_credentials"
_NO_STORE = {"Cache-Control": "no-store"}


def entra_of(request: Request) -> Entra:
    """The emulated tenant that a request is for.

    Raises:
        OAuthError: when the path names another tenant.
    """
    entra = cast("Entra", request.app.state.entra)
    if request.path_params["tenant"] not in {entra.tenant_id, "organizations", "common"}:
        raise OAuthError("invalid_request", 90002, "The tenant was not found.")
    return entra


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form (`application/x-www-form-urlencoded`)."""
    return dict(parse_qsl((await request.body()).decode("latin-1")))


async def _discovery(request: Request) -> Response:
    entra = entra_of(request)
    oauth = f"{entra.endpoint}/{request.path_params['tenant']}/oauth2/v2.0"
    return JSONResponse(
        {
            "issuer": entra.tokens.issuer,
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/token",
            "device_authorization_endpoint": f"{oauth}/devicecode",
            "jwks_uri": f"{entra.endpoint}/{request.path_params['tenant']}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
    )


async def _keys(request: Request) -> Response:
    return JSONResponse({"keys": [entra_of(request).jwk]})


async def _device_code(request: Request) -> Response:
    entra = entra_of(request)
    form = await form_of(request)
    entra.check_client(form.get("client_id"))
    scope = form.get("scope", "")
    read_scopes(scope, entra.client_id)
    device_code, user_code = entra.devices.start(scope, read_claims(form))
    page = f"{entra.endpoint}/device"
    answer = {
        "user_code": user_code,
        "device_code": device_code,
        "verification_uri": page,
        "expires_in": int(entra.devices.lifetime),
        "interval": entra.devices.interval,
        "message": f"To sign in, open the page {page} and enter the code {user_code} to authenticate.",
    }
    return JSONResponse(answer, headers=_NO_STORE)


async def _token(request: Request) -> Response:
    entra = entra_of(request)
    form = read_client(request.headers.get("authorization", ""), await form_of(request))
    entra.check_client(form.get("client_id"))
    grant_type = _field(form, "grant_type")
    entra.secrets.check(form, required=grant_type in {_ON_BEHALF_OF, _CLIENT_CREDENTIALS})
    if grant_type == _CLIENT_CREDENTIALS:
        return JSONResponse(_for_itself(entra, form), headers=_NO_STORE)
    find = _GRANTS.get(grant_type)
    if find is None:
        raise OAuthError("unsupported_grant_type", 70003, f"The grant type {grant_type} is not supported.")
    return JSONResponse(entra.redeem(find(entra, form), form), headers=_NO_STORE)


def _field(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if not value:
        raise OAuthError("invalid_request", 900144, f"The request body must contain the parameter '{name}'.")
    return value


def _for_itself(entra: Entra, form: Mapping[str, str]) -> dict[str, Any]:
    """A token of the application, without a user (RFC 6749, section 4.4)."""
    scope = _field(form, "scope")
    if not scope.endswith("/.default"):
        raise OAuthError("invalid_scope", 1002012, "The scope of client credentials ends with /.default.")
    return entra.tokens.application_answer(read_scopes(scope, entra.client_id), read_claims(form))


def _by_device_code(entra: Entra, form: Mapping[str, str]) -> Grant:
    return entra.devices.redeem(_field(form, "device_code"))


def _by_code(entra: Entra, form: Mapping[str, str]) -> Grant:
    return entra.codes.redeem(_field(form, "code"), form.get("redirect_uri"), form.get("code_verifier"))


def _by_refresh_token(entra: Entra, form: Mapping[str, str]) -> Grant:
    return entra.refresh_tokens.redeem(_field(form, "refresh_token"))


def _by_assertion(entra: Entra, form: Mapping[str, str]) -> Grant:
    if form.get("requested_token_use") != "on_behalf_of":
        raise OAuthError("invalid_request", 900144, "requested_token_use must be on_behalf_of.")
    _field(form, "scope")
    return entra.on_behalf_of(_field(form, "assertion"), form)


_GRANTS: Mapping[str, Callable[[Entra, Mapping[str, str]], Grant]] = {
    "urn:ietf:params:oauth:grant-type:device_code": _by_device_code,
    "authorization_code": _by_code,
    "refresh_token": _by_refresh_token,
    _ON_BEHALF_OF: _by_assertion,
}
_OAUTH = "/{tenant}/oauth2/v2.0"

ROUTES = (
    Route("/{tenant}/v2.0/.well-known/openid-configuration", _discovery, methods=["GET"]),
    Route("/{tenant}/.well-known/openid-configuration", _discovery, methods=["GET"]),
    Route("/{tenant}/discovery/v2.0/keys", _keys, methods=["GET"]),
    Route(f"{_OAUTH}/devicecode", _device_code, methods=["POST"]),
    Route(f"{_OAUTH}/token", _token, methods=["POST"]),
)
"""The routes, for the application."""
