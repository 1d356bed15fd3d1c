"""Other people's credentials: async ones, plain ones, azure-identity's, and broken ones."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import ssl
import threading
import time
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import azure.identity
import azure.identity.aio
import pytest
import trustme
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AuthenticationRequiredError, CredentialUnavailableError
from entra_users import Clock
from servers import answer, serve
from test_home import BACKENDS, FORKS, in_child
from told import told

from anyio_acs_credential import AccessToken, SignInRequiredError, TokenSourceError
from anyio_acs_credential._exchange.entra_tokens import EntraTokenSource
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from anyio.abc import ByteStream
    from servers import Server

SCOPES = ("https://communication.azure.com/clients/VoIP", "https://communication.azure.com/clients/Chat")
CLAIMS = '{"access_token":{}}'
TOKEN = AccessToken("entra", 4_000_000_000)


class Async:
    """A credential of a user's own that knows claims."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    async def get_token(self, *scopes: str, claims: str | None = None, **options: Any) -> AccessToken:
        self.asked.append((scopes, {"claims": claims, **options}))
        return TOKEN


class Plain:
    """One that blocks, and knows nothing but scopes."""

    def __init__(self, give: Callable[[], Any] = lambda: TOKEN) -> None:
        self.give = give
        self.threads: list[int] = []
        self.closed = False

    def get_token(self, *scopes: str) -> Any:
        assert scopes == SCOPES
        self.threads.append(threading.get_ident())
        return self.give()

    def close(self) -> None:
        self.closed = True


def source(give: Callable[[], Any]) -> EntraTokenSource:
    return EntraTokenSource(Plain(give))


@pytest.mark.parametrize("credential", [None, "text", object(), SimpleNamespace(get_token="text"), Async, Plain])
def test_what_gives_no_tokens_is_refused(credential: Any) -> None:
    """A class in place of an object, too."""
    with pytest.raises(TypeError) as caught:
        EntraTokenSource(credential)
    name = f"the class {credential.__name__}" if isinstance(credential, type) else type(credential).__name__
    fix = (
        "give an object with get_token(*scopes), such as a credential of anyio_acs_credential.entra or of "
        "azure-identity"
    )
    assert told(caught.value) == ("token-credential", f"token_credential is {name}: {fix}")


async def test_an_async_credential_is_awaited() -> None:
    """It gets the scopes, and claims only where there are any."""
    credential = Async()
    asked = EntraTokenSource(credential)
    assert await asked.get(SCOPES) is TOKEN
    assert await asked.get(SCOPES, CLAIMS) is TOKEN
    assert credential.asked == [(SCOPES, {"claims": None}), (SCOPES, {"claims": CLAIMS})]


@pytest.mark.promise("R56")
async def test_a_plain_credential_is_called_in_a_thread() -> None:
    """The event loop is not its place, and it is left open."""
    credential = Plain()
    assert await EntraTokenSource(credential).get(SCOPES) is TOKEN
    assert threading.get_ident() not in credential.threads
    assert not credential.closed


async def test_claims_are_kept_from_a_credential_that_does_not_take_them() -> None:
    assert await EntraTokenSource(Plain()).get(SCOPES, CLAIMS) is TOKEN


class Unreadable:
    __signature__ = "none that inspect can read"

    def __call__(self, scope: str, _scope: str, *, claims: str) -> AccessToken:
        assert scope in SCOPES
        return AccessToken(claims[:1], 1)


@pytest.mark.parametrize(
    "get_token",
    [
        Unreadable(),
        lambda *_, **options: AccessToken(options["claims"][:1], 1),
        lambda *_, claims=None: AccessToken(claims[:1], 1),
    ],
    ids=["no signature", "any keyword", "named"],
)
async def test_claims_are_passed_to_whatever_takes_them(get_token: Any) -> None:
    asked = EntraTokenSource(SimpleNamespace(get_token=get_token))
    assert (await asked.get(SCOPES, CLAIMS)).token == "{"


@pytest.mark.parametrize(
    "get_token",
    [
        Async().get_token,
        functools.partial(Async().get_token, tenant_id="t"),
        lambda *scopes: Async().get_token(*scopes),
        type("Callable", (), {"__call__": lambda _self, *scopes: Async().get_token(*scopes)})(),
    ],
    ids=["method", "partial", "returns a coroutine", "callable object"],
)
async def test_whatever_can_be_awaited_is(get_token: Any) -> None:
    assert await EntraTokenSource(SimpleNamespace(get_token=get_token)).get(SCOPES) is TOKEN


