"""The identity client and connection strings."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest
from anyio import to_thread
from azure.core.credentials import AzureKeyCredential
from servers import answer, reset, serve, silence
from test_access_key import KEY, OTHER_KEY, expected

from anyio_acs_credential import (
    AccessKeyCredential,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CommunicationUserIdentifier,
    ConnectionString,
    parse_connection_string,
)
from anyio_acs_credential._common.errors import (
    CredentialUsageError,
    InvalidTokenError,
    ServiceError,
    TokenRefreshError,
)
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential._tokens.access_token import AccessToken
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from servers import Server

USER = "8:acs:aaa_bbb"
PATH = "/identities/8%3Aacs%3Aaaa_bbb"
VERSION = "?api-version=2023-10-01"
EXPIRY = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = {"token": "opaque-token", "expiresOn": "2030-01-02T03:04:05.1234567+00:00"}
CREATED = {"identity": {"id": USER}}


def client_of(server: Server, credential: Any = None, **options: Any) -> CommunicationIdentityClient:
    client = CommunicationIdentityClient(server.url, credential or AccessKeyCredential(KEY), **options)
    client._limits = Limits(timeout=30, backoff=0.01)
    return client


# Requests and answers


async def test_create_user() -> None:
    async with serve(answer(201, CREATED)) as server, client_of(server) as client:
        assert await client.create_user() == CommunicationUserIdentifier(USER)
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", f"/identities{VERSION}", b"{}")
    assert request.headers["authorization"] == expected(request)


async def test_create_user_and_token() -> None:
    async with serve(answer(201, CREATED | {"accessToken": TOKEN})) as server, client_of(server) as client:
        user, token = await client.create_user_and_token(["chat", "voip"], token_expires_in=timedelta(hours=2))
    assert (user, token) == (CommunicationUserIdentifier(USER), AccessToken("opaque-token", EXPIRY.timestamp()))
    (request,) = server.requests
    assert request.target == f"/identities{VERSION}"
    assert json.loads(request.body) == {"createTokenWithScopes": ["chat", "voip"], "expiresInMinutes": 120}


@pytest.mark.parametrize("package", [httpx, httpx2])
@pytest.mark.parametrize("method", ["create_user", "revoke_tokens", "get_token_for_teams_user"])
async def test_a_call_that_is_cancelled_before_it_begins_asks_nobody(method: str, package: Any) -> None:
    """Neither the service, whose client may answer without waiting, nor a function that gives a token."""
    asked: list[object] = []

    def handle(request: Any) -> Any:
        asked.append(request)
        return package.Response(201, json=CREATED)

    async def entra() -> str:
        asked.append(entra)
        return "entra"

    arguments: dict[str, Any] = {"revoke_tokens": (USER,), "get_token_for_teams_user": (entra, "app", "ada")}
    async with (
        package.AsyncClient(transport=package.MockTransport(handle)) as http,
        CommunicationIdentityClient("https://contoso.example", AccessKeyCredential(KEY), http_client=http) as client,
    ):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await getattr(client, method)(*arguments.get(method, ()))
            raise AssertionError
        assert scope.cancelled_caught
    assert asked == []


@pytest.mark.parametrize(
    "user", [USER, CommunicationUserIdentifier(USER), CommunicationUserIdentifier("x", raw_id=USER)]
)
async def test_get_token(user: Any) -> None:
    """A user is an identifier or its raw id, percent-encoded in the path; the signature covers it as it is sent."""
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        token = await client.get_token(user, iter(["chat"]))
    assert token == AccessToken("opaque-token", EXPIRY.timestamp())
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", f"{PATH}/:issueAccessToken{VERSION}")
    assert json.loads(request.body) == {"scopes": ["chat"]}
    assert request.headers["authorization"] == expected(request)


async def test_get_token_is_a_token_refresher() -> None:
    """A partial of it needs no argument and yields our own token type."""
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        refresher = functools.partial(client.get_token, CommunicationUserIdentifier(USER), ["chat"])
        assert isinstance(await refresher(), AccessToken)


async def test_revoke_tokens() -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        await client.revoke_tokens(USER)
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", f"{PATH}/:revokeAccessTokens{VERSION}", b"")
    assert request.headers["authorization"] == expected(request)


async def test_delete_user() -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        await client.delete_user(CommunicationUserIdentifier(USER))
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("DELETE", f"{PATH}{VERSION}", b"")
    assert request.headers["authorization"] == expected(request)


async def _text() -> str:
    return "entra"


async def _object() -> AccessToken:
    return AccessToken("entra", 1)


@pytest.mark.parametrize("given", ["entra", AccessToken("entra", 1), _text, _object])
async def test_get_token_for_teams_user(given: Any) -> None:
    """The Entra token is text, an object that holds it, or an async function that gives either."""
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        token = await client.get_token_for_teams_user(given, client_id="app", user_object_id="ada")
    assert token == AccessToken("opaque-token", EXPIRY.timestamp())
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", f"/teamsUser/:exchangeAccessToken{VERSION}")
    assert json.loads(request.body) == {"token": "entra", "appId": "app", "userId": "ada"}
    assert request.headers["authorization"] == expected(request)


async def test_a_teams_users_token_is_a_token_refresher() -> None:
    """Each round asks for an Entra token of its moment."""
    given = iter(("first", "second"))

    async def ask() -> str:
        return next(given)

    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        refresher = functools.partial(client.get_token_for_teams_user, ask, "app", "ada")
        assert isinstance(await refresher(), AccessToken)
        await refresher()
    assert [json.loads(request.body)["token"] for request in server.requests] == ["first", "second"]


@pytest.mark.promise("R52")
async def test_an_entra_token_that_the_service_repeats_is_not_shown() -> None:
    """Also where nothing about it looks like a token."""
    body = {"error": {"code": "InvalidAccessToken", "message": "what is hunter2?"}}
    async with serve(answer(401, body)) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="InvalidAccessToken") as caught:
            await client.get_token_for_teams_user("hunter2", "app", "ada")
    assert "hunter2" not in str(caught.value)


async def test_tasks_share_the_connections_of_the_pool() -> None:
    """One after the other they use one; many at once use httpx's hundred at most, and all are served."""
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        client._limits = Limits()
        for _ in range(5):
            await client.get_token(USER, ["chat"])
        assert server.connections == 1
        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(client.get_token, USER, ["chat"])
    assert len(server.requests) == 155
    assert server.connections <= 100


