"""The checks of Entra: whether the authority signs people in to the application, and whether the exchange answers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ..._common.errors import CredentialError, InvalidTokenError
from ..._common.redaction import Secret
from ..._exchange.scopes import is_teams_phone
from ..._exchange.wire import EXCHANGE_BODY, allow_command, exchange_url, read_exchange
from ..._http.answer import error_from, is_transient, read_object
from ..._http.request import Call
from ..._tokens.access_token import AccessToken
from .._times import span
from ._finding import Finding, State, explain, failure, not_tried, ok
from ._meaning import judge_exchange
from ._network import look_up, way_to
from ._resource import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._http.answer import Answer
    from ._case import Case

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_FIXES = {
    "AADSTS700016": "correct --client-id, or --tenant-id: the application is not in that directory",
    "AADSTS90002": "correct --tenant-id: there is no such directory",
    "AADSTS70011": "correct --scope",
    "AADSTS650053": "correct --scope",
}


async def check_sign_in(case: Case) -> Finding:
    """Whether people can sign in: the authority is found, and begins a sign-in with a code, which nobody will enter."""
    if case.sign_in is None:
        return not_tried("there is no application: give --client-id and --tenant-id")
    parts = urlsplit(case.sign_in.issuer)
    found = await look_up(way_to(case.sign_in.issuer), case.patience, "--authority")
    if found.state is not State.OK:
        return found
    answer = await ask(case, Call("GET", f"{case.sign_in.issuer}/.well-known/openid-configuration"), _as_it_is)
    if not answer.is_success:
        return _refused(answer)
    address = read_object(answer).get("device_authorization_endpoint")
    if not isinstance(address, str) or urlsplit(address).netloc != parts.netloc:
        return ok(f"{parts.netloc} answers; it signs nobody in with a code, so that no more was tried")
    form = urlencode({"client_id": case.sign_in.client_id, "scope": " ".join(case.scopes)}).encode()
    answer = await ask(case, Call("POST", address, form), _as_form)
    if not answer.is_success:
        return _refused(answer)
    return ok(f"{parts.netloc} signs people in to the application, for {', '.join(case.scopes)}")


async def _as_it_is(_request: Any) -> None:
    """Show no code: nobody signs in."""


async def _as_form(request: Any) -> None:
    request.headers.update(_FORM)


def _refused(answer: Answer) -> Finding:
    """Why the authority refuses the sign-in (RFC 6749, section 5.2)."""
    if is_transient(answer.status):
        return explain(error_from(answer))
    content: Mapping[str, Any] = {}
    with suppress(CredentialError):
        content = read_object(answer)
    said = content.get("error_description")
    text = said.partition("Trace ID:")[0] if isinstance(said, str) and said else "it does not say why"
    fix = next((fix for code, fix in _FIXES.items() if code in text), "correct --authority, --tenant-id or --client-id")
    return failure(f"the authority answers {answer.status}: {text}", fix, "entra-refused")


async def check_exchange(case: Case) -> Finding:
    """Whether the exchange answers; with a person's Entra token, whether it gives an access token for it.

    Raises:
        ServiceError: when it gives no access token.
    """
    if not case.is_for_entra:
        return not_tried("tokens come from the access key: give --client-id to examine a sign-in")
    token = case.entra_token
    bearer = Secret("Bearer nobody" if token is None else f"Bearer {token.value}")

    async def authorize(request: Any) -> None:
        request.headers["Authorization"] = bearer.value

    answer = await ask(case, Call("POST", exchange_url(case.endpoint, case.scopes), EXCHANGE_BODY), authorize)
    if token is None:
        return judge_exchange(answer)
    claims = claims_of(token)
    if answer.status == 401 and claims:
        return judge_refused_person(claims, case.service.time())
    allow = allow_command(claims.get("tid"), claims.get("oid")) if is_teams_phone(case.scopes) else ""
    case.token = read_exchange(answer, case.service, allow=allow)
    return ok("the exchange takes the person's Entra token")


def claims_of(token: Secret | None) -> Mapping[str, Any]:
    """The claims of the Entra token; empty where it is opaque or missing."""
    if token is not None:
        with suppress(InvalidTokenError):
            return AccessToken.from_jwt(token.value).claims
    return {}


def judge_refused_person(claims: Mapping[str, Any], now: float) -> Finding:
    """Why the exchange refuses a person's Entra token.

    Args:
        claims: The token's claims.
        now: The service's time, in Unix seconds.
    """
    ends = claims.get("exp")
    if isinstance(ends, int | float) and ends <= now:
        text = f"the exchange refuses the Entra token, which ended {span(now - ends)} ago"
        return failure(text, "sign in again, and give the new one", "refused")
    if claims.get("aud") is None:
        text = "the exchange refuses what it was given as an Entra token, which does not say for whom it is"
        fix = "give a person's Entra token, as Entra issued it, and no access token of a resource"
        return failure(text, fix, "refused")
    text = f"the exchange refuses the Entra token, which is for {claims.get('aud')} with {claims.get('scp')}"
    return failure(text, "ask Entra for the scopes that --scope names", "refused")
