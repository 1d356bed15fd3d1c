"""Whose tokens a credential holds, when it fetches the next, and what callers at the same time get."""

from __future__ import annotations

import random
import threading
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import msal
import pytest
from entra_users import (
    CLAIMS,
    SCOPE,
    TEAMS,
    Clock,
    approving,
    device_code,
    discovery,
    server_context,
    signing_in_at,
    skip_pauses,
    threads_in_msal,
    token_requests,
    tokens,
    trusting,
)
from servers import announcing, answer, reset, send_bytes, serve, silence

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    ServiceError,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential._loops.shared_answers import SharedAnswers
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from servers import Behaviour, Server

    from anyio_acs_credential.emulator import Emulator


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return skip_pauses(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def credential_of(emulator: Emulator, user: str = "alice", **options: Any) -> DeviceCodeCredential:
    prompt = approving(emulator, user)
    return DeviceCodeCredential(emulator.client_id, prompt_callback=prompt, **signing_in_at(emulator), **options)


async def signed_in(emulator: Emulator, user: str = "alice", **options: Any) -> DeviceCodeCredential:
    credential = credential_of(emulator, user, **options)
    await credential.sign_in(SCOPE)
    return credential


async def signed_in_at(server: Server) -> DeviceCodeCredential:
    """Somebody signed in at a server whose script begins with discovery and a device code."""
    credential = DeviceCodeCredential(
        "app", authority=f"{server.url}/tenant", verify=trusting(), prompt_callback=lambda *_: None
    )
    await credential.sign_in(SCOPE)
    return credential


async def gather(count: int, ask: Any) -> list[Any]:
    """What so many callers at once get: tokens or errors."""
    found: list[Any] = []

    async def call() -> None:
        try:
            found.append(await ask())
        except TokenSourceError as error:
            found.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(call)
    return found


async def test_before_anybody_signs_in_only_a_sign_in_helps() -> None:
    """Nothing is asked for, and no thread is needed to say so."""
    async with open_emulator() as emulator:
        credential = credential_of(emulator)
        with pytest.raises(SignInRequiredError, match=r"nobody has signed in yet: call sign_in\(\)") as raised:
            await credential.get_token(SCOPE)
        assert raised.value.permanent
        assert emulator.requests == ()


async def test_a_token_with_life_left_is_served_without_a_request(clock: Clock) -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        first = await credential.get_token(SCOPE)
        clock.ahead += 3290
        assert await credential.get_token(SCOPE, tenant_id=emulator.tenant_id, enable_cae=True) is first
        assert token_requests(emulator) == 1


async def test_a_token_that_is_about_to_end_is_renewed(clock: Clock) -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        first = await credential.get_token(SCOPE)
        clock.ahead += 3310
        second = await credential.get_token(SCOPE)
        assert second.expires_on > first.expires_on
        assert token_requests(emulator) == 2


@pytest.mark.promise("R4")
async def test_a_short_life_is_lived_to_its_half(clock: Clock) -> None:
    """MSAL would fetch a token that lives less than five minutes anew for each caller."""
    async with open_emulator(entra_token_lifetime=60) as emulator:
        credential = await signed_in(emulator)
        for _ in range(50):
            await credential.get_token(SCOPE)
        assert token_requests(emulator) == 1
        clock.ahead += 31
        await credential.get_token(SCOPE)
        assert token_requests(emulator) == 2


async def test_a_time_to_renew_is_heeded(clock: Clock) -> None:
    """Tokens that live for a day come with one (`refresh_in`)."""
    async with open_emulator(entra_token_lifetime=86400, entra_refresh_in=40000) as emulator:
        credential = await signed_in(emulator)
        clock.ahead += 39000
        await credential.get_token(SCOPE)
        assert token_requests(emulator) == 1
        clock.ahead += 2000
        await credential.get_token(SCOPE)
        assert token_requests(emulator) == 2


async def test_each_set_of_scopes_has_its_token() -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        found = [await credential.get_token(scope) for scope in (SCOPE, TEAMS, SCOPE, TEAMS)]
        assert found[0] is found[2]
        assert found[1] is found[3]
        assert found[0].claims["aud"] != found[1].claims["aud"]
        assert token_requests(emulator) == 2


async def test_a_token_that_says_it_ends_earlier_is_renewed_then(clock: Clock) -> None:
    """MSAL goes by the answer's `expires_in`, and would repeat it."""
    jwts = [make_jwt(expires_in=400, n=n) for n in range(3)]
    script = [discovery(), device_code(), *(tokens(access_token=jwt) for jwt in jwts)]
    async with serve(*script, answer(503), tls=server_context()) as server:
        credential = await signed_in_at(server)
        assert (await credential.get_token(SCOPE)).token == jwts[0]
        clock.ahead += 250
        assert (await credential.get_token(SCOPE)).token == jwts[1]
        clock.ahead += 300
        with pytest.raises(TokenSourceError, match="no token that is good now"):
            await credential.get_token(SCOPE)


@pytest.mark.promise("R59")
async def test_what_a_forced_renewal_fails_with_does_not_matter_while_the_token_lasts(clock: Clock) -> None:
    jwt = make_jwt(expires_in=400)
    async with serve(discovery(), device_code(), tokens(access_token=jwt), answer(503), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 250
        assert (await credential.get_token(SCOPE)).token == jwt
        assert len(server.requests) == 4


@pytest.mark.promise("R59")
@pytest.mark.parametrize(
    "fault",
    [
        answer(500),
        answer(429, None, ("Retry-After", "3600")),
        answer(200, b"<html>"),
        answer(200, []),
        answer(200, {"access_token": 5, "expires_in": 3600}),
        answer(200, {"access_token": "x", "expires_in": "soon"}),
        answer(200, {"access_token": "x", "id_token": "garbage"}),
        answer(400, {"error": "invalid_grant", "error_description": "revoked"}),
        reset(),
        send_bytes(b"HTTP/1.1 200"),
    ],
)
async def test_while_renewing_fails_the_token_is_used_to_its_end(fault: Behaviour, clock: Clock) -> None:
    """And Entra is left in peace for half a minute after each attempt."""
    async with serve(discovery(), device_code(), tokens(), fault, tls=server_context()) as server:
        credential = await signed_in_at(server)
        first = await credential.get_token(SCOPE)
        for requests, ahead in [(4, 3400), (4, 3420), (5, 3440), (6, 3590)]:
            clock.ahead = ahead
            assert await credential.get_token(SCOPE) is first
            assert len(server.requests) == requests
        clock.ahead = 3605
        with pytest.raises(TokenSourceError):
            await credential.get_token(SCOPE)


@pytest.mark.parametrize("error", ["invalid_grant", "interaction_required", "consent_required"])
async def test_a_refusal_that_needs_a_person_says_so(error: str, clock: Clock) -> None:
    refusal = answer(400, {"error": error, "error_description": "AADSTS50076: more is wanted", "correlation_id": "c1"})
    async with serve(discovery(), device_code(), tokens(), refusal, tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(SignInRequiredError, match=rf"\({error}\): call sign_in\(\).*AADSTS50076") as raised:
            await credential.get_token(SCOPE)
        assert raised.value.permanent


@pytest.mark.parametrize(("error", "permanent"), [("temporarily_unavailable", False), ("invalid_request", True)])
async def test_another_refusal_says_whether_it_will_pass(error: str, permanent: bool, clock: Clock) -> None:
    refusal = answer(400, {"error": error, "correlation_id": "c1"})
    async with serve(discovery(), device_code(), tokens(), refusal, tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(ServiceError, match=error) as raised:
            await credential.get_token(SCOPE)
        assert (raised.value.permanent, raised.value.code, raised.value.request_id) == (permanent, error, "c1")


THROTTLED: list[dict[str, Any]] = [
    {"error": "invalid_grant", "error_codes": [50196], "error_description": "AADSTS50196: a loop was detected."},
    {"error": "invalid_grant", "error_codes": [90033], "error_description": "AADSTS90033: A transient error."},
    {"error": "interaction_required", "error_codes": [90055], "error_description": "AADSTS90055: too many requests."},
    {"error": "invalid_grant", "error_codes": [11111], "error_description": "AADSTS11111: no page knows it."},
]


@pytest.mark.promise("R18")
@pytest.mark.parametrize("body", THROTTLED, ids=lambda body: str(body["error_codes"][0]))
async def test_throttling_that_is_called_a_bad_grant_asks_no_person(body: dict[str, Any], clock: Clock) -> None:
    """It passes: the next request is made without a sign-in, and answered."""
    script = [discovery(), device_code(), tokens(), answer(400, body), tokens()]
    async with serve(*script, tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(ServiceError, match="try again later") as raised:
            await credential.get_token(SCOPE)
        assert not raised.value.permanent
        assert (await credential.get_token(SCOPE)).token == "opaque-access-token"


async def test_after_a_revocation_signing_in_again_is_enough(clock: Clock) -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        emulator.revoke_refresh_tokens("alice")
        clock.ahead += 3700
        for _ in range(2):
            with pytest.raises(SignInRequiredError):
                await credential.get_token(SCOPE)
        await credential.sign_in(SCOPE)
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"


@pytest.mark.promise("R60")
async def test_a_refusal_is_not_repeated_after_its_cause_is_gone(clock: Clock) -> None:
    """MSAL would answer from memory for a minute."""
    refusal = answer(400, {"error": "invalid_grant"})
    async with serve(discovery(), device_code(), tokens(), refusal, tokens(), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(SignInRequiredError):
            await credential.get_token(SCOPE)
        assert (await credential.get_token(SCOPE)).token == "opaque-access-token"


ODD_TOKENS: list[Any] = [5, None, [], "\ud800", "\u00e9"]


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    ("odd", "name"),
    [
        *((answer(400, {"error": error}), "error") for error in (["x"], None, "\u00e9", "two\nlines")),
        *((tokens(refresh_token=token), "refresh_token") for token in ODD_TOKENS),
        (tokens(client_info={}), "client_info"),
    ],
)
async def test_a_malformed_answer_is_a_failed_round_and_nothing_else(odd: Behaviour, name: str, clock: Clock) -> None:
    """MSAL would keep what is in it, and fail with it at each request that comes after."""
    async with serve(discovery(), device_code(), tokens(), odd, tokens(), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(ServiceError, match=f"malformed: its {name} is not text") as raised:
            await credential.get_token(SCOPE)
        assert not raised.value.permanent
        assert (await credential.get_token(SCOPE)).token == "opaque-access-token"


async def test_a_throttled_service_says_for_how_long(clock: Clock) -> None:
    throttled = answer(429, None, ("Retry-After", "17"))
    async with serve(discovery(), device_code(), tokens(), throttled, tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        with pytest.raises(ServiceError) as raised:
            await credential.get_token(SCOPE)
        assert (raised.value.status_code, raised.value.retry_after, raised.value.permanent) == (429, 17, False)


async def test_claims_are_asked_for_anew() -> None:
    """The token that meets them is the one held from then on."""
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        first = await credential.get_token(SCOPE)
        second = await credential.get_token(SCOPE, claims=CLAIMS)
        assert second != first
        assert second.claims["asked"]["access_token"]["nbf"] == {"essential": True}
        assert second.claims["asked"]["access_token"]["xms_cc"] == {"values": ["CP1"]}
        assert await credential.get_token(SCOPE) is second


async def test_claims_that_cannot_be_met_are_an_error_also_while_the_token_lasts() -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        emulator.revoke_refresh_tokens("alice")
        with pytest.raises(SignInRequiredError):
            await credential.get_token(SCOPE, claims=CLAIMS)
        with pytest.raises(TypeError, match="claims are the text of a JSON object, not dict"):
            await credential.get_token(SCOPE, claims={})  # type: ignore[arg-type]


@pytest.mark.promise("R8")
@pytest.mark.parametrize("claims", [None, CLAIMS])
async def test_callers_at_once_make_one_request(claims: str | None, clock: Clock) -> None:
    async with open_emulator(entra_token_lifetime=200) as emulator:
        credential = await signed_in(emulator)
        clock.ahead += 300
        found = await gather(50, lambda: credential.get_token(SCOPE, claims=claims))
        assert len({token.token for token in found}) == 1
        assert token_requests(emulator) == 2


async def test_callers_with_two_questions_at_once_make_two_requests() -> None:
    """However their questions alternate."""
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        before = token_requests(emulator)
        async with anyio.create_task_group() as group:
            for number in range(20):
                claims = CLAIMS.replace("true", ("true", "false")[number % 2])
                group.start_soon(partial(credential.get_token, SCOPE, claims=claims))
        assert token_requests(emulator) == before + 2


async def test_callers_at_once_share_a_failure(clock: Clock) -> None:
    """Each gets an exception of its own."""
    async with serve(discovery(), device_code(), tokens(), answer(503), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        found = await gather(50, lambda: credential.get_token(SCOPE))
        assert {str(error) for error in found} == {"the service answered 503 Service Unavailable: try again later"}
        assert len({id(error) for error in found}) == 50
        assert {error.status_code for error in found} == {503}
        assert len(server.requests) == 4


async def test_a_cancelled_caller_hurts_nobody_else(clock: Clock) -> None:
    """Its request ends with it, and the next caller makes its own."""
    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    async with serve(discovery(), device_code(), tokens(), hang, tokens(), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        scope = anyio.CancelScope()

        async def first() -> None:
            with scope:
                await credential.get_token(SCOPE)

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await waiting.wait()
            group.start_soon(gather, 10, lambda: credential.get_token(SCOPE))
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
        assert scope.cancelled_caught
        assert len(server.requests) == 5


async def test_a_question_is_not_answered_with_anothers_answer() -> None:
    """Not even where both were asked while the same flight was under way."""
    flights = SharedAnswers[str]()
    gate = anyio.Event()
    found: dict[str, str] = {}

    async def ask(name: str) -> None:
        async def fly() -> str:
            await gate.wait()
            return name

        found[name] = await flights.ask(name, fly)

    async with anyio.create_task_group() as group:
        for name in "abca":
            group.start_soon(ask, name)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert found == {"a": "a", "b": "b", "c": "c"}


async def test_who_waited_in_vain_looks_again_at_what_is_held(clock: Clock) -> None:
    """Between two flights for other questions, the own one may have been answered."""
    async with open_emulator(entra_token_lifetime=200) as emulator:
        credential = await signed_in(emulator)
        clock.ahead += 300
        async with anyio.create_task_group() as group:
            for scope in (SCOPE, TEAMS, SCOPE):
                group.start_soon(credential.get_token, scope)
        assert token_requests(emulator) == 3


async def test_a_token_that_was_fetched_for_the_previous_person_is_not_kept(clock: Clock) -> None:
    """A renewal that ends after another person's sign-in answers its caller, and nobody else."""
    waiting, gate = anyio.Event(), anyio.Event()

    async with open_emulator() as emulator:
        people = ["bob", "alice"]
        credential = DeviceCodeCredential(
            emulator.client_id,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, people.pop()),
            **signing_in_at(emulator),
        )
        await credential.sign_in(SCOPE)
        clock.ahead += 3700
        acquire = credential._acquire

        async def slow(*arguments: Any) -> Any:
            grant = await acquire(*arguments)
            waiting.set()
            await gate.wait()
            return grant

        credential._acquire = slow  # type: ignore[method-assign,assignment]
        found: list[AccessToken] = []

        async def renew() -> None:
            found.append(await credential.get_token(SCOPE))

        async with anyio.create_task_group() as group:
            group.start_soon(renew)
            await waiting.wait()
            await credential.sign_in(SCOPE)
            gate.set()
        assert found[0].claims["name"] == "alice"
        assert (await credential.get_token(SCOPE)).claims["name"] == "bob"


@pytest.mark.promise("R60")
async def test_the_previous_persons_token_is_not_exchanged_for_the_next_one() -> None:
    """Not even while Entra fails, and the token would be valid."""
    async with open_emulator() as emulator, trusting_client(emulator) as client:
        people = ["bob", "alice"]
        entra = DeviceCodeCredential(
            emulator.client_id,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, people.pop()),
            **signing_in_at(emulator),
        )
        await entra.sign_in(SCOPE)
        async with CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=entra, http_client=client, proactive_refresh=False
        ) as credential:
            alices = await credential.get_token()
            emulator.fail("/token$", status=503)
            assert await credential.refresh() != alices, "her own is still hers"
            emulator.heal()
            await entra.sign_in(TEAMS)
            emulator.fail("/token$", status=503)
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
            emulator.heal()
            await credential.refresh()
            assert credential.raw_id != alices.claims["skypeid"]


@pytest.mark.parametrize("claims", ["", "{", "[]", "eyJhIjoxfQ", "[" * 100_000])
async def test_claims_that_are_none_are_refused_before_a_request(claims: str) -> None:
    async with open_emulator() as emulator:
        credential = await signed_in(emulator)
        with pytest.raises(ValueError, match="JSON object"):
            await credential.get_token(SCOPE, claims=claims)


async def test_somebody_in_a_shared_cache_needs_no_new_sign_in(clock: Clock) -> None:
    """The only account in the cache is taken, and stays the one."""
    cache = msal.TokenCache()
    async with open_emulator() as emulator:
        await signed_in(emulator, token_cache=cache)
        other = credential_of(emulator, token_cache=cache)
        assert (await other.get_token(SCOPE)).claims["name"] == "alice"
        assert token_requests(emulator) == 1
        await signed_in(emulator, "bob", token_cache=cache)
        clock.ahead += 3700
        assert (await other.get_token(SCOPE)).claims["name"] == "alice"


@pytest.mark.promise("R60")
async def test_nobody_is_picked_out_of_several_people() -> None:
    cache = msal.TokenCache()
    async with open_emulator() as emulator:
        for name in ("alice", "bob"):
            await signed_in(emulator, name, token_cache=cache)
        with pytest.raises(SignInRequiredError, match="several people are in the token cache"):
            await credential_of(emulator, token_cache=cache).get_token(SCOPE)


async def test_nobody_in_a_shared_cache_has_to_sign_in() -> None:
    async with open_emulator() as emulator:
        with pytest.raises(SignInRequiredError, match="there is nobody to get an Entra token for"):
            await credential_of(emulator, token_cache=msal.TokenCache()).get_token(SCOPE)


async def test_somebody_who_is_removed_from_the_cache_has_to_sign_in(clock: Clock) -> None:
    cache = msal.TokenCache()
    async with open_emulator() as emulator:
        credential = await signed_in(emulator, token_cache=cache)
        [account] = cache.search(cache.CredentialType.ACCOUNT)
        cache.remove_account(account)
        clock.ahead += 3700
        with pytest.raises(SignInRequiredError, match="there is nobody"):
            await credential.get_token(SCOPE)


@pytest.mark.promise("R60")
async def test_two_peoples_tokens_never_cross(clock: Clock) -> None:
    """Renewed in any order, through one token cache, in one process."""
    cache = msal.TokenCache()
    chance = random.Random(1)  # noqa: S311 - a test
    async with open_emulator(entra_token_lifetime=200) as emulator:
        people = {name: await signed_in(emulator, name, token_cache=cache) for name in ("alice", "bob")}

        async def ask(name: str) -> None:
            claims = CLAIMS if chance.random() < 0.3 else None
            token = await people[name].get_token(chance.choice((SCOPE, TEAMS)), claims=claims)
            assert token.claims["name"] == name

        for _ in range(20):
            clock.ahead += chance.choice((0, 50, 150))
            async with anyio.create_task_group() as group:
                for name in chance.sample(["alice", "bob"] * 3, 6):
                    group.start_soon(ask, name)


@pytest.mark.promise("R60")
async def test_one_persons_throttling_does_not_delay_another(clock: Clock) -> None:
    async with open_emulator(entra_token_lifetime=200) as emulator:
        alice, bob = await signed_in(emulator, "alice"), await signed_in(emulator, "bob")
        clock.ahead += 300
        emulator.fail("/token$", status=429, retry_after=300, times=1)
        with pytest.raises(ServiceError) as raised:
            await alice.get_token(SCOPE)
        assert raised.value.retry_after == 300
        assert (await bob.get_token(SCOPE)).claims["name"] == "bob"
        assert (await alice.get_token(SCOPE)).claims["name"] == "alice"  # when to ask again is for the caller to decide


@pytest.mark.promise("R56")
async def test_msal_never_runs_on_the_event_loop(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Neither its constructor nor its cache is touched there; one thread at a time is in it."""
    here = threading.get_ident()
    seen: list[int] = []
    construct = msal.PublicClientApplication.__init__

    def watched(self: Any, *arguments: Any, **options: Any) -> None:
        seen.append(threading.get_ident())
        construct(self, *arguments, **options)

    monkeypatch.setattr(msal.PublicClientApplication, "__init__", watched)

    class WatchedCache(msal.TokenCache):  # type: ignore[misc]
        def add(self, *arguments: Any, **options: Any) -> Any:
            seen.append(threading.get_ident())
            return super().add(*arguments, **options)

        def search(self, *arguments: Any, **options: Any) -> Any:
            seen.append(threading.get_ident())
            return super().search(*arguments, **options)

    async with open_emulator() as emulator:
        credential = await signed_in(emulator, token_cache=WatchedCache())
        clock.ahead += 3700
        await credential.get_token(SCOPE)
    assert len(seen) > 5
    assert here not in seen


@pytest.mark.promise("R56")
async def test_a_silent_authority_does_not_stall_the_event_loop() -> None:
    """Other tasks run while MSAL is constructed, and a caller gives up when it wants to.

    It answers AzureAD/microsoft-authentication-library-for-python#88, microsoft/Agents-for-python#136,
    Azure/azure-sdk-for-python#6354, Azure/azure-sdk-for-python#43969 and Azure/msrest-for-python#264.
    """
    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    async with serve(hang, tls=server_context()) as server:
        credential = DeviceCodeCredential("app", authority=f"{server.url}/tenant", verify=trusting())
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(credential.sign_in, SCOPE)
                await waiting.wait()
                assert threads_in_msal() == 1
                for _ in range(1000):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert threads_in_msal() == 0


async def test_a_block_keeps_one_connection(clock: Clock) -> None:
    """Without one, each call has its own; both leave none behind."""
    pending = answer(400, {"error": "authorization_pending"})
    for kept, expected in [(False, 3), (True, 1)]:
        async with serve(discovery(), device_code(), pending, tokens(), tls=server_context()) as server:
            credential = DeviceCodeCredential(
                "app", authority=f"{server.url}/tenant", verify=trusting(), prompt_callback=lambda *_: None
            )
            async with AsyncExitStack() as stack:
                if kept:
                    assert await stack.enter_async_context(credential) is credential
                await credential.sign_in(SCOPE)
            await credential.close()
            assert server.connections == expected
            with anyio.fail_after(30):
                while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                    await anyio.sleep(0.001)


async def test_closing_while_it_is_at_work_is_an_error_that_passes(clock: Clock) -> None:
    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    async with serve(discovery(), device_code(), tokens(), hang, tokens(), tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        async with credential, anyio.create_task_group() as group:

            async def closed() -> None:
                with pytest.raises(TokenSourceError) as raised:
                    await credential.get_token(SCOPE)
                assert not raised.value.permanent

            group.start_soon(closed)
            await waiting.wait()
            await credential.close()
        await credential.get_token(SCOPE)


async def test_what_waits_while_it_is_closed_goes_on_with_a_client_of_its_own(clock: Clock) -> None:
    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    script = (discovery(), device_code(), tokens(), hang, device_code(), tokens())
    async with serve(*script, tls=server_context()) as server:
        credential = await signed_in_at(server)
        clock.ahead += 3700
        async with credential, anyio.create_task_group() as group:
            group.start_soon(gather, 1, lambda: credential.get_token(SCOPE))
            await waiting.wait()
            group.start_soon(credential.sign_in, SCOPE)
            await anyio.wait_all_tasks_blocked()
            await credential.close()
        assert len(server.requests) == 6


@pytest.mark.promise("R57")
async def test_cancelling_one_that_waits_for_its_turn_touches_nobody_else() -> None:
    """In a block, where all share one HTTP client."""
    begun, gate = anyio.Event(), anyio.Event()

    async def late(server: Server, stream: Any) -> None:
        begun.set()
        await gate.wait()
        await tokens()(server, stream)

    async with serve(discovery(), device_code(), tokens(), late, tls=server_context()) as server:
        credential = await signed_in_at(server)
        async with credential, anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:
                    group.start_soon(credential.get_token, TEAMS)
                    await begun.wait()
                    inner.start_soon(credential.sign_in, SCOPE)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            gate.set()
        assert len(server.requests) == 4


async def test_one_that_waited_behind_a_cancelled_one_goes_on() -> None:
    """In a block, where all share one HTTP client."""
    begun = anyio.Event()
    hang = announcing(begun, silence())

    async with serve(discovery(), device_code(), tokens(), hang, tokens(), tls=server_context()) as server:
        credential = await signed_in_at(server)
        async with credential, anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(credential.sign_in, SCOPE)
                    await begun.wait()
                    group.start_soon(credential.get_token, TEAMS)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
        assert len(server.requests) == 5


async def test_one_credential_serves_one_event_loop_after_another(anyio_backend_name: str) -> None:
    """Nothing is bound to a loop when it is made, and in a second one what was kept open is not used."""
    async with open_emulator() as emulator:
        credential = credential_of(emulator)

        async def once() -> str:
            await credential.sign_in(SCOPE)
            return (await credential.get_token(SCOPE, claims=CLAIMS)).token

        async with credential:
            found = {await once()}
            for backend in ("asyncio", "trio", anyio_backend_name):
                found.add(await anyio.to_thread.run_sync(partial(anyio.run, once, backend=backend)))
            found.add(await once())
        assert len(found) == 5


async def test_its_tokens_are_exchanged(clock: Clock) -> None:
    """Fifty callers of a credential without a token cost one Entra request and one exchange."""
    async with open_emulator() as emulator:
        entra = await signed_in(emulator)
        async with (
            trusting_client(emulator) as client,
            CommunicationTokenCredential(
                resource_endpoint=emulator.endpoint,
                token_credential=entra,
                http_client=client,
                proactive_refresh=False,
            ) as credential,
        ):
            found = await gather(50, credential.get_token)
        assert len(set(found)) == 1
        assert token_requests(emulator) == 1
        assert sum("exchangeAccessToken" in request.path for request in emulator.requests) == 1


def trusting_client(emulator: Emulator) -> Any:
    return httpx.AsyncClient(verify=emulator.ssl_context)