@pytest.mark.parametrize(
    ("lifetime", "minutes"),
    [
        (timedelta(minutes=60), 60),
        (timedelta(minutes=90, seconds=59), 90),
        (timedelta(hours=24), 1440),
    ],
)
async def test_lifetimes_are_sent_in_whole_minutes(lifetime: timedelta, minutes: int) -> None:
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        await client.get_token(USER, ["chat"], token_expires_in=lifetime)
    assert json.loads(server.requests[0].body)["expiresInMinutes"] == minutes


@pytest.mark.parametrize("package", [httpx, httpx2])
@pytest.mark.promise("R39")
async def test_a_callers_client_is_used_and_left_open(package: Any) -> None:
    sent: list[Any] = []

    async def note(request: Any) -> None:
        sent.append(request)

    async with serve(answer(204)) as server, package.AsyncClient(event_hooks={"request": [note]}) as mine:
        async with client_of(server, http_client=mine) as client:
            await client.revoke_tokens(USER)
        assert not mine.is_closed
    assert len(sent) == len(server.requests) == 1


async def test_it_can_be_opened_again() -> None:
    async with serve(answer(204)) as server:
        client = client_of(server)
        for _ in range(2):
            async with client:
                await client.revoke_tokens(USER)
    assert (len(server.requests), server.connections) == (2, 2)


async def test_a_rotated_key_is_used_at_once() -> None:
    credential = AzureKeyCredential(KEY)
    async with serve(answer(204)) as server, client_of(server, credential) as client:
        await client.revoke_tokens(USER)
        credential.update(OTHER_KEY)
        await client.revoke_tokens(USER)
    first, second = server.requests
    assert first.headers["authorization"] == expected(first, KEY)
    assert second.headers["authorization"] == expected(second, OTHER_KEY)


