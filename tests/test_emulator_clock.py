"""The emulator's own clock: what goes by it, and how it is set."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import jwt
import pytest
from emulated import Clock, client_of

from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.identity._keys import decode_key, sign

NOW = 1_800_000_000
PATH = "/identities?api-version=2023-10-01"
CLIENTS = "https://communication.azure.com/clients/VoIP"


def signed(emulator: Any, now: float) -> dict[str, str]:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
    key = decode_key(emulator.access_key)
    return dict(sign(key, "POST", PATH, host=emulator.endpoint.partition("//")[2], date=date, body=b""))


@pytest.mark.parametrize("offset", [0, 7200, -7200, 10 * 365 * 86_400])
async def test_dates_and_tokens_and_signatures_go_by_it(offset: float) -> None:
    """So the service is right by its own clock, and this machine's is wrong."""
    async with open_emulator(clock_offset=offset, clock=Clock(NOW)) as emulator, client_of(emulator) as client:
        there = NOW + offset
        answer = await client.post(
            PATH, json={"createTokenWithScopes": ["chat"]}, headers=signed(emulator, there) | hashed(emulator, there)
        )
        assert answer.status_code == 201
        assert parsedate_to_datetime(answer.headers["date"]).timestamp() == there
        claims = jwt.decode(answer.json()["accessToken"]["token"], options={"verify_signature": False})
        assert (claims["iat"], claims["exp"]) == (there, there + 86_400)
        entra = jwt.decode(emulator.issue_entra_token(CLIENTS), options={"verify_signature": False})
        assert (entra["iat"], entra["exp"]) == (there, there + 3600)
        late = await client.post(PATH, headers=signed(emulator, there - 301))
        assert (late.status_code, "x-ms-date" in late.text) == (401, True)
        assert emulator.requests[-1].time == there


def hashed(emulator: Any, now: float) -> dict[str, str]:
    body = b'{"createTokenWithScopes":["chat"]}'
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
    key = decode_key(emulator.access_key)
    return dict(sign(key, "POST", PATH, host=emulator.endpoint.partition("//")[2], date=date, body=body))


async def test_it_can_be_set_while_it_runs() -> None:
    async with open_emulator(clock=Clock(NOW)) as emulator, client_of(emulator) as client:
        assert emulator.clock_offset == 0
        emulator.clock_offset = 3600
        answer = await client.post(PATH)
        assert parsedate_to_datetime(answer.headers["date"]).timestamp() == NOW + 3600
        with pytest.raises(TypeError, match="clock_offset is seconds, not str"):
            emulator.clock_offset = "1"  # type: ignore[assignment]


async def test_an_ordered_answer_may_say_another_date() -> None:
    """Once: it is the service's word, whatever its clock says."""
    async with open_emulator(clock=Clock(NOW)) as emulator, client_of(emulator) as client:
        emulator.answer("POST /identities", headers={"Date": "yesterday"})
        assert (await client.post(PATH)).headers.get_list("date") == ["yesterday"]


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), 10**9, -(10**9)])
async def test_what_is_no_difference_between_clocks_is_refused(offset: float) -> None:
    with pytest.raises(ValueError, match="clock_offset is twenty years at most"):
        async with open_emulator(clock_offset=offset):
            pass


async def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="clock_offset is seconds, not bool"):
        async with open_emulator(clock_offset=True):
            pass
