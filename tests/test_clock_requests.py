"""A wrong clock at the service: signatures, lives and errors, against the emulator and real sockets."""

from __future__ import annotations

import json
import logging
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from emulated import client_of
from servers import answer, serve

from anyio_acs_credential import (
    AccessKeyAuth,
    AccessKeyCredential,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    ServiceError,
    TokenRefreshError,
)
from anyio_acs_credential._exchange.wire import read_exchange
from anyio_acs_credential._http.answer import Answer, error_from
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential._tokens.service_clock import Moment, Proof, ServiceClock, proof_in
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.testing import make_jwt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
CHAT = "/chat/threads?api-version=2024-03-07"
PATH = "/identities?api-version=2023-10-01"
HOUR = 3600.0
FAR = [360.0, 3 * HOUR, 10 * 365 * 86_400.0]  # further than signatures may be
FAR_BOTH_WAYS = [*FAR, *(-offset for offset in FAR)]
BOTH_WAYS = [5.0, -5.0, *FAR_BOTH_WAYS]
DAY = timedelta(hours=24)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been told in this process."""
    monkeypatch.setattr(clock_warning, "_told", {})


@asynccontextmanager
async def identity(
    offset: float, **settings: Any
) -> AsyncGenerator[tuple[Emulator, CommunicationIdentityClient, httpx.AsyncClient]]:
    """An emulator whose clock is ahead, and an identity client of it."""
    async with (
        open_emulator(clock_offset=offset, **settings) as emulator,
        client_of(emulator) as http,
        CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http) as client,
    ):
        yield emulator, client, http


def statuses(emulator: Emulator) -> list[int | None]:
    return [request.status for request in emulator.requests]


# Signatures


@pytest.mark.promise("R87")
@pytest.mark.parametrize("offset", FAR_BOTH_WAYS)
async def test_one_refusal_is_enough_for_all_requests_that_follow(offset: float) -> None:
    """The identity client signs anew with the service's time, and goes on with it."""
    async with identity(offset) as (emulator, client, _):
        user = await client.create_user()
        for _ in range(3):
            await client.get_token(user, ["chat"])
        await client.delete_user(user)
        assert statuses(emulator) == [401, 201, 200, 200, 200, 204]


@pytest.mark.promise("R87")
@pytest.mark.parametrize("offset", [0.0, 5.0, -5.0, 200.0, -200.0])
async def test_a_difference_that_the_service_allows_costs_no_refusal(offset: float) -> None:
    async with identity(offset) as (emulator, client, _):
        for _ in range(3):
            await client.create_user()
        emulator.clock_offset = 2 * offset  # 400 s: more than it allows, if nothing had been learnt by then
        await client.create_user()
        assert statuses(emulator) == [201] * 4


@pytest.mark.promise("R87")
async def test_a_clock_that_is_set_costs_one_refusal_a_step() -> None:
    """Also where it is put right: what was believed is forgotten within one answer."""
    async with identity(0.0) as (emulator, client, _):
        for offset in (3 * HOUR, -3 * HOUR, 0.0):
            await client.create_user()
            emulator.clock_offset = offset
            await client.create_user()
        await client.create_user()
        assert statuses(emulator) == [201, 401, 201, 201, 401, 201, 201, 401, 201, 201]


@pytest.mark.promise("R87")
async def test_requests_that_begin_at_once_are_refused_once_each() -> None:
    """All are signed before the first answer; what is signed after it is right, though others wait for theirs."""
    async with identity(3 * HOUR) as (emulator, client, _):
        user = (await client.create_user()).raw_id
        emulator.clock_offset = -3 * HOUR
        before = len(emulator.requests)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.get_token, user, ["chat"])
        assert sorted(map(str, statuses(emulator)[before:])) == ["200"] * 20 + ["401"] * 20
        emulator.clock_offset = 3 * HOUR
        emulator.hang("issueAccessToken", times=5)
        before = len(emulator.requests)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.get_token, user, ["chat"])
            while len(emulator.requests) < before + 5:  # noqa: ASYNC110 - the emulator has no event for it
                await anyio.sleep(0.01)
            await client.create_user()
            for _ in range(5):
                await client.get_token(user, ["chat"])
            group.cancel_scope.cancel()
        assert statuses(emulator)[before:] == [None] * 5 + [401, 201] + [200] * 5


@pytest.mark.promise("R87")
async def test_an_answer_that_is_tried_again_has_told_the_time() -> None:
    """So the next try is not refused for its time as well."""
    async with identity(3 * HOUR) as (emulator, client, _):
        client._limits = Limits(timeout=30, backoff=0.01)
        emulator.fail("POST /identities$", status=429, times=1)
        await client.create_user()
        assert statuses(emulator) == [429, 201]