class Redacted(str):
    """A text that hides itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def encode(self, *_: object) -> bytes:
        return b"***"


async def test_texts_of_another_class_are_sent_as_what_they_hold() -> None:
    """Or a user who hides in logs would be another user."""
    async with (
        serve(answer(200, TOKEN)) as server,
        CommunicationIdentityClient(
            server.url, AccessKeyCredential(Redacted(KEY)), api_version=Redacted("2026-09-23")
        ) as client,
    ):
        await client.get_token(Redacted("8:acs:ada"), [Redacted("chat")])
        await client.get_token(SimpleNamespace(raw_id=Redacted("8:acs:ada")), ["chat"])
        await client.get_token_for_teams_user(Redacted("entra"), Redacted("app"), Redacted("grace"))
    assert "***" not in "".join(f"{request.target}{request.body!r}" for request in server.requests)
    first, second, teams = server.requests
    assert first.target == second.target == "/identities/8%3Aacs%3Aada/:issueAccessToken?api-version=2026-09-23"
    assert json.loads(first.body) == {"scopes": ["chat"]}
    assert json.loads(teams.body) == {"token": "entra", "appId": "app", "userId": "grace"}
    assert first.headers["authorization"] == expected(first)


async def test_from_connection_string() -> None:
    async with serve(answer(204)) as server:
        text = f"endpoint={server.url}/;accesskey={KEY}"
        async with CommunicationIdentityClient.from_connection_string(text, api_version="2026-09-23 x") as client:
            await client.revoke_tokens(USER)
    (request,) = server.requests
    assert request.target.endswith("?api-version=2026-09-23%20x")
    assert request.headers["authorization"] == expected(request)


# Faults


async def test_what_makes_a_user_is_not_sent_twice_after_a_fault() -> None:
    """A user that nobody knows of costs more than an error."""
    for fault in (reset(), answer(503)):
        async with serve(fault, answer(201, CREATED)) as server, client_of(server) as client:
            with pytest.raises(ServiceError):
                await client.create_user()
        assert len(server.requests) == 1
        async with serve(fault, answer(201, CREATED)) as server, client_of(server) as client:
            with pytest.raises(ServiceError):
                await client.create_user_and_token(["chat"])
        assert len(server.requests) == 1


async def test_what_makes_a_user_is_repeated_after_a_429() -> None:
    async with serve(answer(429), answer(201, CREATED)) as server, client_of(server) as client:
        assert (await client.create_user()).id == USER
    assert len(server.requests) == 2


@pytest.mark.promise("R31")
async def test_a_user_who_is_gone_when_a_lost_deletion_is_repeated_is_deleted() -> None:
    """The first request may have done it, whether its answer was an error or got lost."""
    for fault in (reset(), answer(503)):
        async with serve(fault, answer(404)) as server, client_of(server) as client:
            await client.delete_user(USER)
        assert len(server.requests) == 2


@pytest.mark.promise("R31")
async def test_deleting_a_user_who_never_was_is_an_error() -> None:
    """Also after a 429, which says that nothing was done."""
    for script in ((answer(404),), (answer(429), answer(404)), (answer(429), answer(429), answer(404))):
        async with serve(*script) as server, client_of(server) as client:
            with pytest.raises(ServiceError, match="404") as caught:
                await client.delete_user(USER)
        assert caught.value.permanent
        assert len(server.requests) == len(script)


async def test_a_deletion_that_fails_to_the_end_is_an_error() -> None:
    async with serve(answer(503)) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="503"):
            await client.delete_user(USER)
    assert len(server.requests) == 3


@pytest.mark.promise("R37")
async def test_tokens_are_fetched_again_after_a_fault() -> None:
    async with serve(reset(), answer(503), answer(200, TOKEN)) as server, client_of(server) as client:
        assert (await client.get_token(USER, ["chat"])).token == TOKEN["token"]
    assert len(server.requests) == 3


@pytest.mark.promise("R28")
async def test_a_service_that_stays_silent_costs_the_deadline() -> None:
    async with serve(silence()) as server, client_of(server) as client:
        client._limits = Limits(timeout=0.2)
        with anyio.fail_after(10), pytest.raises(ServiceError) as caught:
            await client.get_token(USER, ["chat"])
    assert not caught.value.permanent


@pytest.mark.promise("R31")
async def test_a_refusal_says_what_the_service_said() -> None:
    body = {"error": {"code": "Denied", "message": f"not you, {KEY}"}}
    async with serve(answer(401, body, ("MS-CV", "cv.1"))) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="check the access key") as caught:
            await client.revoke_tokens(USER)
    error = caught.value
    assert (error.status_code, error.code, error.request_id, error.permanent) == (401, "Denied", "cv.1", True)
    assert "not you" in str(error)
    assert len(server.requests) == 1


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"token": "t"},
        {"expiresOn": TOKEN["expiresOn"]},
        TOKEN | {"token": None},
        TOKEN | {"token": ["t"]},
        TOKEN | {"token": "has white space"},
        TOKEN | {"token": ""},
        TOKEN | {"expiresOn": "soon"},
        TOKEN | {"expiresOn": "2030-01-02T03:04:05"},
        TOKEN | {"expiresOn": True},
        TOKEN | {"expiresOn": {}},
        TOKEN | {"expiresOn": 1e300},
    ],
)
async def test_a_token_that_is_none_is_malformed(content: Any) -> None:
    """Both from the call that answers with a token and from the one that answers with a user and a token."""
    script = answer(200, content), answer(201, CREATED | {"accessToken": content})
    async with serve(*script) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="malformed") as first:
            await client.get_token(USER, ["chat"])
        with pytest.raises(ServiceError, match="malformed"):
            await client.create_user_and_token(["chat"])
    assert not first.value.permanent
    assert first.value.__context__ is None


async def create(client: CommunicationIdentityClient) -> AccessToken:
    _, token = await client.create_user_and_token(["chat"])
    return token


async def issue(client: CommunicationIdentityClient) -> AccessToken:
    return await client.get_token(USER, ["chat"])


async def exchange(client: CommunicationIdentityClient) -> AccessToken:
    return await client.get_token_for_teams_user("entra-token", "app", "person")


ISSUING = pytest.mark.parametrize("call", [create, issue, exchange])


@pytest.mark.promise("R26")
@ISSUING
async def test_the_tokens_own_expiry_is_a_limit_too(
    call: Callable[[CommunicationIdentityClient], Awaitable[AccessToken]],
) -> None:
    """Whichever comes first; a token that does not say when it ends ends when the answer says."""
    for own, wins in ((-600, -600), (600, 0), (None, 0)):
        text = "opaque" if own is None else make_jwt(exp=int(EXPIRY.timestamp()) + own)
        content = TOKEN | {"token": text}
        async with (
            serve(answer(200, CREATED | content | {"accessToken": content})) as server,
            client_of(server) as client,
        ):
            token = await call(client)
        assert (token.token, token.expires_on) == (text, EXPIRY.timestamp() + wins)


@pytest.mark.promise("R26")
@ISSUING
@pytest.mark.parametrize("ends_by", ["answer", "token"])
async def test_a_token_that_has_ended_is_not_handed_out(
    ends_by: str, call: Callable[[CommunicationIdentityClient], Awaitable[AccessToken]]
) -> None:
    """The error says when it ended and what time it is, also as the cause of a failed round."""
    ended = make_jwt(exp=1_577_836_800)
    content = TOKEN | ({"expiresOn": "2020-01-01T00:00:00Z"} if ends_by == "answer" else {"token": ended})
    async with serve(answer(200, CREATED | content | {"accessToken": content})) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match=r"it ended at 2020-01-01T00:00:00\+00:00, and it is 20") as direct:
            await call(client)
        async with CommunicationTokenCredential(token_refresher=functools.partial(call, client)) as credential:
            with pytest.raises(TokenRefreshError) as refreshed:
                await credential.get_token()
    assert not direct.value.permanent
    assert isinstance(refreshed.value.__cause__, ServiceError)
    assert "see whether a proxy repeats an old answer" in str(refreshed.value.__cause__)


@pytest.mark.promise("R35")
@pytest.mark.parametrize("expiry", [EXPIRY.timestamp(), "2030-01-02T03:04:05Z", "2030-01-02T04:04:05+01:00"])
async def test_every_form_of_an_expiry_is_read(expiry: Any) -> None:
    async with serve(answer(200, TOKEN | {"expiresOn": expiry, "more": 1})) as server, client_of(server) as client:
        assert (await client.get_token(USER, ["chat"])).expires_on == EXPIRY.timestamp()


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "content", [{}, {"identity": None}, {"identity": {}}, {"identity": {"id": 1}}, {"identity": {"id": ""}}]
)
async def test_a_user_that_is_none_is_malformed(content: Any) -> None:
    async with serve(answer(201, content)) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="malformed"):
            await client.create_user()


@pytest.mark.promise("R35")
async def test_a_user_without_the_token_that_was_asked_for_is_malformed() -> None:
    async with serve(answer(201, CREATED)) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="malformed"):
            await client.create_user_and_token(["chat"])


# Wrong use


async def test_in_another_event_loop_it_names_the_fix() -> None:
    """Of whichever kind: its connections belong to the one that it was entered in; as a source, too."""
    async with serve(silence()) as server, client_of(server) as client:

        async def ask() -> None:
            with pytest.raises(CredentialUsageError, match="entered in another event loop: enter it"):
                await client.create_user()
            fetch_token = functools.partial(client.get_token, "8:acs:ada", ["chat"])
            async with CommunicationTokenCredential(token_refresher=fetch_token) as credential:
                with pytest.raises(TokenRefreshError) as caught:
                    await credential.get_token()
                assert isinstance(caught.value.__cause__, CredentialUsageError)

        for backend in anyio.get_available_backends():
            await to_thread.run_sync(functools.partial(anyio.run, ask, backend=backend))
        assert server.connections == 0


async def test_outside_its_block_it_names_the_fix() -> None:
    client = CommunicationIdentityClient("https://contoso.example", AccessKeyCredential(KEY))
    with pytest.raises(CredentialUsageError, match="async with"):
        await client.create_user()
    async with client:
        pass
    with pytest.raises(CredentialUsageError, match="async with"):
        await client.create_user()


@pytest.mark.parametrize(
    ("options", "error", "fix"),
    [
        ({"scopes": "chat"}, TypeError, r"\[scope\]"),
        ({"scopes": [1]}, TypeError, "list of texts"),
        ({"scopes": None}, TypeError, "list of texts, such as .*, not NoneType"),
        ({"user": "8:acs:\ud800"}, ValueError, "the raw id of the user holds half of a surrogate pair, .*: give it as"),
        ({"scopes": []}, ValueError, "at least one"),
        ({"scopes": [""]}, ValueError, "no empty one"),
        ({"user": ""}, TypeError, "non-empty"),
        ({"user": None}, TypeError, "NoneType"),
        ({"user": object()}, TypeError, "identifier"),
        ({"token_expires_in": 60}, TypeError, "timedelta"),
        ({"token_expires_in": timedelta(minutes=60, microseconds=-1)}, ValueError, "minutes=60.* to .*minutes=1440"),
        ({"token_expires_in": timedelta(minutes=1440, microseconds=1)}, ValueError, "minutes=60.* to .*minutes=1440"),
        ({"token_expires_in": timedelta(minutes=-90)}, ValueError, "minutes=60.* to .*minutes=1440"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], fix: str
) -> None:
    arguments = {"user": USER, "scopes": ["chat"]} | options
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        with pytest.raises(error, match=fix):
            await client.get_token(**arguments)
    assert server.connections == 0


@pytest.mark.promise("R31")
@pytest.mark.parametrize("client", [httpx.Client(), httpx.AsyncClient, "text"], ids=["sync", "class", "text"])
def test_a_client_that_cannot_be_awaited_is_refused_where_it_is_given(client: Any) -> None:
    """A synchronous one would make a user, and its answer would be nobody's."""
    with pytest.raises(TypeError, match=r"http_client is an httpx\.AsyncClient or httpx2\.AsyncClient, not "):
        CommunicationIdentityClient("https://x.communication.azure.com", AccessKeyCredential(KEY), http_client=client)


