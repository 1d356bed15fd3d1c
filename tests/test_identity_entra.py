"""The identity client with an Entra token credential in place of the key."""

from __future__ import annotations

import base64
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import httpx  # importing reads files: not first in an event loop, by a client that is made there
import pytest
from azure.core.exceptions import ClientAuthenticationError
from entra_users import skip_pauses
from servers import answer, serve
from test_source import LEFT_BEHIND, ignored

from anyio_acs_credential import (
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    ServiceError,
    SignInRequiredError,
    TokenSourceError,
)
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential
from anyio_acs_credential.identity._authorization import EntraAuthorization
from anyio_acs_credential.testing import virtual_time_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteStream
    from servers import Behaviour, Server

    from anyio_acs_credential.emulator import Emulator

__all__ = ["ignored"]

SCOPE = "https://communication.azure.com//.default"
USER = "8:acs:aaa_bbb"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
CHALLENGE = base64.urlsafe_b64encode(CLAIMS.encode()).rstrip(b"=").decode()
CHALLENGED = answer(401, None, ("WWW-Authenticate", f'Bearer error="insufficient_claims", claims="{CHALLENGE}"'))
CREATED = answer(201, {"identity": {"id": USER}})


class Entra:
    """An async credential: its tokens are numbered and live so long; `give` is awaited first."""

    def __init__(self, lifetime: float = 3600, give: Callable[[], Any] = anyio.lowlevel.checkpoint) -> None:
        self.lifetime = lifetime
        self.give = give
        self.asked: list[str | None] = []

    async def get_token(self, *scopes: str, claims: str | None = None) -> AccessToken:
        assert scopes == (SCOPE,)
        self.asked.append(claims)
        token = AccessToken(f"entra-{len(self.asked)}", time.time() + self.lifetime)
        await self.give()
        return token


def client_of(server: Server, credential: Any, timeout: float = 30) -> CommunicationIdentityClient:
    client = CommunicationIdentityClient(server.url, credential)
    client._limits = Limits(timeout=timeout, backoff=0.01)
    return client


def shown(server: Server) -> list[str]:
    """The tokens that came, by their numbers."""
    return [request.headers["authorization"].removeprefix("Bearer entra-") for request in server.requests]


# Which token is shown


async def test_a_token_is_held_while_it_is_fresh() -> None:
    """It is asked for as the official clients ask, and once."""
    entra = Entra()
    async with serve(answer(204)) as server, client_of(server, entra) as client:
        for _ in range(3):
            await client.revoke_tokens(USER)
    assert shown(server) == ["1", "1", "1"]
    assert entra.asked == [None]


@pytest.mark.promise("R56")
async def test_a_plain_credential_is_called_off_the_event_loop() -> None:
    threads: list[int] = []

    def get_token(*scopes: str) -> Any:
        threads.append(threading.get_ident())
        return SimpleNamespace(token="entra-plain", expires_on=int(time.time()) + 3600)

    credential = SimpleNamespace(get_token=get_token, key="is not looked at")
    async with serve(answer(204)) as server, client_of(server, credential) as client:
        await client.revoke_tokens(USER)
    assert shown(server) == ["plain"]
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_calls_at_the_same_time_ask_once() -> None:
    entra = Entra(give=anyio.wait_all_tasks_blocked)
    async with serve(answer(204)) as server, client_of(server, entra) as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.revoke_tokens, USER)
    assert shown(server) == ["1"] * 20
    assert len(entra.asked) == 1


async def test_a_cancelled_call_leaves_the_asking_to_the_next() -> None:
    """Who waited for the one that was cancelled asks for itself, and nobody hangs."""
    entra = Entra(give=anyio.sleep_forever)
    async with serve(answer(204)) as server, client_of(server, entra) as client, anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(client.revoke_tokens, USER)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(client.revoke_tokens, USER)
                await anyio.wait_all_tasks_blocked()
                entra.give = anyio.lowlevel.checkpoint
                scope.cancel()
    assert shown(server) == ["2"]


async def test_a_token_is_replaced_five_minutes_before_its_end() -> None:
    entra = Entra(lifetime=299)
    async with serve(answer(204)) as server, client_of(server, entra) as client:
        await client.revoke_tokens(USER)
        entra.lifetime = 330
        await client.revoke_tokens(USER)
        await client.revoke_tokens(USER)
    assert shown(server) == ["1", "2", "2"]