@pytest.mark.promise("R87")
async def test_a_wrong_key_is_asked_once() -> None:
    """Its refusal is not laid to the clock, and after the clock it is told as it is."""
    async with open_emulator() as emulator, client_of(emulator) as http:
        key = AccessKeyCredential(KEY)
        async with CommunicationIdentityClient(emulator.endpoint, key, http_client=http) as client:
            with pytest.raises(ServiceError, match=r"401 Unauthorized \(Denied\): the service does not accept"):
                await client.create_user()
            assert statuses(emulator) == [401]
            emulator.clock_offset = -2 * HOUR - 180
            with pytest.raises(ServiceError, match="this machine's clock is 2 h 3 min ahead of the service's, so set"):
                await client.create_user()
            assert statuses(emulator) == [401] * 3
            with pytest.raises(ServiceError, match="if that does not help: the service does not accept the credential"):
                await client.create_user()
            assert statuses(emulator) == [401] * 4


class SetBack:
    """The clock of a machine that has none of its own while it is off, such as a small computer's."""

    def __init__(self, now: float) -> None:
        self._ahead = now - time.time()

    def time(self) -> float:
        return time.time() + self._ahead


@pytest.mark.promise("R87")
@pytest.mark.parametrize("year", [1970, 2000, 2009])
async def test_a_service_whose_clock_shows_an_absurd_time_is_told_and_not_the_key_blamed(year: int) -> None:
    """No signature can be dated by such a clock, so every key is refused: the error names the clock first."""
    absurd = datetime(year, 6, 1, 12, tzinfo=UTC).timestamp()
    async with open_emulator(clock=SetBack(absurd)) as emulator, client_of(emulator) as http:
        key = AccessKeyCredential(emulator.access_key)
        async with CommunicationIdentityClient(emulator.endpoint, key, http_client=http) as client:
            with pytest.raises(ServiceError) as caught:
                await client.create_user()
    said = str(caught.value)
    assert f"its answer is dated {year}-06-01, so the clock there is wrong: set it; and if that does not help" in said
    assert f"more than 5 minutes from the service's time, which is {year}-06-01T12:0" in said
    assert said.index("the clock there") < said.index("check the access key")


@pytest.mark.promise("R87")
@pytest.mark.parametrize(
    ("status", "date", "is_told"),
    [
        (401, "Mon, 01 Jun 2009 12:00:00 GMT", True),
        (401, "Mon, 01 Jun 2209 12:00:00 GMT", True),
        (401, "Thu, 01 Jan 1604 00:00:00 GMT", True),
        (403, "Mon, 01 Jun 2009 12:00:00 GMT", False),
        (401, "Mon, 01 Jun 2026 12:00:00 GMT", False),
        (401, "yesterday", False),
        (401, None, False),
    ],
)
def test_which_answers_name_the_clock_of_the_service(status: int, date: str | None, is_told: bool) -> None:
    headers = () if date is None else (("date", date),)
    assert ("so the clock there is wrong" in str(error_from(Answer(status, headers)))) is is_told


@pytest.mark.promise("R87")
async def test_what_was_lost_and_then_refused_for_its_time_counts_as_repeated() -> None:
    """The deletion whose answer was lost may have been done: that the user is gone is what was wanted."""
    async with identity(3 * HOUR) as (emulator, client, _):
        user = await client.create_user()
        await client.delete_user(user)
        emulator.clock_offset = 0.0
        emulator.reset("DELETE", times=1)
        await client.delete_user(user)
        assert statuses(emulator)[-3:] == [None, 401, 404]


@pytest.mark.promise("R87")
@pytest.mark.parametrize("offset", FAR_BOTH_WAYS)
async def test_httpx_requests_that_are_signed(offset: float) -> None:
    """`AccessKeyAuth`, async and sync, with the whole body once more."""
    async with open_emulator(clock_offset=offset) as emulator:
        auth = AccessKeyAuth(emulator.access_key)
        async with client_of(emulator, auth=auth) as client:
            for _ in range(2):
                assert (await client.post(PATH, json={"createTokenWithScopes": ["chat"]})).status_code == 201
        assert statuses(emulator) == [401, 201, 201]