# What credentials return


@pytest.mark.parametrize(
    "expires_on",
    [2_043_570_089, 2_043_570_089.9, "2034-10-04T10:21:29Z", datetime(2034, 10, 4, 10, 21, 29, tzinfo=UTC)],
)
async def test_every_kind_of_token_is_taken(expires_on: Any) -> None:
    """Anything with a text and an expiry, however that is written."""
    token = await source(lambda: SimpleNamespace(token="t", expires_on=expires_on)).get(SCOPES)
    assert token == AccessToken("t", 2_043_570_089)


async def test_a_jwt_says_itself_when_it_ends() -> None:
    assert (await source(lambda: make_jwt(exp=4_000_000_000)).get(SCOPES)).expires_on == 4_000_000_000


@pytest.mark.parametrize(
    "result",
    [
        None,
        "canary",
        {"access_token": "canary"},
        SimpleNamespace(token="canary"),
        SimpleNamespace(token="canary", expires_on=None),
        SimpleNamespace(token="canary\n", expires_on=4e9),
        SimpleNamespace(token=None, expires_on=4e9),
        SimpleNamespace(token="", expires_on=4e9),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_is_no_token_is_a_typed_error(result: object) -> None:
    """It names the credential, and shows nothing of what it returned."""
    with pytest.raises(TokenSourceError, match="Plain") as caught:
        await source(lambda: result).get(SCOPES)
    assert not caught.value.permanent
    assert "canary" not in "".join(traceback.format_exception(caught.value))


# What credentials raise


def fail(error: BaseException) -> Callable[[], Any]:
    def give() -> Any:
        raise error

    return give


def refused(status: int | None, text: str = f"AADSTS50076: {make_jwt()}") -> Exception:
    error = ClientAuthenticationError(text)
    error.status_code = status
    return error


def answered(body: Any, kind: Any = ClientAuthenticationError) -> Exception:
    """An error of azure-identity that has Entra's answer with it."""
    text = body if isinstance(body, str) else json.dumps(body)
    error: Exception = kind(
        message="Authentication failed: see the answer",
        response=SimpleNamespace(status_code=400, reason="Bad Request", text=lambda: text),
    )
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError("no network"),
        AttributeError("a bug"),
        TokenSourceError("said", retry_after=7),
        CredentialUnavailableError("not here"),
        refused(None, text="the network is down"),
        refused(None, text="AADSTS90033: A transient error has occurred."),
        refused(None, text="AADSTS50196: a loop was detected"),
        refused(None, text="AADSTS12345: unheard of"),
        refused(400, text="Authentication failed: AADSTS50196: a loop was detected"),
        refused(400, text="Authentication failed: AADSTS90033: A transient error has occurred."),
        refused(None, text="they failed:\n\tA: AADSTS50076: more is wanted\n\tB: the network is down"),
        answered({"error": "invalid_grant", "error_codes": [50196]}),
        answered({"error": "temporarily_unavailable"}),
        refused(503),
        refused(429),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_credential_raises_passes_as_it_is(error: Exception) -> None:
    """Failures that may pass, azure-identity's for a network that is down among them, are left alone."""
    with pytest.raises(type(error)) as caught:
        await source(fail(error)).get(SCOPES)
    assert caught.value is error


@pytest.mark.promise("R18")
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (
            None,
            "a token refresher returns a JWT, an AccessToken or an object with .token and .expires_on or .expires_in",
        ),
        (SimpleNamespace(token="secret", expires_on="soon"), "expires_on is text that is not an ISO 8601 time"),
    ],
    ids=["nothing", "no expiry"],
)
async def test_an_answer_that_holds_no_token(answer: Any, fault: str) -> None:
    """It says what is wrong with the answer, and never shows it."""
    with pytest.raises(TokenSourceError) as caught:
        await source(lambda: answer).get(SCOPES)
    anchor, text = told(caught.value)
    assert anchor == "token-credential-failed"
    assert text.startswith(f"the token credential (Plain) gave no token that can be exchanged: {fault}")
    assert "secret" not in text
    assert caught.value.__context__ is None