@pytest.mark.parametrize("user", ["", None, object()])
async def test_each_call_about_a_user_refuses_what_is_none(user: Any) -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        for call in (client.revoke_tokens, client.delete_user):
            with pytest.raises(TypeError, match="user is an identifier"):
                await call(user)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "error", "fix"),
    [
        ({"client_id": None}, TypeError, "client_id is text"),
        ({"client_id": ""}, ValueError, "client_id is empty"),
        ({"user_object_id": 7}, TypeError, "user_object_id is text"),
        ({"user_object_id": ""}, ValueError, "user_object_id is empty"),
        ({"aad_token": ""}, InvalidTokenError, "blank"),
        ({"aad_token": None}, InvalidTokenError, "NoneType"),
        ({"aad_token": "Bearer x"}, InvalidTokenError, "prefix"),
        ({"aad_token": AccessToken("x", 1).__repr__}, TypeError, "aad_token returned str: give an async function"),
    ],
)
async def test_what_is_no_teams_user_is_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], fix: str
) -> None:
    arguments = {"aad_token": "entra", "client_id": "app", "user_object_id": "ada"} | options
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        with pytest.raises(error, match=fix):
            await client.get_token_for_teams_user(**arguments)
    assert server.connections == 0


@pytest.mark.parametrize("credential", [None, KEY, object()])
def test_other_credentials_are_refused_with_what_is_accepted(credential: Any) -> None:
    with pytest.raises(TypeError, match=r"give AccessKeyCredential\(key\), .* Entra token credential") as caught:
        CommunicationIdentityClient("https://contoso.example", credential)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("version", "error"), [(None, TypeError), (20231001, TypeError), ("", ValueError)])