class Script:
    """The answers that a service gives, each with the date of its clock, to a flow that is stepped by hand."""

    def __init__(self, auth: AccessKeyAuth, url: str = "https://contoso.communication.azure.com/x") -> None:
        self.request = httpx.Request("POST", url, content=b"body")
        self.flow = auth.auth_flow(self.request)
        self.sent = [next(self.flow).headers["x-ms-date"]]

    def answer(self, status: int, *headers: tuple[str, str], at: str | None = None) -> bool:
        """Whether the flow sends once more."""
        request = self.request if at is None else httpx.Request("GET", at)
        try:
            again = self.flow.send(httpx.Response(status, headers=list(headers), request=request))
        except StopIteration:
            return False
        self.sent.append(again.headers["x-ms-date"])
        return True


def date(ahead: float) -> tuple[str, str]:
    return "Date", formatdate(time.time() + ahead, usegmt=True)


@pytest.mark.promise("R86")
@pytest.mark.parametrize(
    ("status", "ahead", "headers"),
    [
        (401, [], []),
        (401, [30], []),
        (401, [HOUR], [("Age", "60")]),
        (401, [HOUR, 2 * HOUR], []),
        (401, [], [("Date", "in an hour")]),
        (403, [HOUR], []),
        (200, [HOUR], []),
    ],
)
def test_what_is_not_signed_anew(status: int, ahead: list[float], headers: list[tuple[str, str]]) -> None:
    assert not Script(AccessKeyAuth(KEY)).answer(status, *map(date, ahead), *headers)


@pytest.mark.promise("R86")
def test_a_date_of_another_address_says_nothing_of_the_service() -> None:
    """A redirect led there, and perhaps without TLS."""
    for elsewhere in ("https://elsewhere.example/", "http://contoso.communication.azure.com/x"):
        auth = AccessKeyAuth(KEY)
        assert not Script(auth).answer(401, date(HOUR), at=elsewhere)
        assert abs(seconds_ahead(Script(auth).sent[0])) < 60


@pytest.mark.promise("R87")
def test_a_service_whose_clock_runs_wild_is_asked_twice_at_most() -> None:
    script = Script(AccessKeyAuth(KEY))
    assert script.answer(401, date(HOUR))
    assert seconds_ahead(script.sent[1]) > HOUR - 60
    assert not script.answer(401, date(5 * HOUR))


@pytest.mark.promise("R87")
def test_two_services_have_two_clocks() -> None:
    auth = AccessKeyAuth(KEY)
    Script(auth).answer(200, date(HOUR))
    other = "https://fabrikam.communication.azure.com/x"
    Script(auth, other).answer(200, date(-HOUR))
    assert seconds_ahead(Script(auth).sent[0]) > HOUR - 60
    assert seconds_ahead(Script(auth, other).sent[0]) < 60 - HOUR


def seconds_ahead(date: str) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(date).timestamp() - time.time()


# Lives


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
async def test_a_token_of_the_identity_client_lives_as_long_as_the_service_says(offset: float) -> None:
    """The credential that it is the source of holds it for its true life, and asks for no other meanwhile."""
    async with identity(offset) as (emulator, client, http):
        user, first = await client.create_user_and_token(["chat"])
        assert first.expires_in == pytest.approx(86_400, abs=60)

        async def fetch() -> Any:
            return await client.get_token(user, ["chat"])

        async with CommunicationTokenCredential(token_refresher=fetch) as credential:
            for _ in range(3):
                token = await credential.get_token()
            said = await http.get(CHAT, headers={"Authorization": f"Bearer {token.token}"})
            assert said.status_code == 200
            assert credential.health().seconds_to_expiry == pytest.approx(86_400, abs=60)
            assert credential.statistics().clock_offset == pytest.approx(-offset, abs=60 if abs(offset) > 5 else 4)
            assert token.expires_on == pytest.approx(time.time() + offset + 86_400, abs=60)
        assert sum(request.path.endswith(":issueAccessToken") for request in emulator.requests) == 1


async def test_a_token_of_a_right_clock_says_nothing_of_its_life() -> None:
    """So who keeps it for a while before a credential gets it is no worse off than before."""
    async with identity(0.0) as (_, client, _):
        assert (await client.create_user_and_token(["chat"]))[1].expires_in is None