@pytest.mark.promise("R18")
@pytest.mark.parametrize("status", [400, 401, 403, None])
async def test_a_refusal_by_entra_is_permanent(status: int) -> None:
    """Entra's reason is kept, without what looks like a token; azure-identity's error is the cause."""
    error = refused(status)
    with pytest.raises(TokenSourceError, match="AADSTS50076") as caught:
        await source(fail(error)).get(SCOPES)
    assert caught.value.permanent
    assert caught.value.__cause__ is error
    assert "eyJ" not in str(caught.value)
    anchor, text = told(caught.value)
    assert anchor == "token-credential-failed"
    assert text.startswith("Entra refused the token credential (Plain): correct it, then call refresh(). ")


@pytest.mark.promise("R18")
async def test_a_sign_in_that_only_a_person_can_do_is_permanent() -> None:
    error = AuthenticationRequiredError(SCOPES)
    with pytest.raises(SignInRequiredError) as caught:
        await source(fail(error)).get(SCOPES)
    assert caught.value.permanent
    assert caught.value.__cause__ is error
    assert told(caught.value) == (
        "sign-in-required",
        f"only a person can sign in: call authenticate(), then refresh(). {error}",
    )


@pytest.mark.promise("R18")
async def test_the_name_of_an_error_is_enough() -> None:
    """A package that names its errors as azure-identity does need not give them the same base or attributes."""
    error = type("AuthenticationRequiredError", (Exception,), {})("who are you?")
    with pytest.raises(SignInRequiredError, match="who are you"):
        await source(fail(error)).get(SCOPES)


@pytest.mark.promise("R18")
@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_grant", "error_codes": [70008]},
        {"error": "invalid_client", "error_codes": [7000215]},
        ["error"],
        {"code": "none"},
        "<html>",
    ],
    ids=str,
)
async def test_what_entra_answered_says_that_a_refusal_is_permanent(body: Any) -> None:
    """Or its status does, where the answer cannot be read."""
    assert (await failure(source(fail(answered(body))))).permanent


async def failure(asked: EntraTokenSource) -> TokenSourceError:
    with pytest.raises(TokenSourceError) as caught:
        await asked.get(SCOPES)
    return caught.value


# Threads


