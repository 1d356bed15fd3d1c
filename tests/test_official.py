"""What the official Python packages do, each beside what this one does: the facts under the comparison in docs.

They are for asyncio alone, and so are these tests. A fact that no longer holds fails its test: then the page is to be
corrected, not the test.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import wait_all_tasks_blocked
from azure.core.credentials import AccessToken as AzureAccessToken
from azure.core.credentials_async import AsyncSupportsTokenInfo
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest

from anyio_acs_credential import (
    AccessKeyAuth,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CredentialClosedError,
    InvalidIdentifierError,
    TokenUnavailableError,
    UnknownIdentifier,
    identifier_from_raw_id,
    identifier_from_wire,
)
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.identity._keys import decode_key, sign
from anyio_acs_credential.testing import ScriptedSource, make_jwt

chat = pytest.importorskip("azure.communication.chat")
Official = pytest.importorskip("azure.communication.chat.aio").CommunicationTokenCredential
OfficialIdentity = pytest.importorskip("azure.communication.identity.aio").CommunicationIdentityClient

pytestmark = pytest.mark.filterwarnings(r"ignore:datetime\.datetime\.utcnow:DeprecationWarning")  # theirs

HOST = "contoso.communication.azure.com"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
USER = "8:orgid:45ab2481-1c1c-4005-be24-0ffb879b1130"
LEAVES_A_COROUTINE = pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")
EXPIRED = AccessToken(make_jwt(-60), 0)
TWO_WIRE_MODELS = {"rawId": USER, "communicationUser": {"id": USER}, "phoneNumber": {"value": "+1"}}

# Two tasks ask for an expired token at once. If the event loop stands still, the process says where, and ends with 1.
TWO_TASKS = """
import asyncio, os, sys, threading, time, traceback
from azure.core.credentials import AccessToken
from {module} import CommunicationTokenCredential
from anyio_acs_credential.emulator import Emulator, open_emulator
from anyio_acs_credential.identity._keys import decode_key, sign
from anyio_acs_credential.testing import make_jwt

async def fetch():
    await asyncio.sleep(0)
    return AccessToken(make_jwt(3600), int(time.time()) + 3600)

def give_up(thread):
    traceback.print_stack(sys._current_frames()[thread])
    os._exit(1)

async def main():
    async with CommunicationTokenCredential(make_jwt(-60), token_refresher=fetch) as credential:
        patience = threading.Timer({seconds}, give_up, [threading.get_ident()])
        patience.daemon = True
        patience.start()
        await asyncio.gather(credential.get_token(), credential.get_token())

asyncio.run(main())
"""


class Source:
    """A token source that counts, and gives tokens that live so many seconds, or fails."""

    def __init__(self, life: float | Exception = 3600) -> None:
        self.life = life
        self.calls = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> AzureAccessToken:
        self.calls += 1
        self.asked.set()
        await self.gate.wait()
        if isinstance(self.life, Exception):
            raise self.life
        return AzureAccessToken(make_jwt(self.life), int(time.time() + self.life))


def two_tasks(module: str, seconds: int) -> subprocess.CompletedProcess[str]:
    program = TWO_TASKS.format(module=module, seconds=seconds)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter


# The credential


def test_two_tasks_that_ask_for_an_expired_token_freeze_its_event_loop() -> None:
    """Here they get a token: an expired one never hangs the program, as it does in Azure/Communication#78."""
    frozen, ours = two_tasks("azure.communication.chat.aio", 1), two_tasks("anyio_acs_credential", 30)
    assert frozen.returncode == 1
    assert "_update_token_and_reschedule" in frozen.stderr
    assert ours.returncode == 0


def test_a_failed_refresh_in_the_background_ends_all_others() -> None:
    """No task is left that would ask again; here one is."""

    async def main(credential: Any, source: Source) -> set[str]:
        async with credential(make_jwt(-60), token_refresher=source, proactive_refresh=True):
            await source.asked.wait()
            await wait_all_tasks_blocked()
            return {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}

    assert asyncio.run(main(Official, Source(OSError("down")))) == set()
    assert len(asyncio.run(main(CommunicationTokenCredential, Source(OSError("down"))))) == 1


@pytest.mark.parametrize(("left", "proactive"), [(60, False), (300, True)])
def test_a_valid_token_is_withheld_while_the_source_fails(left: int, proactive: bool) -> None:
    """In the last two minutes, or ten, each caller gets the source's error; here the token, while it lasts."""

    async def official(source: Source) -> None:
        credential = Official(make_jwt(left), token_refresher=source, proactive_refresh=proactive)
        for _ in range(3):
            with pytest.raises(OSError, match="down"):
                await credential.get_token()
        assert source.calls == 3

    async def ours(source: Source) -> None:
        held = make_jwt(left)
        async with CommunicationTokenCredential(
            held, token_refresher=source, proactive_refresh=proactive
        ) as credential:
            for _ in range(3):
                assert (await credential.get_token()).token == held
        assert source.calls <= 1

    asyncio.run(official(Source(OSError("down"))))
    asyncio.run(ours(Source(OSError("down"))))


