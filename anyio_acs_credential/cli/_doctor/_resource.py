"""The checks of the resource: whether it is one, accepts the key, and issues a token that works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..._common.redaction import Secret
from ..._exchange.issued import read_issued
from ..._http.answer import read_object
from ..._http.request import Call
from ..._http.retries import Limits, send
from ..._tokens.access_token import raw_id_of
from ...identity._keys import AccessKeyCredential, Signer
from .._times import date_and_time, span
from ._certificate import read_certificate
from ._finding import Finding, State, failure, not_tried, ok, warning
from ._meaning import judge_chat, judge_key, judge_resource, judge_tls, judge_user
from ._offset import judge_clock
from ._visit import certificate_of, token_call, visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._http.answer import Answer
    from ..._http.attempt import Authorize
    from ..._tokens.access_token import AccessToken
    from ._case import Case

_CHAT = "/chat/threads?maxPageSize=1&api-version=2024-03-07"
_SHORT = 60  # seconds of life below which a new token gets a warning


async def ask(case: Case, call: Call, authorize: Authorize) -> Answer:
    """The answer to a request. It waits for as long as the case has patience, and repeats a lost request once.

    Raises:
        ServiceError: when no answer comes.
    """
    return await send(case.client, call, authorize, Limits(timeout=case.patience, tries=2, backoff=0.1))


async def check_tls(case: Case) -> Finding:
    """Whether TLS succeeds, and with whom. It makes the first request, which later checks read as well."""
    first = await visit(case, case.client)
    if first.trouble is not None and first.trouble.kind == "lost":  # a connection may be lost once by chance
        first = await visit(case, case.client)
    case.visit = first
    if first.trouble is not None and first.trouble.kind == "certificate":
        case.certificate = await certificate_of(case)
    return judge_tls(first, case.certificate, case.host)


async def check_resource(case: Case) -> Finding:
    """Whether it is a Communication Services resource that answered."""
    return judge_resource(case.visit, case.host) if case.visit else not_tried("no request was made")


async def check_clock(case: Case) -> Finding:
    """Whether this machine's clock agrees with the service's."""
    answer = case.visit and case.visit.answer
    proof = answer.proof if answer else None
    case.service.learn(proof)
    found = read_certificate(case.certificate) if case.certificate else None
    return judge_clock(proof, case.clock.time(), found.begins if found else None)


async def check_key(case: Case) -> Finding:
    """Whether the access key is accepted: a request for an unknown user's token is then refused for the user alone."""
    if case.key is None:
        return not_tried("there is no connection string: set ACS_CONNECTION_STRING")
    return judge_key(await _ask_signed(case, token_call(case.endpoint)))


async def _ask_signed(case: Case, call: Call) -> Answer:
    signer = Signer(AccessKeyCredential(case.key.value if case.key else ""))

    async def authorize(request: Any) -> None:
        signer(request, case.service.time())

    return await ask(case, call, authorize)


async def check_token(case: Case) -> Finding:
    """Whether a token is issued, and with which scopes. It makes no user."""
    if case.token is None and case.is_for_entra:
        return not_tried("nobody is signed in here: give ACS_ENTRA_TOKEN, a person's Entra token")
    if case.token is None and (case.key is None or case.user is None):
        return not_tried("no user is made here: give --user and a connection string")
    if case.token is None:
        body = json.dumps({"scopes": case.scopes}).encode()
        answer = await _ask_signed(case, token_call(case.endpoint, case.user or "", body))
        if not answer.is_success:
            return judge_user(answer)
        case.token = read_issued(answer, read_object(answer), None)  # `judge_token` says more of one that has ended
    found = judge_token(case.token, case.service.time(), () if case.is_for_entra else case.scopes)
    if found.state is State.FAILURE:
        case.token = None
    return found


def judge_token(token: AccessToken, now: float, wanted: Sequence[str]) -> Finding:
    """Whether a token that was just issued has the scopes, and lives long enough.

    Args:
        token: The token.
        now: The service's time, in Unix seconds.
        wanted: The scopes that were asked for.
    """
    life = token.expires_on - now
    if life <= 0:
        text = f"the token that was just issued ended {span(-life)} ago"
        return failure(text, "see whether a proxy repeats an old answer", "malformed-answer")
    until = f"until {date_and_time(token.expires_on)}, for {span(life)}"
    if life < _SHORT:
        return warning(f"the token lives no longer than {span(life)}", "ask for a longer life, of an hour at least")
    granted = granted_by(token)
    if missing := [scope for scope in wanted if granted and scope not in granted]:
        text = f"the token is good for {', '.join(granted)}, and not for {', '.join(missing)}"
        return warning(text, "see what issued it")
    return ok(f"a token of {raw_id_of(token) or 'somebody'}, good for {', '.join(granted) or 'what it says'}, {until}")


def granted_by(token: AccessToken) -> list[str]:
    """The scopes that a token names."""
    named = token.claims.get("acsScope")
    return named.split(",") if isinstance(named, str) else []


async def check_chat(case: Case) -> Finding:
    """Whether the chat endpoint accepts the token."""
    if case.token is None:
        return not_tried("there is no token for it")
    granted = granted_by(case.token)
    if granted and not any(scope.startswith("chat") for scope in granted):
        return not_tried(f"the token is good for {', '.join(granted)}, and not for chat")
    bearer = Secret(f"Bearer {case.token.token}")

    async def authorize(request: Any) -> None:
        request.headers["Authorization"] = bearer.value

    return judge_chat(await ask(case, Call("GET", f"{case.endpoint}{_CHAT}"), authorize))