class Slow:
    """A plain credential whose calls last until they are released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.began = threading.Semaphore(0)
        self.calls = self.running = self.most = 0

    def get_token(self, *_scopes: str) -> AccessToken:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.release()
        self.release.wait(50)
        self.running -= 1
        return TOKEN


class Counting(EntraTokenSource):
    """Counts how often a call was not let in."""

    refused = 0

    def _call(self, scopes: tuple[str, ...], options: Mapping[str, str]) -> tuple[Any] | None:
        answer = super()._call(scopes, options)
        self.refused += answer is None
        return answer


async def began(slow: Slow) -> None:
    with anyio.fail_after(40):
        while not slow.began.acquire(blocking=False):  # noqa: ASYNC110 - a thread tells
            await anyio.sleep(0.001)


@pytest.mark.promise("R41")
async def test_a_call_that_was_left_in_its_thread_returns_before_the_next_begins() -> None:
    """Cancelling comes through at once; two calls are never in a credential together."""
    slow = Slow()
    asked = Counting(slow)
    got: list[AccessToken] = []

    async def ask() -> None:
        got.append(await asked.get(SCOPES))

    try:
        for _ in range(3):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                if not slow.calls:
                    await began(slow)
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()
        assert (slow.calls, got) == (1, [])
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            with anyio.fail_after(40):
                while asked.refused < 4:  # noqa: ASYNC110 - a thread tells
                    assert slow.calls == 1
                    await anyio.sleep(0.001)
            slow.release.set()
    finally:
        slow.release.set()
    assert got == [TOKEN, TOKEN]
    assert (slow.calls, slow.most) == (3, 1)


async def test_a_plain_credential_takes_no_thread_from_others() -> None:
    """The threads that all programs share stay as they were."""
    shared = anyio.to_thread.current_default_thread_limiter()
    slow = Slow()
    async with anyio.create_task_group() as group:
        group.start_soon(EntraTokenSource(slow).get, SCOPES)
        await began(slow)
        assert shared.borrowed_tokens == 0
        slow.release.set()


@FORKS
@pytest.mark.promise("R56")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of 3.12: forking beside threads is the point
def test_a_call_in_progress_at_a_fork_keeps_nobody_waiting_in_the_child(backend: str) -> None:
    """It ends in the parent alone."""
    parent, slow = os.getpid(), Slow()
    asked = source(lambda: slow.get_token(*SCOPES) if os.getpid() == parent else TOKEN)
    calling = threading.Thread(target=anyio.run, args=(asked.get, SCOPES), kwargs={"backend": backend})

    def child() -> None:
        assert anyio.run(asked.get, SCOPES, backend=backend) is TOKEN

    calling.start()
    assert slow.began.acquire(timeout=40)
    in_child(child)
    slow.release.set()
    calling.join()


# Other event loops


async def wait_as_asyncio_does(*scopes: str) -> AccessToken:
    await asyncio.sleep(0)
    return TOKEN


async def sleep_as_asyncio_does(*scopes: str) -> AccessToken:
    await asyncio.sleep(0.001)
    return TOKEN


@pytest.mark.parametrize("get_token", [wait_as_asyncio_does, sleep_as_asyncio_does, Async().get_token])
async def test_a_credential_that_needs_asyncio(get_token: Any, anyio_backend_name: str) -> None:
    """It works there; on trio it fails at once with what to use instead."""
    asked = EntraTokenSource(SimpleNamespace(get_token=get_token))
    if anyio_backend_name == "asyncio" or get_token.__name__ == "get_token":
        assert await asked.get(SCOPES) is TOKEN
        return
    with anyio.fail_after(40), pytest.raises(TokenSourceError) as caught:
        await asked.get(SCOPES)
    assert caught.value.permanent
    fix = (
        "on trio, use a plain credential of azure-identity (from azure.identity, not azure.identity.aio) or one of "
        "anyio_acs_credential.entra"
    )
    assert told(caught.value) == (
        "token-credential-failed",
        f"the token credential (SimpleNamespace) needs asyncio's event loop: {fix}",
    )


# azure-identity itself, against an authority on loopback


@asynccontextmanager
async def authority(status: int, body: Any, folder: Path) -> AsyncGenerator[tuple[Server, dict[str, Any]]]:
    """An authority that answers every token request alike, and the keywords that make a credential use it."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    async def behave(server: Server, stream: ByteStream) -> None:
        url = f"{server.url}/tenant"
        found = {
            "issuer": f"{url}/v2.0",
            "token_endpoint": f"{url}/oauth2/v2.0/token",
            "authorization_endpoint": f"{url}/oauth2/v2.0/authorize",
        }
        is_token = server.requests[-1].method == "POST"
        await answer(status if is_token else 200, body if is_token else found, ("Content-Type", "application/json"))(
            server, stream
        )

    async with serve(behave, tls=context) as server:
        yield (
            server,
            {
                "tenant_id": "tenant",
                "client_id": "client",
                "client_secret": "canary",
                "authority": server.url,
                "disable_instance_discovery": True,
                "connection_verify": str(folder / "ca.pem"),
                "retry_total": 0,
            },
        )


GRANTED = {"access_token": "azures-entra-token", "expires_in": 3600, "token_type": "Bearer"}
THROTTLED = {"error": "invalid_grant", "error_codes": [50196], "error_description": "AADSTS50196: a loop."}
REVOKED = {"error": "invalid_grant", "error_codes": [50173], "error_description": "AADSTS50173: revoked."}
DENIED = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}


async def test_a_plain_credential_of_azure_identity(tmp_path: Path) -> None:
    """It signs in off the loop, on either backend; it is asked for scopes as they are given."""
    async with authority(200, GRANTED, tmp_path) as (server, options):
        with azure.identity.ClientSecretCredential(**options) as credential:
            token = await EntraTokenSource(credential).get(SCOPES[:1])
            again = await EntraTokenSource(credential).get(SCOPES[:1], CLAIMS)
    assert again.token == token.token
    assert token.token == "azures-entra-token"
    assert 3500 < token.expires_on - time.time() <= 3601
    posted = [request.body.decode() for request in server.requests if request.method == "POST"]
    assert len(posted) == 2
    assert "VoIP" in posted[0]
    assert "access_token" in posted[1].partition("claims=")[2]


@pytest.mark.promise("R18")
@pytest.mark.parametrize("status", [400, 401])
async def test_a_refused_credential_of_azure_identity(status: int, tmp_path: Path) -> None:
    """azure-identity gives no status, but Entra's number."""
    async with authority(status, DENIED, tmp_path) as (_, options):
        with azure.identity.ClientSecretCredential(**options) as credential:
            asked = EntraTokenSource(credential)
            error = await failure(asked)
    assert "AADSTS7000215" in str(error)
    assert error.permanent
    assert "canary" not in "".join(traceback.format_exception(error))


