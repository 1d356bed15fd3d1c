"""People who sign in to the emulator, and authorities that say whatever a test wants them to."""

from __future__ import annotations

import ssl
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import anyio.lowlevel
import httpx
import trustme
from servers import answer

from anyio_acs_credential.entra import _device_code

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from anyio.abc import ByteStream
    from servers import Behaviour, Server

    from anyio_acs_credential.emulator import Emulator

SCOPE = "https://communication.azure.com/clients/.default"
TEAMS = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"
CLAIMS = '{"access_token":{"nbf":{"essential":true}}}'
AUTHORITY = trustme.CA()


def signing_in_at(emulator: Emulator) -> dict[str, Any]:
    return {"authority": emulator.authority, "verify": emulator.ssl_context}


def token_requests(emulator: Emulator) -> int:
    return sum(request.path.endswith("/token") for request in emulator.requests)


def approving(emulator: Emulator, user: str = "alice") -> Callable[[str, str, int], None]:
    """A prompt whose person enters the code at once."""
    return lambda _uri, code, _expires_on: emulator.approve(code, user)


def skip_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let device codes be polled without waiting; gives the list of waits."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(_device_code, "sleep", sleep)
    return pauses


class Clock:
    """The wall clock of the whole process, emulator and MSAL included, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._time = time.time
        self.ahead = 0.0
        monkeypatch.setattr(time, "time", lambda: self._time() + self.ahead)


def code_for(emulator: Emulator, sign_in_uri: str, user: str) -> dict[str, str]:
    """What the authority sends the browser back with, once a person has signed in at this address."""
    asked = dict(parse_qsl(urlsplit(sign_in_uri).query))
    entra = emulator._entra
    grant = entra.grant(user, asked["scope"], {}, asked.get("nonce"))
    code = entra.codes.issue(grant, asked["redirect_uri"], asked.get("code_challenge"))
    return {"code": code, "state": asked["state"], "session_state": "whatever"}


def redirect_of(sign_in_uri: str) -> tuple[str, str]:
    """Where the browser is sent back to, and the state that it brings."""
    asked = dict(parse_qsl(urlsplit(sign_in_uri).query))
    return asked["redirect_uri"].replace("localhost", "127.0.0.1"), asked["state"]


async def bring(sign_in_uri: str, params: dict[str, str], *, form: bool = True) -> httpx.Response:
    """Be the browser that brings the authority's answer."""
    uri, _ = redirect_of(sign_in_uri)
    async with httpx.AsyncClient(timeout=30) as client:
        return await (client.post(uri, data=params) if form else client.get(uri, params=params))


def threads_in_msal() -> int:
    """How many threads have MSAL's code, or what it calls, on their stack."""
    found = 0
    for frame in sys._current_frames().values():
        at: Any = frame
        while at is not None and "/msal/" not in at.f_code.co_filename:
            at = at.f_back
        found += at is not None
    return found


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def discovery(**changes: Any) -> Behaviour:
    """The OpenID discovery document of a server, as its answer."""

    async def behave(server: Server, stream: ByteStream) -> None:
        url = f"{server.url}/tenant"
        document = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "device_authorization_endpoint": f"{url}/devicecode",
        }
        await answer(200, {**document, **changes})(server, stream)

    return behave


def device_code(**changes: Any) -> Behaviour:
    flow = {
        "user_code": "ABC",
        "device_code": "the-device-code",
        "verification_uri": "https://entra.example/device",
        "expires_in": 900,
        "interval": 5,
    }
    return answer(200, {**flow, **changes})


def tokens(**changes: Any) -> Behaviour:
    found = {
        "access_token": "opaque-access-token",
        "refresh_token": "opaque-refresh-token",
        "expires_in": 3600,
        "scope": SCOPE,
    }
    user = {"client_info": "eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ", "token_type": "Bearer", "scope": SCOPE}  # uid u, utid t
    return answer(200, {**found, **user, **changes})