def test_short_tokens_are_fetched_at_each_call() -> None:
    """Tokens of 100 seconds: twenty calls are twenty fetches; here one."""

    async def main(credential: Any) -> int:
        source = Source(100)
        async with credential(make_jwt(-60), token_refresher=source) as made:
            for _ in range(20):
                await made.get_token()
        return source.calls

    assert asyncio.run(main(Official)) == 20
    assert asyncio.run(main(CommunicationTokenCredential)) == 1


def test_a_caller_that_is_cancelled_cancels_the_fetch() -> None:
    """Here the fetch goes on, and the next caller has its token."""

    async def main(credential: Any) -> int:
        source = Source()
        source.gate.clear()
        async with credential(make_jwt(-60), token_refresher=source) as made:
            first = asyncio.create_task(made.get_token())
            await source.asked.wait()
            first.cancel()
            await asyncio.wait([first])
            source.gate.set()
            await made.get_token()
        return source.calls

    assert asyncio.run(main(Official)) == 2
    assert asyncio.run(main(CommunicationTokenCredential)) == 1


def test_an_expired_token_is_handed_out() -> None:
    async def main() -> None:
        assert (await Official(make_jwt(-60)).get_token()).expires_on < time.time()
        with pytest.raises(TokenUnavailableError):
            await CommunicationTokenCredential(EXPIRED).get_token()

    asyncio.run(main())


def test_a_closed_credential_still_gives_its_token() -> None:
    async def main() -> None:
        async with Official(make_jwt(3600)) as official:
            pass
        assert (await official.get_token()).token
        async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as ours:
            pass
        with pytest.raises(CredentialClosedError):
            await ours.get_token()

    asyncio.run(main())


def test_a_callers_fetch_outlives_the_credential() -> None:
    """The end of it leaves a fetch running; here a caller is told of the end at once."""

    async def main(credential: Any) -> bool:
        source = Source()
        source.gate.clear()
        async with credential(make_jwt(-60), token_refresher=source) as made:
            caller = asyncio.create_task(made.get_token())
            await source.asked.wait()
        await wait_all_tasks_blocked()
        ended = caller.done()
        source.gate.set()
        await asyncio.wait([caller])
        assert isinstance(caller.exception(), CredentialClosedError) is ended
        return ended

    assert not asyncio.run(main(Official))
    assert asyncio.run(main(CommunicationTokenCredential))


def test_proactive_refresh_is_off_and_a_first_token_is_needed() -> None:
    async def main() -> None:
        async with Official(make_jwt(-60), token_refresher=Source()):
            await wait_all_tasks_blocked()
            assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(TypeError, match="token"):
            Official(token_refresher=Source())
        source = Source()
        async with CommunicationTokenCredential(token_refresher=source):
            await source.asked.wait()

    asyncio.run(main())


def test_an_encrypted_token_is_none() -> None:
    """Azure/azure-sdk-for-js#39156: tokens that only the service can read. Here the expiry is given with one."""
    encrypted = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a2V5.aXY.Y2lwaGVydGV4dA.dGFn"
    with pytest.raises(ValueError, match="not formatted correctly"):
        Official(encrypted)
    token = AccessToken(encrypted, time.time() + 3600)
    assert asyncio.run(CommunicationTokenCredential(token).get_token()) == token


def test_a_token_with_a_name_beyond_ascii_is_none() -> None:
    vectors = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))["jwt"]
    given = next(case["token"] for case in vectors if case["id"] == "non_ascii_payload")
    with pytest.raises(ValueError, match="not formatted correctly"):
        Official(given)
    assert AccessToken.from_jwt(given).token == given


@LEAVES_A_COROUTINE
def test_it_does_not_run_on_trio() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            async with Official(make_jwt(-60), token_refresher=ScriptedSource(3600), proactive_refresh=True):
                pass
        async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600)) as ours:
            assert (await ours.get_token()).token

    trio.run(main)
    gc.collect()


def test_it_has_no_get_token_info() -> None:
    """The newer of azure-core's two ways to ask for a token."""

    async def main() -> bool:
        return isinstance(Official(make_jwt()), AsyncSupportsTokenInfo)

    assert not asyncio.run(main())
    assert isinstance(CommunicationTokenCredential(make_jwt()), AsyncSupportsTokenInfo)


# Entra users


class Entra:
    async def get_token(self, *_scopes: str, **_options: object) -> AzureAccessToken:
        return AzureAccessToken("entra", int(time.time()) + 3600)


@LEAVES_A_COROUTINE
def test_entra_users_are_left_out_or_cannot_be_made_in_async_code() -> None:
    """The public credential has no exchange; the private one runs an event loop in its constructor, inside of ours."""
    private = pytest.importorskip("azure.communication.callautomation._shared.user_credential_async")
    options: Any = {"resource_endpoint": "https://contoso.communication.azure.com", "token_credential": Entra()}

    async def main() -> None:
        with pytest.raises(TypeError, match="token"):
            Official(**options)
        with pytest.raises(RuntimeError, match="already running"):
            private.CommunicationTokenCredential(**options)
        assert isinstance(CommunicationTokenCredential(**options), CommunicationTokenCredential)

    asyncio.run(main())
    gc.collect()


