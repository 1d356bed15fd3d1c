"""No frame of ours shows a secret while an error passes it: error collectors record the locals of each."""

from __future__ import annotations

import base64
import socket
from contextlib import asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory
from traceback import TracebackException
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import certifi
import httpx
import pytest
from servers import head, serve
from servers import silence as never_ending

from anyio_acs_credential import (
    AccessKeyAuth,
    AccessKeyCredential,
    AccessToken,
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CredentialPool,
    EntraTokenExchange,
    ServiceError,
    TokenSourceError,
    parse_connection_string,
)
from anyio_acs_credential._http.endpoint import check_endpoint
from anyio_acs_credential._http.own_transport import make_client
from anyio_acs_credential.azure import RejectedTokenPolicy, as_sync_token_credential, as_token_credential
from anyio_acs_credential.entra import (
    AuthorizationCodeCredential,
    DeviceCodeCredential,
    InteractiveBrowserCredential,
    MsalCredential,
    OnBehalfOfCredential,
)
from anyio_acs_credential.fleet import MemoryTokenStore, RedisTokenStore, Sealer, SQLiteTokenStore, shared
from anyio_acs_credential.fleet._record import Record
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

pytestmark = pytest.mark.promise("R52")

ENDPOINT = "https://x.communication.azure.com"
KEY = base64.b64encode(b"canary-of-a-key-0123456789abcdef").decode()
BAD_KEY = "canary/not*base64*at-all"
JWT = make_jwt(3600, canary="canary")
ENDED = make_jwt(-3600, canary="ended")
OPAQUE = "canary-opaque-0123456789"
ASSERTION = make_jwt(3600, canary="assertion")
CLIENT_SECRET = "canary-client-secret-0123456789"
WITH_PASSWORD = f"https://user:{CLIENT_SECRET}@x.communication.azure.com"
FLEET_KEY = base64.urlsafe_b64encode(b"canary-of-a-fleet-0123456789abcd").decode()
SECRETS = (
    KEY,
    FLEET_KEY,
    BAD_KEY,
    JWT,
    ENDED,
    OPAQUE,
    ASSERTION,
    CLIENT_SECRET,
    "canary-code-0123456789",
    "canary-verifier-0123456789",
)