# When the credential fails


async def fail() -> None:
    raise ConnectionError("login.microsoftonline.com: eyJhbGciOiJub25lIn0.eyJhIjoxfQ.secret")


@pytest.mark.promise("R59")
async def test_a_credential_that_fails_is_done_without_while_its_token_is_valid() -> None:
    """And it is left alone for half a minute."""
    entra = Entra(lifetime=200)
    async with serve(answer(204)) as server, client_of(server, entra) as client:
        await client.revoke_tokens(USER)
        entra.give = fail
        await client.revoke_tokens(USER)
        await client.revoke_tokens(USER)
    assert shown(server) == ["1", "1", "1"]
    assert len(entra.asked) == 2


VIRTUAL = pytest.mark.parametrize("anyio_backend", virtual_time_backends())


async def authorize(authorization: EntraAuthorization) -> tuple[str, float]:
    """The token of a request that is over in 30 seconds, and after how many it came."""
    began = anyio.current_time()
    request = httpx.Request("POST", "https://contoso.example")
    with anyio.fail_after(30):
        await authorization._authorize(request)
    return request.headers["authorization"], anyio.current_time() - began


@pytest.mark.parametrize("what", LEFT_BEHIND)
@pytest.mark.parametrize("failing", [False, True], ids=["then answers", "then fails"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.usefixtures("ignored")
@VIRTUAL
async def test_what_a_credential_leaves_behind_hurts_nobody(what: str, failing: bool) -> None:
    """The call has its outcome, and the scopes of the task that made it stay as they were."""

    async def leave() -> None:
        await LEFT_BEHIND[what]()
        if failing:
            raise OSError("down")

    authorization = EntraAuthorization(Entra(give=leave))
    for _ in range(2):
        if failing:
            with pytest.raises(TokenSourceError, match=r"try again later \(OSError: down\)"):
                await authorize(authorization)
        else:
            assert (await authorize(authorization))[0] == "Bearer entra-1"
        await anyio.sleep(10)  # past the deadlines that were left behind
    with anyio.move_on_after(1) as scope:
        await anyio.sleep(2)
    assert scope.cancelled_caught


@pytest.mark.usefixtures("ignored")
@VIRTUAL
async def test_a_cancellation_of_the_credentials_own_is_its_failure() -> None:
    """As of a scope that it has left open, cancelled."""

    async def leave() -> None:
        await LEFT_BEHIND["a cancelled scope"]()
        await anyio.sleep(1)

    authorization = EntraAuthorization(Entra(give=leave))
    with pytest.raises(TokenSourceError, match=r"try again later \(Cancelled"):
        await authorize(authorization)


@VIRTUAL
async def test_a_call_that_is_cancelled_ends_the_credentials() -> None:
    """It waits for what the credential has to tidy up."""
    tidied = 0

    async def tidy_up() -> None:
        nonlocal tidied
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            tidied += 1

    with anyio.move_on_after(5) as scope:
        await authorize(EntraAuthorization(Entra(give=tidy_up)))
    assert scope.cancelled_caught
    assert tidied == 1


@VIRTUAL
@pytest.mark.promise("R59")
async def test_a_credential_that_hangs_is_done_without_while_its_token_is_valid() -> None:
    """Half of the time of the call is left for the request; the next call does not wait for it."""
    entra = Entra(lifetime=200)
    authorization = EntraAuthorization(entra)
    assert (await authorize(authorization))[0] == "Bearer entra-1"
    entra.give = anyio.sleep_forever
    token, waited = await authorize(authorization)
    assert (token, round(waited, 3)) == ("Bearer entra-1", 15)
    token, waited = await authorize(authorization)
    assert (token, round(waited, 3)) == ("Bearer entra-1", 0)


@VIRTUAL
@pytest.mark.promise("R28")
async def test_a_credential_that_hangs_is_told_from_a_service_that_does() -> None:
    """It is given up before the request is."""
    with pytest.raises(TokenSourceError, match="token credential took too long") as caught:
        await authorize(EntraAuthorization(Entra(give=anyio.sleep_forever)))
    assert not caught.value.permanent


@pytest.mark.promise("R59")
async def test_an_expired_token_is_not_shown() -> None:
    entra = Entra(lifetime=-1)
    async with serve(answer(204)) as server, client_of(server, entra) as client:
        await client.revoke_tokens(USER)
        entra.give = fail
        with pytest.raises(TokenSourceError):
            await client.revoke_tokens(USER)
    assert len(server.requests) == 1


@pytest.mark.promise("R52")
async def test_what_a_credential_raises_is_a_typed_error() -> None:
    """It is the cause, nothing is sent, and its text is free of tokens."""
    async with serve(answer(204)) as server, client_of(server, Entra(give=fail)) as client:
        with pytest.raises(TokenSourceError, match=r"ConnectionError: login.microsoftonline.com") as caught:
            await client.create_user()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert not caught.value.permanent
    assert "eyJ" not in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (SignInRequiredError("sign in"), SignInRequiredError),
        (ClientAuthenticationError("AADSTS7000215: wrong secret"), TokenSourceError),
    ],
)
async def test_a_refusal_by_entra_is_permanent(raised: Exception, kind: type[TokenSourceError]) -> None:
    async def refuse() -> None:
        raise raised

    async with serve(answer(204)) as server, client_of(server, Entra(give=refuse)) as client:
        with pytest.raises(kind) as caught:
            await client.revoke_tokens(USER)
    assert caught.value.permanent