# Identifiers


def test_identifiers_are_equal_across_kinds_and_not_hashable() -> None:
    user = chat.identifier_from_raw_id(USER)
    assert user == chat.UnknownIdentifier(USER)
    with pytest.raises(TypeError, match="unhashable"):
        hash(user)
    assert identifier_from_raw_id(USER) != UnknownIdentifier(USER)
    assert len({identifier_from_raw_id(USER), identifier_from_raw_id(USER)}) == 1


def test_a_wire_model_of_two_kinds_is_read_as_one() -> None:
    utils = pytest.importorskip("azure.communication.callautomation._utils")
    model = pytest.importorskip("azure.communication.callautomation._generated.models").CommunicationIdentifierModel
    assert utils.deserialize_identifier(model.deserialize(TWO_WIRE_MODELS)).kind.value == "communication_user"
    with pytest.raises(InvalidIdentifierError, match="communicationUser and phoneNumber"):
        identifier_from_wire(TWO_WIRE_MODELS)


# The identity client


def test_what_the_identity_client_gives_is_no_token_for_the_credential() -> None:
    """The expiry is text, so that one cannot be the refresher of the other; here the two fit."""

    async def official(emulator: Emulator) -> None:
        make = OfficialIdentity.from_connection_string
        async with make(emulator.connection_string, connection_verify=emulator.ca_file) as identity:
            fetch = partial(identity.get_token, await identity.create_user(), ["chat"])
            with pytest.raises(TypeError, match="'int' and 'str'"):
                await Official(make_jwt(-60), token_refresher=fetch).get_token()

    async def ours(emulator: Emulator) -> None:
        make = CommunicationIdentityClient.from_connection_string
        async with (
            httpx.AsyncClient(verify=emulator.ssl_context) as client,
            make(emulator.connection_string, http_client=client) as identity,
        ):
            fetch = partial(identity.get_token, await identity.create_user(), ["chat"])
            async with CommunicationTokenCredential(token_refresher=fetch) as credential:
                assert (await credential.get_token()).token

    async def main() -> None:
        async with open_emulator() as emulator:
            await official(emulator)
            await ours(emulator)

    asyncio.run(main())


@pytest.mark.parametrize("offset", [2 * 3600, -2 * 3600])
def test_a_wrong_clock_has_every_request_of_its_identity_client_refused(offset: float) -> None:
    """It signs by this machine's clock, whatever the service says; here one refusal is enough to know better."""
    policy = pytest.importorskip("azure.communication.identity")
    errors = pytest.importorskip("azure.core.exceptions")

    async def main() -> tuple[list[int | None], list[int | None]]:
        async with open_emulator(clock_offset=offset) as emulator:

            def official() -> None:
                client = policy.CommunicationIdentityClient.from_connection_string(
                    emulator.connection_string, connection_verify=emulator.ca_file
                )
                with client._identity_service_client:
                    for _ in range(2):
                        with pytest.raises(errors.HttpResponseError, match="more than 5 minutes from the service's"):
                            client.create_user()

            await asyncio.to_thread(official)
            theirs = [request.status for request in emulator.requests]
            async with httpx.AsyncClient(verify=emulator.ssl_context) as http:
                text = emulator.connection_string
                async with CommunicationIdentityClient.from_connection_string(text, http_client=http) as identity:
                    for _ in range(2):
                        await identity.create_user()
            return theirs, [request.status for request in emulator.requests][len(theirs) :]

    assert asyncio.run(main()) == ([401, 401], [401, 201, 201])


def test_the_slash_at_the_end_of_an_address_is_signed() -> None:
    """Nothing that is sent has it, so the service refuses the signature; here it covers what is sent."""
    policy = pytest.importorskip("azure.communication.identity._shared.policy").HMACCredentialsPolicy

    def signs_what_is_sent(endpoint: str) -> bool:
        request: Any = HttpRequest("GET", f"https://{HOST}/identities")
        policy(endpoint, KEY).on_request(PipelineRequest(request, PipelineContext(None)))
        date = request.headers["x-ms-date"]
        wanted = sign(decode_key(KEY), "GET", "/identities", host=HOST, date=date, body=b"")
        return bool(request.headers["Authorization"] == wanted["Authorization"])

    assert signs_what_is_sent(f"https://{HOST}")
    assert not signs_what_is_sent(f"https://{HOST}/")
    request = httpx.Request("GET", f"https://{HOST}/identities")
    next(AccessKeyAuth(KEY).auth_flow(request))
    wanted = sign(decode_key(KEY), "GET", "/identities", host=HOST, date=request.headers["x-ms-date"], body=b"")
    assert request.headers["Authorization"] == wanted["Authorization"]