@pytest.mark.promise("R18")
@pytest.mark.parametrize("code", [50196, 90033, 90055])
async def test_azure_identity_that_is_throttled_under_another_name(code: int, tmp_path: Path) -> None:
    """Entra calls it a bad grant, and azure-identity a failed authentication."""
    body = {"error": "invalid_grant", "error_codes": [code], "error_description": f"AADSTS{code}: later."}
    async with authority(400, body, tmp_path) as (_, options):
        del options["client_secret"]
        behalf = azure.identity.OnBehalfOfCredential(**options, client_secret="s", user_assertion="assertion")
        for credential in (behalf, azure.identity.ClientSecretCredential(**options, client_secret="s")):
            with credential, pytest.raises(ClientAuthenticationError, match=f"AADSTS{code}"):
                await EntraTokenSource(credential).get(SCOPES[:1])


@pytest.mark.promise("R18")
@pytest.mark.parametrize("fault", [THROTTLED, REVOKED], ids=["throttled", "revoked"])
async def test_a_person_of_azure_identity_is_asked_where_only_a_person_can_help(
    fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-identity wants authenticate() for throttling as well: what Entra answered tells them apart."""
    clock = Clock(monkeypatch)
    async with open_emulator() as emulator:
        credential = azure.identity.DeviceCodeCredential(
            emulator.client_id,
            authority=emulator.endpoint,
            tenant_id=emulator.tenant_id,
            disable_instance_discovery=True,
            connection_verify=emulator.ca_file,
            disable_automatic_authentication=True,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, "alice"),
        )
        with credential:
            await anyio.to_thread.run_sync(lambda: credential.authenticate(scopes=[SCOPES[0]]))
            clock.ahead += 3700
            emulator.answer("/token$", status=400, body=json.dumps(fault), headers={"Content-Type": "application/json"})
            asked = EntraTokenSource(credential)
            if fault is REVOKED:
                with pytest.raises(SignInRequiredError, match=r"authenticate\(\)"):
                    await asked.get(SCOPES[:1])
                return
            for _ in range(2):  # the second time, MSAL repeats the first
                with pytest.raises(AuthenticationRequiredError):
                    await asked.get(SCOPES[:1])
            emulator.heal()
            clock.ahead += 61
            assert (await asked.get(SCOPES[:1])).claims["name"] == "alice"


@pytest.mark.promise("R18")
async def test_a_chain_of_azure_identity_that_mentions_a_refusal_proves_nothing(tmp_path: Path) -> None:
    """The others of the chain may have failed for what passes: nothing is permanent, nor asks a person."""
    async with authority(401, DENIED, tmp_path) as (_, options):
        chain = azure.identity.ChainedTokenCredential(
            azure.identity.EnvironmentCredential(), azure.identity.ClientSecretCredential(**options)
        )
        with chain, pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            await EntraTokenSource(chain).get(SCOPES[:1])


async def test_an_authority_of_azure_identity_that_is_down(tmp_path: Path) -> None:
    """azure-identity calls it a failed authentication, but it is one that may pass."""
    async with authority(503, {"error": "temporarily_unavailable"}, tmp_path) as (_, options):
        credential = azure.identity.ClientSecretCredential(**options)
        with credential, pytest.raises(ClientAuthenticationError):
            await EntraTokenSource(credential).get(SCOPES)


async def test_an_aio_credential_of_azure_identity(tmp_path: Path, anyio_backend_name: str) -> None:
    """It works on asyncio; on trio it fails at once with what to use instead, inside a chain as well."""
    async with authority(200, GRANTED, tmp_path) as (_, options):
        credential = azure.identity.aio.ClientSecretCredential(**options)
        chain = azure.identity.aio.ChainedTokenCredential(azure.identity.aio.EnvironmentCredential(), credential)
        for each in (credential, chain):
            if anyio_backend_name == "asyncio":
                assert (await EntraTokenSource(each).get(SCOPES[:1])).token == "azures-entra-token"
                continue
            with anyio.fail_after(40), pytest.raises(TokenSourceError, match=r"not azure\.identity\.aio") as caught:
                await EntraTokenSource(each).get(SCOPES[:1])
            assert caught.value.permanent
        if anyio_backend_name == "asyncio":
            await chain.close()