def test_the_version_of_the_api_is_checked_at_construction(version: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"api_version is .*2023-10-01"):
        CommunicationIdentityClient("https://contoso.example", AccessKeyCredential(KEY), api_version=version)


@pytest.mark.promise("R33")
def test_the_endpoint_is_checked_at_construction() -> None:
    with pytest.raises(ValueError, match="https://"):
        CommunicationIdentityClient("http://contoso.example", AccessKeyCredential(KEY))


# Connection strings

HOST = "https://contoso.communicationservices.azure.com"
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))["connection_strings"]


@pytest.mark.parametrize(
    ("text", "endpoint", "key"),
    [
        (f"endpoint={HOST};accesskey=secret", HOST, "secret"),
        ("ENDPOINT=https://contoso.communicationservices.azure.com/;AccessKey=secret", HOST, "secret"),
        (f"endpoint={HOST}/;accesskey=c2VjcmV0Cg==", HOST, "c2VjcmV0Cg=="),
        (f"endpoint={HOST}/;accesskey=secret;", HOST, "secret"),
        (f"endpoint={HOST}:8443/;accesskey=secret", f"{HOST}:8443", "secret"),
        (f"accesskey=secret;endpoint={HOST}", HOST, "secret"),
        (f" endpoint = {HOST} ; ;accesskey = secret \n", HOST, "secret"),
        (f"endpoint={HOST};accesskey=secret;region=eu;region=us;=x", HOST, "secret"),
    ],
)
def test_connection_strings(text: str, endpoint: str, key: str) -> None:
    assert parse_connection_string(text) == ConnectionString(endpoint, key)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("", "no 'endpoint'"),
        ("endpoint=;accesskey=hunter2", "no 'endpoint'"),
        ("accesskey=hunter2", "no 'endpoint'"),
        (f"endpoint={HOST}", "no 'accesskey'"),
        (f"endpoint={HOST};accesskey=", "no 'accesskey'"),
        (f"endpoint={HOST};hunter2", 'without "="'),
        ("endpoint=contoso.communicationservices.azure.com;accesskey=hunter2", "scheme"),
        (f"endpoint={HOST}/path;accesskey=hunter2", "has a path"),
        ("endpoint=https://a.com/;accesskey=hunter2;endpoint=https://b.com/;accesskey=k2", "'endpoint' twice"),
        (f"endpoint={HOST};accesskey=hunter2;AccessKey=k2", "'accesskey' twice"),
        ("endpoint=http://contoso.example;accesskey=hunter2", "https://"),
    ],
)
def test_bad_connection_strings_are_refused_with_the_fix(text: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix) as caught:
        parse_connection_string(text)
    assert "hunter2" not in str(caught.value)
    assert "contoso.comm" not in str(caught.value)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case.get("note") or case["connection_string"][:40])
