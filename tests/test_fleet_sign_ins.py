"""People who sign in once for all processes: shared_token_cache, with real MSAL and the emulator's Entra."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import msal
import pytest
from entra_users import (
    CLAIMS,
    SCOPE,
    Clock,
    approving,
    bring,
    code_for,
    signing_in_at,
    skip_pauses,
    token_requests,
)
from redis_server import redis_server

from anyio_acs_credential import CommunicationTokenCredential, SignInRequiredError, TokenSourceError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import (
    AuthorizationCodeCredential,
    DeviceCodeCredential,
    InteractiveBrowserCredential,
    MsalCredential,
    OnBehalfOfCredential,
)
from anyio_acs_credential.fleet import (
    MemoryTokenStore,
    RedisTokenStore,
    TokenStore,
    new_encryption_key,
    shared_token_cache,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio_acs_credential.emulator import Emulator

LIFE = 3700.0  # seconds after which an Entra token of the emulator's has ended


class Counting(MemoryTokenStore):
    """A store that counts what it is asked."""

    asked = 0

    async def take(self, name: str, seconds: float) -> Any:
        self.asked += 1
        return await super().take(name, seconds)

    async def put(self, name: str, fence: int, value: bytes, seconds: float) -> bool:
        self.asked += 1
        return await super().put(name, fence, value, seconds)


@asynccontextmanager
async def tenant(store: TokenStore | None = None) -> AsyncGenerator[tuple[Emulator, Any]]:
    """A tenant whose refresh tokens are good for one use, and a store."""
    async with open_emulator() as emulator, store or Counting() as entered:
        emulator.single_use_refresh_tokens = True
        yield emulator, entered


def process(emulator: Emulator, store: TokenStore, user: str = "alice") -> DeviceCodeCredential:
    """The credential of another process, or of the same one after a restart: nothing but the store is shared."""
    cache = shared_token_cache(store, key="alice")
    return DeviceCodeCredential(
        emulator.client_id, prompt_callback=approving(emulator, user), token_cache=cache, **signing_in_at(emulator)
    )


async def name_of(credential: Any) -> Any:
    return (await credential.get_token(SCOPE)).claims["name"]


@pytest.mark.promise("R78")
class TestSignedInOnceSignedInEverywhere:
    async def test_on_the_others_and_after_a_restart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            with pytest.raises(SignInRequiredError):
                await process(emulator, store).get_token(SCOPE)
            first = process(emulator, store)
            await first.sign_in(SCOPE)
            requests = token_requests(emulator)
            second = process(emulator, store)
            assert await name_of(second) == "alice"
            assert token_requests(emulator) == requests, "the access token is shared as well"
            for _ in range(3):
                clock.ahead += LIFE
                requests = token_requests(emulator)
                for each in (process(emulator, store), first, second):
                    assert await name_of(each) == "alice"
                assert token_requests(emulator) == requests + 1

    async def test_in_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of it can be read there."""
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        keys = [new_encryption_key()]
        with redis_server() as server:
            async with (
                tenant(RedisTokenStore(server.url, encryption_keys=keys)) as (emulator, store),
                RedisTokenStore(server.url, encryption_keys=keys) as elsewhere,
            ):
                await process(emulator, store).sign_in(SCOPE)
                second = process(emulator, elsewhere)
                assert await name_of(second) == "alice"
                clock.ahead += LIFE
                assert await name_of(second) == "alice"
                assert await name_of(process(emulator, store)) == "alice"
                async with store._own.client() as client:
                    dumped = b"".join([await client.dump(key) for key in await client.keys("*")])
                assert b"alice" not in dumped
                assert b"RefreshToken" not in dumped

    async def test_who_signs_in_again_is_signed_in_everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            first, second = process(emulator, store), process(emulator, store)
            await first.sign_in(SCOPE)
            assert await name_of(second) == "alice"
            emulator.revoke_refresh_tokens("alice")
            clock.ahead += LIFE
            for each in (first, second):
                with pytest.raises(SignInRequiredError):
                    await each.get_token(SCOPE)
            await second.sign_in(SCOPE)
            assert await name_of(first) == "alice"

    async def test_through_an_application_of_the_users_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which sends its requests itself."""
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            await process(emulator, store).sign_in(SCOPE)

            def make() -> Any:
                return msal.PublicClientApplication(
                    emulator.client_id,
                    oidc_authority=emulator.authority,
                    verify=emulator.ca_file,
                    timeout=50,
                    token_cache=shared_token_cache(store, key="alice"),
                )

            for _ in range(2):
                assert await name_of(MsalCredential(make)) == "alice"
                clock.ahead += LIFE
            assert await name_of(process(emulator, store)) == "alice"

    async def test_as_the_source_of_access_tokens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        skip_pauses(monkeypatch)
        async with tenant() as (emulator, store):
            await process(emulator, store).sign_in(SCOPE)
            monkeypatch.setenv("SSL_CERT_FILE", emulator.ca_file)
            async with CommunicationTokenCredential(
                resource_endpoint=emulator.endpoint, token_credential=process(emulator, store)
            ) as credential:
                assert (await credential.get_token()).claims


@pytest.mark.promise("R78")
class TestEachWayToSignIn:
    """What it brings is in the store."""

    async def test_a_browser(self) -> None:
        async with tenant() as (emulator, store), anyio.create_task_group() as group:
            shown: list[str] = []

            async def sign_in() -> None:
                while not shown:  # noqa: ASYNC110 - it is called in a thread
                    await anyio.sleep(0.01)
                await bring(shown[0], code_for(emulator, shown[0], "alice"))

            group.start_soon(sign_in)
            cache = shared_token_cache(store, key="alice")
            await InteractiveBrowserCredential(
                emulator.client_id, open_browser=shown.append, token_cache=cache, **signing_in_at(emulator)
            ).sign_in(SCOPE)
            assert await name_of(process(emulator, store)) == "alice"

    async def test_on_behalf_of_somebody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            assertion = emulator.issue_entra_token(f"api://{emulator.client_id}/access_as_user", user="alice")

            def credential() -> OnBehalfOfCredential:
                return OnBehalfOfCredential(
                    emulator.client_id,
                    user_assertion=assertion,
                    client_secret=emulator.client_secret,
                    token_cache=shared_token_cache(store, key="alice"),
                    **signing_in_at(emulator),
                )

            first, second = credential(), credential()
            assert await name_of(first) == "alice"
            assert await name_of(process(emulator, store)) == "alice"
            for each in (first, second):
                assert await name_of(each) == "alice"
            requests = token_requests(emulator)
            clock.ahead += LIFE
            for each in (first, second):
                assert await name_of(each) == "alice"
            assert token_requests(emulator) == requests + 1, "the second one finds the first one's"

    async def test_a_code(self) -> None:
        async with tenant() as (emulator, store):
            redirect_uri = "http://localhost:8000/signed-in"
            grant = emulator._entra.grant("alice", f"{SCOPE} offline_access openid profile", {}, None)
            credential = AuthorizationCodeCredential(
                emulator.client_id,
                authorization_code=emulator._entra.codes.issue(grant, redirect_uri, None),
                redirect_uri=redirect_uri,
                token_cache=shared_token_cache(store, key="alice"),
                **signing_in_at(emulator),
            )
            assert await name_of(credential) == "alice"
            assert await name_of(process(emulator, store)) == "alice"


@pytest.mark.promise("R79")
class TestAtOnce:
    async def test_one_of_many_spends_the_refresh_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The others find what it got, and no sign-in is lost."""
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            first = process(emulator, store)
            await first.sign_in(SCOPE)
            processes = [first, *(process(emulator, store) for _ in range(3))]
            for _ in range(3):
                clock.ahead += LIFE
                requests = token_requests(emulator)
                assert await of_all(processes) == ["alice"] * 4
                assert token_requests(emulator) == requests + 1

    async def test_challenges_are_met_one_after_the_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each is asked for with the refresh token that the one before has brought."""
        skip_pauses(monkeypatch)
        async with tenant() as (emulator, store):
            first, second = process(emulator, store), process(emulator, store)
            await first.sign_in(SCOPE)
            assert await name_of(second) == "alice"
            async with anyio.create_task_group() as group:
                for each in (first, second):
                    group.start_soon(partial(each.get_token, SCOPE, claims=CLAIMS))
            assert await of_all([process(emulator, store), first, second]) == ["alice"] * 3

    async def test_two_credentials_with_one_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another thing than two processes: they never wait for a poll."""
        skip_pauses(monkeypatch)
        clock = Clock(monkeypatch)
        async with tenant() as (emulator, store):
            cache = shared_token_cache(store, key="alice")
            options = {"token_cache": cache, **signing_in_at(emulator)}
            prompt = approving(emulator, "alice")
            both = [DeviceCodeCredential(emulator.client_id, prompt_callback=prompt, **options) for _ in range(2)]
            await both[0].sign_in(SCOPE)
            clock.ahead += LIFE
            requests = token_requests(emulator)
            assert await of_all(both) == ["alice"] * 2
            assert token_requests(emulator) == requests + 1

    async def test_what_is_in_memory_needs_no_lease(self, monkeypatch: pytest.MonkeyPatch) -> None:
        skip_pauses(monkeypatch)
        async with tenant() as (emulator, store):
            cache = shared_token_cache(store, key="alice")
            options = {"token_cache": cache, **signing_in_at(emulator)}
            await DeviceCodeCredential(
                emulator.client_id, prompt_callback=approving(emulator, "alice"), **options
            ).sign_in(SCOPE)
            asked = store.asked
            assert await name_of(DeviceCodeCredential(emulator.client_id, **options)) == "alice"
            assert store.asked == asked