@pytest.mark.promise("R28")
async def test_a_credential_that_hangs_costs_the_deadline() -> None:
    async with serve(answer(204)) as server, client_of(server, Entra(give=anyio.sleep_forever), 0.2) as client:
        with anyio.fail_after(10), pytest.raises(TokenSourceError):
            await client.revoke_tokens(USER)
    assert server.connections == 0


async def test_the_failure_of_one_asking_is_that_of_all_who_waited() -> None:
    """A dead credential is not asked once a call."""
    caught: list[TokenSourceError] = []

    async def fail_later() -> None:
        await anyio.wait_all_tasks_blocked()
        raise OSError("down")

    async def call() -> None:
        with pytest.raises(TokenSourceError) as raised:
            await client.revoke_tokens(USER)
        caught.append(raised.value)

    entra = Entra(give=fail_later)
    async with serve(answer(204)) as server, client_of(server, entra) as client, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(call)
    assert len(entra.asked) == 1
    assert len({id(error) for error in caught}) == 5
    assert len({id(error.__cause__) for error in caught}) == 1


# When the service refuses the token


@pytest.mark.promise("R31")
async def test_a_claims_challenge_is_met_once() -> None:
    """What may make a user is sent again too, since a 401 makes nothing; the new token is held like any other."""
    entra = Entra()
    async with serve(CHALLENGED, CREATED) as server, client_of(server, entra) as client:
        assert (await client.create_user()).raw_id == USER
        await client.create_user()
    assert shown(server) == ["1", "2", "2"]
    assert entra.asked == [None, CLAIMS]


@pytest.mark.promise("R31")
async def test_a_second_challenge_is_an_error() -> None:
    entra = Entra()
    async with serve(CHALLENGED) as server, client_of(server, entra) as client:
        with pytest.raises(ServiceError, match="401"):
            await client.revoke_tokens(USER)
    assert shown(server) == ["1", "2"]


async def test_calls_that_are_challenged_at_the_same_time_ask_once() -> None:
    """The token that one of them brought is what the others show; one without the claims is not."""
    arrived = anyio.Event()

    async def challenge_together(server: Server, stream: ByteStream) -> None:
        if len(server.requests) == 5:
            arrived.set()
        await arrived.wait()
        await CHALLENGED(server, stream)

    entra = Entra(give=anyio.wait_all_tasks_blocked)
    script: list[Behaviour] = [challenge_together] * 5 + [answer(204)]
    async with serve(*script) as server, client_of(server, entra) as client, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(client.revoke_tokens, USER)
    assert shown(server) == ["1"] * 5 + ["2"] * 5
    assert entra.asked == [None, CLAIMS]


async def test_a_token_that_meets_a_challenge_is_waited_for_by_all() -> None:
    """A call that comes while it is asked for shows it too, rather than to ask for one without the claims."""
    asking, go_on = anyio.Event(), anyio.Event()

    async def wait() -> None:
        asking.set()
        await go_on.wait()

    async def challenge(server: Server, stream: ByteStream) -> None:
        entra.give = wait
        await CHALLENGED(server, stream)

    entra = Entra()
    script = challenge, answer(204)
    async with serve(*script) as server, client_of(server, entra) as client, anyio.create_task_group() as group:
        group.start_soon(client.revoke_tokens, USER)
        await asking.wait()
        group.start_soon(client.revoke_tokens, USER)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert shown(server) == ["1", "2", "2"]
    assert entra.asked == [None, CLAIMS]