class Person:
    """Somebody whose Entra tokens the emulator issues."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def get_token(self, *scopes: str) -> Any:
        text = self.emulator.issue_entra_token(*scopes)
        return type("Token", (), {"token": text, "expires_on": time.time() + HOUR})()


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
async def test_an_exchanged_token_lives_as_long_as_the_service_says(
    offset: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_emulator(clock_offset=offset, token_lifetime=HOUR) as emulator, client_of(emulator) as http:
        async with CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=Person(emulator), http_client=http
        ) as credential:
            for _ in range(3):
                token = await credential.get_token()
            assert credential.health().seconds_to_expiry == pytest.approx(HOUR, abs=60)
            assert credential.raw_id is not None
            assert token.expires_on == pytest.approx(time.time() + offset + HOUR, abs=60)
        assert statuses(emulator) == [200]
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == (abs(offset) > 60)


# Errors


def exchanged(ends: float, *headers: tuple[str, str]) -> Any:
    body = {"accessToken": {"token": make_jwt(exp=int(ends)), "expiresOn": int(ends)}, "identity": {"id": "8:acs:a_b"}}
    return answer(200, body, *headers)


async def refusal(*headers: tuple[str, str], known: float | None = None) -> str:
    """What the exchange says of a token that ended an hour ago at a service whose clock is three hours behind."""
    there = time.time() - 3 * HOUR
    first = exchanged(there + HOUR, date(-3 * HOUR)) if known is not None else exchanged(there - HOUR, *headers)
    async with serve(first, exchanged(there - HOUR, *headers)) as server, httpx.AsyncClient() as http:

        class Signed:
            async def get_token(self, *_: str) -> Any:
                return type("Token", (), {"token": "entra", "expires_on": time.time() + HOUR})()

        async with CommunicationTokenCredential(
            resource_endpoint=server.url, token_credential=Signed(), http_client=http, proactive_refresh=False
        ) as credential:
            if known is not None:
                await credential.get_token()
            with pytest.raises(TokenRefreshError) as caught:
                await credential.refresh()
            return str(caught.value.__cause__)


@pytest.mark.promise("R88")
async def test_an_expired_answer_names_the_clock_only_where_that_may_be_why() -> None:
    assert "here. Set this machine's clock, or see whether a proxy" in await refusal()
    says = await refusal(date(-3 * HOUR))
    assert "there. Though this machine's clock is 3 h ahead of the service's, that is not why: see whether" in says
    assert await refusal(known=1) != await refusal()
    assert "3 h ahead of the service's, that is not why" in await refusal(known=1)  # though this answer had no date


def test_a_difference_of_seconds_is_not_named() -> None:
    clock = ServiceClock("s")
    clock.learn(Proof(0.0, 4.0, 6.0))
    body = json.dumps({"accessToken": {"token": make_jwt(-60), "expiresOn": int(time.time() - 60)}}).encode()
    with pytest.raises(ServiceError, match=r"there\. See whether a proxy"):
        read_exchange(Answer(200, (), body), clock)


@pytest.mark.promise("R27")
@pytest.mark.parametrize("expires_on", ["9999-12-31T23:59:59+00:00", 253_402_300_799, 1])
def test_an_absurd_expiry_is_read_or_refused_by_a_known_clock_too(expires_on: object) -> None:
    clock = ServiceClock("s")
    clock.learn(Proof(0.0, 3 * HOUR, 3 * HOUR + 2))
    content = {"accessToken": {"token": "opaque", "expiresOn": expires_on}}
    answer = Answer(200, (), json.dumps(content).encode())
    if expires_on == 1:
        with pytest.raises(ServiceError):
            read_exchange(answer, clock)
    else:
        assert read_exchange(answer, clock).expires_on == 253_402_300_799


@pytest.mark.promise("R88")
def test_only_a_401_is_laid_to_the_clock() -> None:
    proof = Proof(0.0, 2 * HOUR + 180, 2 * HOUR + 182)
    assert str(error_from(Answer(401, proof=proof))) == (
        "the service answered 401 Unauthorized: this machine's clock is 2 h 3 min ahead of the service's, so set it; "
        "and if that does not help: the service does not accept the credential: check the access key, or sign in to "
        "Entra again"
    )
    assert "clock is 1 min behind" in str(error_from(Answer(401, proof=Proof(0.0, -63.0, -61.0))))
    assert "clock" not in str(error_from(Answer(401, proof=Proof(0.0, 60.0, 62.0))))
    assert "clock" not in str(error_from(Answer(403, proof=proof)))
    assert "clock" not in str(error_from(Answer(401, proof=Proof(0.0, 30.0, 32.0))))
    assert "clock" not in str(error_from(Answer(401, proof=Proof(0.0, -1.0, 1.0))))


@pytest.mark.promise("R30")
def test_a_time_to_try_again_is_measured_by_the_clock_that_wrote_it() -> None:
    """A `Retry-After` with a date, from a service three hours ahead: 20 seconds, and not five minutes."""
    there = time.time() + 3 * HOUR
    headers = (("date", formatdate(there, usegmt=True)), ("retry-after", formatdate(there + 20, usegmt=True)))
    moment = Moment(time.time(), 0.0)
    found = proof_in(headers, moment, moment)
    assert Answer(429, headers, proof=found).retry_after == 20
    assert Answer(429, headers).retry_after == 300
