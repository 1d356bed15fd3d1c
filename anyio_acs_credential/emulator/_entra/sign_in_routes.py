"""The authority's endpoints for people: the sign-in page, and the page for device codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from starlette.responses import RedirectResponse
from starlette.routing import Route

from .errors import OAuthError
from .pages import device_page, message_page, post_page, sign_in_page
from .scopes import read_scopes
from .state import read_claims
from .token_routes import entra_of, form_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from .state import Entra


async def _authorize(request: Request) -> Response:
    """The authorization endpoint (RFC 6749, section 4.1.1).

    A refusal goes back to the application, unless the application or its redirect URI is unknown: then it is a page.
    """
    params = await form_of(request) if request.method == "POST" else dict(request.query_params)
    try:
        entra = entra_of(request)
        entra.check_client(params.get("client_id"))
        redirect_uri = _redirect_uri(entra, params)
    except OAuthError as error:
        return message_page("Sign in", error.description, 400)
    try:
        answer = _decide(entra, params)
    except OAuthError as error:
        answer = {"error": error.error, "error_description": error.description}
    if answer is None:
        return sign_in_page(entra.users, params.get("login_hint", "user"), params)
    return _send_back(redirect_uri, params, answer)


def _redirect_uri(entra: Entra, params: Mapping[str, str]) -> str:
    """The address to send the person back to: a registered one, or loopback with any port (RFC 8252, section 7.3)."""
    uri = params.get("redirect_uri", "")
    if uri not in entra.redirect_uris and not _is_loopback(uri):
        raise OAuthError(
            "invalid_request", 50011, "The redirect URI is not a configured one: add_redirect_uri() configures it."
        )
    return uri


def _is_loopback(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"} and not parts.fragment


def _decide(entra: Entra, params: Mapping[str, str]) -> dict[str, str] | None:
    """The answer to the application; None while the person has not decided."""
    _check(entra, params)
    if params.get("decision") == "cancel":
        raise OAuthError("access_denied", 65004, "The user declined to sign in.")
    user = params.get("user") or entra.sign_in_as
    if not user and params.get("prompt") == "none":
        raise OAuthError("login_required", 50058, "Nobody is signed in.")
    if not user:
        return None
    grant = entra.grant(user, params["scope"], read_claims(params), params.get("nonce"))
    answer = {
        "code": entra.codes.issue(grant, params["redirect_uri"], params.get("code_challenge")),
        "session_state": str(uuid4()),
    }
    if params.get("client_info"):
        answer["client_info"] = entra.tokens.client_info(user)
    return answer


def _check(entra: Entra, params: Mapping[str, str]) -> None:
    if params.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", 700054, "The response_type must be code.")
    if params.get("response_mode", "query") not in {"query", "form_post"}:
        raise OAuthError("invalid_request", 900971, "The response_mode must be query or form_post.")
    if not params.get("scope"):
        raise OAuthError("invalid_request", 900144, "The request must contain the parameter 'scope'.")
    if "code_challenge" in params and params.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", 501491, "The code_challenge_method must be S256.")
    read_scopes(params["scope"], entra.client_id)


def _send_back(redirect_uri: str, params: Mapping[str, str], answer: dict[str, str]) -> Response:
    if "state" in params:
        answer["state"] = params["state"]
    if params.get("response_mode") == "form_post":
        return post_page(redirect_uri, answer)
    separator = "&" if "?" in redirect_uri else "?"
    return RedirectResponse(f"{redirect_uri}{separator}{urlencode(answer)}", 302, {"Cache-Control": "no-store"})


async def _show_device(request: Request) -> Response:
    return device_page(cast("Entra", request.app.state.entra).users)


async def _answer_device(request: Request) -> Response:
    entra = cast("Entra", request.app.state.entra)
    form = await form_of(request)
    user = None if form.get("decision") == "cancel" else form.get("user", "user")
    try:
        entra.answer_device(form.get("user_code", ""), user)
    except ValueError as error:
        return message_page("Sign in on another device", f"{error}.", 400)
    said = "You have declined" if user is None else "You have signed in"
    return message_page("Sign in on another device", f"{said}. You can close this page.")


ROUTES = (
    Route("/{tenant}/oauth2/v2.0/authorize", _authorize, methods=["GET", "POST"]),
    Route("/device", _show_device, methods=["GET"]),
    Route("/device", _answer_device, methods=["POST"]),
)
"""The routes, for the application."""