async def test_a_token_without_the_claims_does_not_answer_a_challenge() -> None:
    """Nor is a held one done with when the credential fails to meet the challenge."""
    entra = Entra()

    async def challenge(server: Server, stream: ByteStream) -> None:
        entra.give = fail
        await CHALLENGED(server, stream)

    async with serve(challenge, answer(204)) as server, client_of(server, entra) as client:
        with pytest.raises(TokenSourceError):
            await client.revoke_tokens(USER)
    assert len(server.requests) == 1


async def test_a_refused_token_is_not_shown_again() -> None:
    """The call fails, for a refusal without a challenge is no reason to try again; the next one has a new token."""
    entra = Entra()
    async with serve(answer(401), answer(204)) as server, client_of(server, entra) as client:
        with pytest.raises(ServiceError, match="sign in to Entra again"):
            await client.revoke_tokens(USER)
        await client.revoke_tokens(USER)
    assert shown(server) == ["1", "2"]


async def test_a_late_refusal_of_an_old_token_leaves_the_new_one_alone() -> None:
    late, seen = anyio.Event(), anyio.Event()

    async def refuse_late(server: Server, stream: ByteStream) -> None:
        seen.set()
        await late.wait()
        await answer(401)(server, stream)

    async def call() -> None:
        with pytest.raises(ServiceError):
            await client.revoke_tokens(USER)

    async with serve(refuse_late, answer(401), answer(204)) as server, client_of(server, Entra()) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await seen.wait()
            await call()
            await client.revoke_tokens(USER)
            late.set()
        await client.revoke_tokens(USER)
    assert shown(server) == ["1", "1", "2", "2"]


# Against the emulator


def trusting(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)


async def test_a_service_principal_manages_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-identity's plain credential, on both event loops, through a claims challenge."""
    identity = pytest.importorskip("azure.identity")
    async with open_emulator() as emulator:
        trusting(emulator, monkeypatch)
        with identity.ClientSecretCredential(
            emulator.tenant_id,
            emulator.client_id,
            emulator.client_secret,
            authority=emulator.endpoint,
            disable_instance_discovery=True,
            connection_verify=emulator.ca_file,
            use_env_settings=False,
        ) as principal:
            async with CommunicationIdentityClient(emulator.endpoint, principal) as client:
                user, token = await client.create_user_and_token(["chat"])
                assert token.claims["skypeid"] == user.raw_id.removeprefix("8:")
                emulator.require_claims(emulator.client_id, CLAIMS)
                await client.get_token(user, ["voip"])
                await client.revoke_tokens(user)
                await client.delete_user(user)
                with pytest.raises(ServiceError, match="IdentityNotFound"):
                    await client.delete_user(user)
    asked = [record for record in emulator.requests if record.path.endswith("/token")]
    assert [record.status for record in asked] == [200, 200]


async def test_a_teams_user_is_renewed_by_a_client_that_a_person_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person manages the resource; the same or another one is the Teams user. Both sign in with MSAL."""
    skip_pauses(monkeypatch)
    scopes = [f"https://auth.msft.communication.azure.com/Teams.{name}" for name in ("ManageCalls", "ManageChats")]
    async with open_emulator() as emulator:
        trusting(emulator, monkeypatch)
        person = DeviceCodeCredential(
            emulator.client_id,
            authority=emulator.authority,
            verify=emulator.ssl_context,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, "ada"),
        )
        await person.sign_in(SCOPE)
        ada = emulator.add_user("ada")
        async with CommunicationIdentityClient(emulator.endpoint, person) as client:
            ask = partial(person.get_token, *scopes)
            fetch = partial(client.get_token_for_teams_user, ask, emulator.client_id, ada)
            async with CommunicationTokenCredential(token_refresher=fetch) as credential:
                token = await credential.get_token()
                assert credential.raw_id == f"8:orgid:{ada}"
                assert token.claims["acsScope"] == "chat,voip"
                assert (await credential.refresh()) != token