async def of_all(credentials: list[Any]) -> list[str]:
    """Whose tokens they give, asked at once."""
    names: list[str] = []

    async def ask(credential: Any) -> None:
        names.append(await name_of(credential))

    async with anyio.create_task_group() as group:
        for credential in credentials:
            group.start_soon(ask, credential)
    return names


@pytest.mark.promise("R80")
async def test_without_a_store_it_works_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that was never entered is one that fails; what was got meanwhile is put when it works."""
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    store = MemoryTokenStore()
    async with open_emulator() as emulator:
        emulator.single_use_refresh_tokens = True
        credential = process(emulator, store)
        await credential.sign_in(SCOPE)
        clock.ahead += LIFE
        assert await name_of(credential) == "alice"
        assert [record.levelname for record in caplog.records if "token store" in record.message] == ["WARNING"]
        async with store:
            clock.ahead += LIFE
            credential._msal._token_cache._guard._retry_at = 0.0  # the back-off is over
            assert await name_of(credential) == "alice"
            assert await name_of(process(emulator, store)) == "alice"


@pytest.mark.promise("R79")
async def test_a_failed_renewal_ends_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    async with tenant() as (emulator, store):
        credential = process(emulator, store)
        await credential.sign_in(SCOPE)
        clock.ahead += LIFE
        emulator.fail("/token$", status=503, times=1)
        with pytest.raises(TokenSourceError):
            await credential.get_token(SCOPE)
        assert (await store.take("cache:alice", 1)).fence is not None