def test_vectors_of_connection_strings(case: dict[str, Any]) -> None:
    """What the official .NET package reads is read the same, but for an address that is none: that is refused.

    A name that is there twice is refused as well: the official Python and Java packages take the last.
    """
    text, official = case["connection_string"], case["dotnet_by_reading"]
    if case.get("note") in {"no scheme", "a path is an error only in JS's parseClientArguments"} or "error" in official:
        with pytest.raises(ValueError, match="endpoint") as caught:
            parse_connection_string(text)
        assert not re.search(r"secret|k1|k2", str(caught.value))
    else:
        assert parse_connection_string(text) == ConnectionString(
            official["endpoint"].rstrip("/"), official["access_key"]
        )


def test_a_connection_string_is_text() -> None:
    with pytest.raises(TypeError, match="not NoneType"):
        parse_connection_string(None)  # type: ignore[arg-type]


def test_a_connection_string_never_shows_its_key() -> None:
    parsed = parse_connection_string(f"endpoint={HOST};accesskey=hunter2")
    assert "hunter2" not in f"{parsed!r} {parsed}"
    assert copy.copy(parsed) is copy.deepcopy(parsed) is parsed
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(parsed)


@pytest.mark.parametrize("scopes", [None, 5, object()])
async def test_scopes_that_are_no_list_name_the_fix(scopes: Any) -> None:
    async with serve(answer(200, TOKEN)) as server, client_of(server) as client:
        with pytest.raises(TypeError, match=r'scopes are a list of texts, such as \["chat"\], not'):
            await client.get_token(USER, scopes)
    assert server.requests == []