def errors_in(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """An error, and all that it came from."""
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
            yield from errors_in(other, seen)


def shown(error: BaseException) -> list[str]:
    """Where a frame of ours holds a secret."""
    found = []
    for each in errors_in(error, set()):
        for frame in TracebackException.from_exception(each, capture_locals=True).stack:
            if "anyio_acs_credential" in frame.filename:
                for name, value in (frame.locals or {}).items():
                    if any(secret in value for secret in SECRETS):
                        found.append(f"{frame.filename.rpartition('/')[2]}:{frame.name}.{name}")
    return found


def hidden(function: Callable[..., object], *args: Any, **kwargs: Any) -> Callable[[], object]:
    """A call whose arguments stand in no frame of the test."""
    return partial(function, *args, **kwargs)


class Shown(NamedTuple):
    """A token of another package, such as azure-core's, whose `repr` shows its text."""

    token: str
    expires_on: object


class ShownKey(NamedTuple):
    """An access key of somebody's own class, whose `repr` shows its text."""

    key: str


class ShownSource(NamedTuple):
    """A source of tokens, for a refresher and for an exchange, whose `repr` shows a token that it holds."""

    held: str

    async def __call__(self) -> Any:
        return self.held

    async def get_token(self, *_scopes: str) -> Any:
        return self.held


class Returning:
    """A source of tokens, for a refresher and for an exchange, that returns what is none."""

    def __init__(self, what: object) -> None:
        self.what = what

    async def __call__(self) -> Any:
        return self.what

    async def get_token(self, *_scopes: str) -> Any:
        return self.what


SIGN_INS: dict[Callable[..., object], dict[str, Any]] = {
    DeviceCodeCredential: {},
    InteractiveBrowserCredential: {},
    AuthorizationCodeCredential: {
        "authorization_code": "canary-code-0123456789",
        "redirect_uri": "http://localhost",
    },
    OnBehalfOfCredential: {"user_assertion": ASSERTION, "client_secret": CLIENT_SECRET},
}
SHOWING: dict[str, dict[str, Any]] = {
    "beside a bad endpoint": {"resource_endpoint": "ftp://x", "token_credential": ShownSource(JWT)},
    "without an endpoint": {"token_credential": ShownSource(JWT)},
    "beside a bad policy": {"token_refresher": ShownSource(JWT), "policy": 5},
    "beside scopes": {"token_refresher": ShownSource(JWT), "scopes": ()},
    "which is no refresher": {"token_refresher": ShownKey(JWT)},
    "which is no credential": {"resource_endpoint": ENDPOINT, "token_credential": ShownKey(JWT)},
}
REFUSED: dict[str, Callable[[], object]] = {
    "a token with a prefix": hidden(CommunicationTokenCredential, f"Bearer {JWT}"),
    "an opaque token": hidden(CommunicationTokenCredential, OPAQUE),
    "a token in two lines": hidden(AccessToken, f"{OPAQUE}\n", 5),
    "an expiry that is none": hidden(AccessToken, OPAQUE, "soon"),
    "a token in place of its expiry": hidden(AccessToken, 4102444800, OPAQUE),
    "a token and its expiry, both texts": hidden(AccessToken, "4102444800", OPAQUE),
    "a token in place of its life": hidden(AccessToken, "4102444800", 4102444800, OPAQUE),
    "a token that is cut": hidden(AccessToken.from_jwt, JWT[: len(JWT) // 2] + "." + OPAQUE),
    "an encrypted token": hidden(AccessToken.from_jwt, f"{OPAQUE}.a.b.c.d"),
    "a token without an expiry": hidden(AccessToken.from_jwt, make_jwt(exp=None, canary=OPAQUE)),
    "a token that another package made": hidden(CommunicationTokenCredential, Shown(OPAQUE, 5)),
    "a token in bytes": hidden(CommunicationTokenCredential, OPAQUE.encode()),
    "a token in place of a credential": hidden(BearerAuth, OPAQUE),
    "a token in place of a refresher": hidden(CommunicationTokenCredential, token_refresher=JWT),
    "a token in place of a refresher of a fleet": hidden(shared, JWT, MemoryTokenStore(), key="ana"),
    "a source that shows its token, in place of a fleet's store": hidden(
        shared, MemoryTokenStore(), ShownSource(JWT), key="ana"
    ),
    "a token in place of MSAL's application": hidden(MsalCredential, JWT),
    **{
        f"a key in place of the HTTP client of {whose.__name__}": hidden(whose, *arguments, http_client=KEY, **options)
        for whose, arguments, options in (
            (CommunicationIdentityClient, (ENDPOINT, AccessKeyCredential(KEY)), {}),
            (
                CommunicationIdentityClient.from_connection_string,
                (f"endpoint={ENDPOINT};accesskey={KEY}",),
                {},
            ),
            (EntraTokenExchange, (ENDPOINT, Returning(None)), {}),
            (
                CommunicationTokenCredential,
                (),
                {"resource_endpoint": ENDPOINT, "token_credential": Returning(None)},
            ),
        )
    },
    "a token in place of a pool's function": hidden(CredentialPool, JWT),
    "a token in place of an Entra credential": hidden(
        CommunicationTokenCredential, resource_endpoint=ENDPOINT, token_credential=JWT
    ),
    "a token in place of an exchange's credential": hidden(EntraTokenExchange, ENDPOINT, JWT),
    "a client's credential beside a bad endpoint": hidden(CommunicationIdentityClient, "ftp://x", ShownSource(JWT)),
    "a client's credential beside a bad client": hidden(
        CommunicationIdentityClient, ENDPOINT, ShownSource(JWT), http_client=object()
    ),
    "an exchange's credential beside a bad client": hidden(
        EntraTokenExchange, ENDPOINT, ShownSource(JWT), http_client=object()
    ),
    **{
        f"a source that shows its token, {fault}": hidden(CommunicationTokenCredential, **arguments)
        for fault, arguments in SHOWING.items()
    },
    "a source that shows its token, in a fleet with a bad lease": hidden(
        shared, ShownSource(JWT), MemoryTokenStore(), key="ana", lease=0
    ),
    "a token in place of Azure's credential": hidden(as_token_credential, OPAQUE),
    "a token in place of the synchronous one": hidden(as_sync_token_credential, OPAQUE),
    "a token for a policy": hidden(RejectedTokenPolicy, OPAQUE),
    "a key in place of a credential": hidden(CommunicationIdentityClient, ENDPOINT, KEY),
    "a key in bytes": hidden(AccessKeyCredential, KEY.encode()),
    "a key in bytes for signatures": hidden(AccessKeyAuth, KEY.encode()),
    "a connection string for signatures": hidden(
        AccessKeyAuth, parse_connection_string(f"endpoint={ENDPOINT};accesskey={KEY}")
    ),
    "an object whose key is none": hidden(AccessKeyAuth, ShownKey(BAD_KEY)),
    "an object whose key is none, for a client": hidden(CommunicationIdentityClient, ENDPOINT, ShownKey(BAD_KEY)),
    "a connection string in bytes": hidden(parse_connection_string, f"endpoint={ENDPOINT};accesskey={KEY}".encode()),
    "a connection string with the key as the endpoint": hidden(
        parse_connection_string, f"endpoint={KEY};accesskey={ENDPOINT}"
    ),
    "an endpoint with a password": hidden(check_endpoint, f"https://user:{CLIENT_SECRET}@x.example"),
    "an identity client's endpoint with a password": hidden(
        CommunicationIdentityClient, WITH_PASSWORD, AccessKeyCredential(KEY)
    ),
    "a credential's endpoint with a password": hidden(
        CommunicationTokenCredential, resource_endpoint=WITH_PASSWORD, token_credential=Returning(None)
    ),
    "an endpoint with a password alone": hidden(CommunicationTokenCredential, resource_endpoint=WITH_PASSWORD),
    "an exchange's endpoint with a password": hidden(EntraTokenExchange, WITH_PASSWORD, Returning(None)),
    "an endpoint with a password beside a wrong client": hidden(
        EntraTokenExchange, WITH_PASSWORD, Returning(None), http_client=object()
    ),
    "a connection string with a password": hidden(parse_connection_string, f"endpoint={WITH_PASSWORD};accesskey={KEY}"),
    "an identity client's connection string with a password": hidden(
        CommunicationIdentityClient.from_connection_string, f"endpoint={WITH_PASSWORD};accesskey={KEY}"
    ),
    "a Redis with a password": hidden(
        RedisTokenStore, f"https://user:{CLIENT_SECRET}@x.example", encryption_keys=[FLEET_KEY]
    ),
    **{
        f"an authority with a password of {kind.__name__}": hidden(kind, "app", authority=WITH_PASSWORD, **others)
        for kind, others in SIGN_INS.items()
    },
    **{
        f"a directory that is an address with a password of {kind.__name__}": hidden(
            kind, "app", tenant_id=WITH_PASSWORD, **others
        )
        for kind, others in SIGN_INS.items()
    },
    "an authority with a password for no application": hidden(DeviceCodeCredential, "", authority=WITH_PASSWORD),
    "an authority with a password beside a wrong argument": hidden(
        InteractiveBrowserCredential, "app", authority=WITH_PASSWORD, login="ana"
    ),
    "an authority with a password beside a wrong callback": hidden(
        DeviceCodeCredential, "app", authority=WITH_PASSWORD, prompt_callback="print"
    ),
    "a redirect with a password": hidden(InteractiveBrowserCredential, "app", redirect_uri=WITH_PASSWORD),
    "a code's redirect with a password": hidden(
        AuthorizationCodeCredential,
        "app",
        authorization_code="canary-code-0123456789",
        redirect_uri=f"{WITH_PASSWORD}/ ",
    ),
    "a host with a password": hidden(BearerAuth, CommunicationTokenCredential(JWT), hosts=[WITH_PASSWORD]),
    "hosts that are an address with a password": hidden(
        BearerAuth, CommunicationTokenCredential(JWT), hosts=WITH_PASSWORD
    ),
    "an endpoint that is a key": hidden(check_endpoint, KEY),
    "an endpoint in bytes": hidden(check_endpoint, KEY.encode()),
    "an assertion alone": hidden(OnBehalfOfCredential, "app", user_assertion=ASSERTION),
    "an assertion in two lines": hidden(
        OnBehalfOfCredential, "app", user_assertion=f"{ASSERTION}\n", client_secret=CLIENT_SECRET
    ),
    "an assertion in bytes": hidden(
        OnBehalfOfCredential, "app", user_assertion=ASSERTION.encode(), client_secret=CLIENT_SECRET
    ),
    "an assertion for no application": hidden(
        OnBehalfOfCredential, "", user_assertion=ASSERTION, client_secret=CLIENT_SECRET
    ),
    "a certificate without its half": hidden(
        OnBehalfOfCredential,
        "app",
        user_assertion=ASSERTION,
        client_certificate=f"-----BEGIN PRIVATE KEY-----\n{BAD_KEY}\n-----END PRIVATE KEY-----",
    ),
    "a certificate that is none": hidden(
        OnBehalfOfCredential, "app", user_assertion=ASSERTION, client_certificate=[BAD_KEY]
    ),
    "a code for no address": hidden(
        AuthorizationCodeCredential,
        "app",
        authorization_code="canary-code-0123456789",
        redirect_uri="",
        code_verifier="canary-verifier-0123456789",
        client_secret=CLIENT_SECRET,
    ),
    "a verifier in two lines": hidden(
        AuthorizationCodeCredential,
        "app",
        authorization_code="canary-code-0123456789",
        redirect_uri="http://localhost",
        code_verifier="canary-verifier-0123456789\n",
        client_secret=CLIENT_SECRET,
    ),
    "a token beside a credential": hidden(CommunicationTokenCredential, JWT, token_credential=object()),
    "a token beside what is static": hidden(CommunicationTokenCredential, JWT, observer=print),
    "encryption keys that are a text": hidden(Sealer, FLEET_KEY),
    "an encryption key that is none": hidden(Sealer, [FLEET_KEY, BAD_KEY]),
    "an encryption key of a store": hidden(SQLiteTokenStore, "tokens.db", encryption_keys=[FLEET_KEY, BAD_KEY]),
    "encryption keys beside a wrong path": hidden(SQLiteTokenStore, None, encryption_keys=[FLEET_KEY]),
    "a key that is none": hidden(AccessKeyCredential, BAD_KEY),
    "a connection string by http": hidden(
        CommunicationIdentityClient.from_connection_string, f"endpoint=http://x.example/;accesskey={KEY}"
    ),
    "a connection string with more": hidden(parse_connection_string, f"endpoint={ENDPOINT};accesskey={KEY};more"),
    "a connection string with two keys": hidden(
        parse_connection_string, f"endpoint={ENDPOINT};accesskey={KEY};AccessKey={KEY}"
    ),
    "a connection string without an address": hidden(parse_connection_string, f"accesskey={KEY}"),
    "a connection string with a bad key": hidden(
        CommunicationIdentityClient.from_connection_string, f"endpoint={ENDPOINT};accesskey={BAD_KEY}"
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_in_no_frame(what: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSED[what]()
    assert shown(caught.value) == []


class Transport(httpx.AsyncBaseTransport):
    """A service that hangs, refuses, cannot be reached, or answers what nobody can use."""

    def __init__(self, fault: str, content: object = None) -> None:
        self._fault = fault
        self._content = content

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._fault == "hangs":
            await anyio.sleep_forever()
        if self._fault == "fails":
            raise httpx.ConnectError("no way", request=request)
        if self._fault == "answers":
            return httpx.Response(200, json=self._content)
        return httpx.Response(403, json={"error": {"code": "No", "message": "no"}})


class Entra:
    async def get_token(self, *_scopes: str) -> AccessToken:
        return AccessToken.from_jwt(JWT)


async def down() -> str:
    raise OSError("down")


async def opaque() -> str:
    return OPAQUE


async def rejected() -> None:
    async with CommunicationTokenCredential(AccessToken.from_jwt(JWT), token_refresher=down) as credential:
        await credential.refresh(rejected=await credential.get_token())


async def from_a_refresher() -> None:
    async with CommunicationTokenCredential(token_refresher=opaque) as credential:
        await credential.get_token()


async def from_a_refresher_that_returns(what: object) -> None:
    async with CommunicationTokenCredential(token_refresher=Returning(what)) as credential:
        await credential.get_token()


async def from_a_plain_refresher() -> None:
    plain: Any = lambda: OPAQUE  # noqa: E731 - a wrong one, which is typed as anything
    async with CommunicationTokenCredential(token_refresher=plain) as credential:
        await credential.get_token()


async def for_a_plain_assertion() -> None:
    plain: Any = lambda: ASSERTION  # noqa: E731 - likewise
    await OnBehalfOfCredential("app", user_assertion=plain, client_secret=CLIENT_SECRET).get_token("scope")


async def from_an_entra_credential_that_returns(what: object) -> None:
    async with CommunicationTokenCredential(resource_endpoint=ENDPOINT, token_credential=Returning(what)) as credential:
        await credential.get_token()


async def of_a_static_credential(rejected: Any) -> None:
    await CommunicationTokenCredential(JWT).refresh(rejected=rejected)


async def of_a_teams_user(client_id: str, token: Any) -> None:
    async with CommunicationIdentityClient(ENDPOINT, AccessKeyCredential(KEY)) as identity:
        await identity.get_token_for_teams_user(token, client_id, "user")


class Lives(NamedTuple):
    """A token with its life, whose `repr` shows its text."""

    token: object
    expires_in: object


async def asked_with_claims(made: Callable[[], Any], claims: Any) -> None:
    await made().get_token("scope", claims=claims)


async def asked_for_info_with_claims(claims: Any) -> None:
    await CommunicationTokenCredential(JWT).get_token_info("scope", options={"claims": claims})


async def called_with_claims(made: Callable[[], Any], claims: Any) -> None:
    await made()(claims)


CLAIMED: dict[str, Callable[[Any], Awaitable[None]]] = {
    "a credential": partial(asked_with_claims, hidden(CommunicationTokenCredential, JWT)),
    "a credential, for azure-core": asked_for_info_with_claims,
    "a sign-in": partial(asked_with_claims, hidden(DeviceCodeCredential, "app")),
    "an exchange": partial(called_with_claims, hidden(EntraTokenExchange, ENDPOINT, Returning(None))),
    "a fleet": partial(called_with_claims, lambda: shared(down, MemoryTokenStore(), key="ana")),
}


async def of_a_teams_user_in_another_order() -> None:
    async with (
        httpx.AsyncClient(transport=Transport("hangs")) as client,
        CommunicationIdentityClient(ENDPOINT, AccessKeyCredential(KEY), http_client=client) as identity,
    ):
        await identity.get_token_for_teams_user("app", JWT, OPAQUE)


RETURNED = {
    "swapped": Shown(4102444800, OPAQUE),  # type: ignore[arg-type]
    "an expiry that is a token": Shown(OPAQUE, Shown(JWT, 5)),
    "a life that is a token": Lives(OPAQUE, JWT),
    "a token and its life, swapped": Lives(3600, OPAQUE),
    "a life that is too long": Lives(OPAQUE, 4102444800),
    "soon": Shown(OPAQUE, "soon"),
    "never": Shown(OPAQUE, None),
    "cut": Shown(f"{OPAQUE}\n", 9e9),
    "text": OPAQUE,
    "bytes": OPAQUE.encode(),
    "pair": (OPAQUE, 9e9),
    "json": {"token": OPAQUE},
}


async def from_a_pool() -> None:
    pool = CredentialPool[str](lambda _: CommunicationTokenCredential(token_refresher=opaque))
    async with pool, pool.use("alice") as credential:
        await credential.get_token()


async def at_the_service(fault: str, call: str) -> None:
    async with httpx.AsyncClient(transport=Transport(fault)) as client:
        for credential in (AccessKeyCredential(KEY), Entra()):
            async with CommunicationIdentityClient(ENDPOINT, credential, http_client=client) as identity:
                if call == "create_user":
                    await identity.create_user()
                else:
                    await identity.get_token_for_teams_user(AccessToken.from_jwt(JWT), "app", "user")


async def exchanged(fault: str) -> None:
    async with (
        httpx.AsyncClient(transport=Transport(fault)) as client,
        CommunicationTokenCredential(
            resource_endpoint=ENDPOINT, token_credential=Entra(), http_client=client
        ) as credential,
    ):
        await credential.get_token()


NOT_ISSUED: dict[str, object] = {
    "with no expiry": {"token": JWT},
    "with an expiry that is none": {"token": JWT, "expiresOn": "soon"},
    "with another object": {"token": {"text": JWT}, "expiresOn": 9e9},
    "that has ended": {"token": ENDED, "expiresOn": 1577836800},
    "that has ended by its own account": {"token": ENDED, "expiresOn": 9e9},
    "in two lines": {"token": f"{OPAQUE}\n", "expiresOn": 9e9},
    "in a list": [JWT],
    "alone": JWT,
}
ISSUING = ("exchange", "get_token", "create_user_and_token", "get_token_for_teams_user")


async def issued(content: object, call: str, *, is_inside: bool) -> None:
    """A token in an answer that is refused, where the answer has its tokens or in place of the whole answer."""
    if is_inside and call in {"exchange", "create_user_and_token"}:
        content = {"identity": {"id": "8:acs:ana"}, "accessToken": content}
    async with (
        httpx.AsyncClient(transport=Transport("answers", content)) as client,
        CommunicationIdentityClient(ENDPOINT, AccessKeyCredential(KEY), http_client=client) as identity,
    ):
        if call == "exchange":
            await EntraTokenExchange(ENDPOINT, Entra(), http_client=client)()
        elif call == "get_token":
            await identity.get_token("8:acs:ana", ["chat"])
        elif call == "create_user_and_token":
            await identity.create_user_and_token(["chat"])
        else:
            await identity.get_token_for_teams_user(AccessToken.from_jwt(JWT), "app", "user")


async def half_issued(call: str) -> None:
    """An answer whose connection says nothing more in the middle of the body, behind the token."""
    body = b'{"token": "%s", "accessToken": {"token": "%s"' % (JWT.encode(), JWT.encode())
    async with serve(never_ending(head(200, ("Content-Length", "9000")) + body)) as server:
        if call == "exchange":
            await EntraTokenExchange(server.url, Entra())()
        else:
            async with CommunicationIdentityClient(server.url, AccessKeyCredential(KEY)) as identity:
                await identity.get_token("8:acs:ana", ["chat"])


@asynccontextmanager
async def silence() -> AsyncGenerator[str]:
    """An authority that answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/tenant"


async def on_behalf_of() -> None:
    async with silence() as authority:
        credential = OnBehalfOfCredential(
            "app", user_assertion=ASSERTION, client_secret=CLIENT_SECRET, authority=authority
        )
        await credential.get_token("scope")


async def with_a_code() -> None:
    async with silence() as authority:
        credential = AuthorizationCodeCredential(
            "app",
            authorization_code="canary-code-0123456789",
            redirect_uri="http://localhost",
            code_verifier="canary-verifier-0123456789",
            client_secret=CLIENT_SECRET,
            authority=authority,
        )
        await credential.get_token("scope")


async def in_a_fleet() -> None:
    """The source fails beside a token that is kept, and another process is told so."""
    tokens = ScriptedSource(AccessToken.from_jwt(JWT), TokenSourceError("down", retry_after=60))
    async with MemoryTokenStore() as store:
        for _ in range(2):
            source = shared(tokens, store, key="ana")
            async with CommunicationTokenCredential(token_refresher=source) as credential:
                await credential.get_token()
                await credential.refresh()


async def with_a_store(fault: str) -> None:
    """What a store is given, or holds, that fails."""
    with TemporaryDirectory() as folder:
        async with SQLiteTokenStore(f"{folder}/tokens.db", encryption_keys=[FLEET_KEY]) as store:
            await store.put("ana", 5, JWT.encode(), 60)
            connection = store._file._connection
            assert connection is not None
            if fault == "moved":
                await store._worker.call(connection.execute, "UPDATE slots SET fence = 6")
                await store.look("ana")
            elif fault == "full":
                await store._worker.call(connection.execute, "PRAGMA max_page_count = 1")
                await store.put("ana", 6, 1000 * JWT.encode(), 60)
    async with MemoryTokenStore() as closed:
        pass
    await closed.put("ana", 5, JWT.encode(), 60)


class Rotated:
    """An access key that somebody replaces with text that is no key."""

    key = KEY


async def sent_to_an_address_with_a_password(auth: httpx.Auth, scheme: str = "http") -> None:
    """Over plain http, a token or a signature is refused."""
    async with httpx.AsyncClient(transport=Transport("refuses"), auth=auth) as client:
        await client.get(WITH_PASSWORD.replace("https", scheme))


async def signed_with_a_rotated_key() -> None:
    credential = Rotated()
    auth = AccessKeyAuth(credential)
    credential.key = BAD_KEY
    await sent_to_an_address_with_a_password(auth, "https")


def with_a_proxy(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for name in ("NO_PROXY", "ALL_PROXY", "HTTPS_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", address)


@pytest.mark.parametrize(
    "address",
    [f"https://user:{CLIENT_SECRET}@proxy.example", f"//user:{CLIENT_SECRET}@proxy.example:port"],
    ids=["over TLS", "none"],
)
def test_a_proxys_password_is_in_no_frame(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the certificates that the environment names cannot be read, and where the address is none."""
    with_a_proxy(monkeypatch, address)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    with pytest.raises(ServiceError) as caught:
        make_client(certifi.where())
    assert shown(caught.value) == []


async def that_is_no_record() -> None:
    Record.from_bytes(JWT.encode())


FAILING: dict[str, Callable[[], Awaitable[None]]] = {
    "a rejected token": rejected,
    "a refresher's text": from_a_refresher,
    "a text in a pool": from_a_pool,
    **{
        f"a refresher that returns: {name}": partial(from_a_refresher_that_returns, what)
        for name, what in RETURNED.items()
    },
    **{
        f"an Entra credential that returns: {name}": partial(from_an_entra_credential_that_returns, what)
        for name, what in RETURNED.items()
    },
    **{
        f"claims in {kind} of {whose}": partial(ask, claims)
        for whose, ask in CLAIMED.items()
        for kind, claims in {"bytes": JWT.encode(), "a dict": {"claims": JWT}}.items()
    },
    "claims of a sign-in that are a token": partial(CLAIMED["a sign-in"], JWT),
    "a rejected text of a static credential": partial(of_a_static_credential, JWT),
    "a rejected text with its prefix": partial(of_a_static_credential, f"Bearer {JWT}"),
    "a rejected text in bytes": partial(of_a_static_credential, JWT.encode()),
    "a rejected token of another package": partial(of_a_static_credential, Shown(JWT, 5)),
    "a Teams user's token in the place of an id": of_a_teams_user_in_another_order,
    "a Teams user of no application": partial(of_a_teams_user, "", Shown(OPAQUE, 5)),
    "a Teams user's plain function": partial(of_a_teams_user, "app", lambda: OPAQUE),
    "a plain refresher": from_a_plain_refresher,
    "an assertion's plain function": for_a_plain_assertion,
    "an assertion": on_behalf_of,
    "a code": with_a_code,
    "a failure in a fleet": in_a_fleet,
    "a request with a password, whose key was rotated": signed_with_a_rotated_key,
    **{
        f"a request by http with a password, {type(auth).__name__}": partial(sent_to_an_address_with_a_password, auth)
        for auth in (BearerAuth(CommunicationTokenCredential(JWT)), AccessKeyAuth(KEY))
    },
    "no record": that_is_no_record,
    **{f"a store, {fault}": partial(with_a_store, fault) for fault in ("moved", "full", "closed")},
    **{f"an exchange that {fault}": partial(exchanged, fault) for fault in ("hangs", "fails", "refuses")},
    **{
        f"{call} that {fault}": partial(at_the_service, fault, call)
        for call in ("create_user", "get_token_for_teams_user")
        for fault in ("hangs", "fails", "refuses")
    },
    **{
        f"a token {name}, {'in' if is_inside else 'in place of'} the answer to {call}": partial(
            issued, content, call, is_inside=is_inside
        )
        for call in ISSUING
        for name, content in NOT_ISSUED.items()
        for is_inside in (True, False)
    },
    **{f"half an answer to {call}": partial(half_issued, call) for call in ("exchange", "get_token")},
}


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.usefixtures("anyio_backend")
async def test_what_fails_or_takes_too_long_is_in_no_frame(what: str) -> None:
    """Where the caller has a time limit, its cancellation passes the frames as well."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is not the point
        with anyio.fail_after(0.3):
            await FAILING[what]()
    assert shown(caught.value) == []
