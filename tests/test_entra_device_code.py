"""Signing in with a code on another device, with real MSAL, against the emulator and against servers that misbehave."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from entra_users import (
    AUTHORITY,
    SCOPE,
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
from servers import announcing, answer, reset, serve, silence

from anyio_acs_credential import ServiceError, SignInRequiredError, TokenSourceError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential
from anyio_acs_credential.entra._device_code import _print

if TYPE_CHECKING:
    from servers import Behaviour, Server

PENDING = answer(400, {"error": "authorization_pending"})
SLOW_DOWN = answer(400, {"error": "slow_down"})


def at(server: Server, **options: Any) -> DeviceCodeCredential:
    return DeviceCodeCredential("app", authority=f"{server.url}/tenant", verify=trusting(), **options)


def quiet(_uri: str, _code: str, _expires_on: int) -> None:
    pass


async def test_a_person_signs_in_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is shown once, polled at the authority's pace, and the token belongs to who entered it."""
    pauses = skip_pauses(monkeypatch)
    async with open_emulator() as emulator:
        shown: list[Any] = []

        def show(uri: str, code: str, expires_on: int) -> None:
            shown.append((uri, expires_on))
            emulator.approve(code, "alice")

        credential = DeviceCodeCredential(emulator.client_id, prompt_callback=show, **signing_in_at(emulator))
        await credential.sign_in(SCOPE)
        token = await credential.get_token(SCOPE)
        assert token.claims["name"] == "alice"
        assert pauses == [5]
        assert [uri for uri, _ in shown] == [f"{emulator.endpoint}/device"]
        assert 890 < shown[0][1] - time.time() <= 900
        assert token_requests(emulator) == 1


async def test_a_prompt_may_be_async(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    async with open_emulator() as emulator:

        async def show(_uri: str, code: str, _expires_on: int) -> None:
            await anyio.lowlevel.checkpoint()
            emulator.approve(code, "alice")

        await DeviceCodeCredential(emulator.client_id, prompt_callback=show, **signing_in_at(emulator)).sign_in(SCOPE)


async def test_without_a_prompt_a_line_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    await _print("https://entra.example/device", "ABC", 5)
    assert capsys.readouterr().out == "To sign in, open https://entra.example/device and enter the code ABC\n"
    assert DeviceCodeCredential("app")._prompt is _print


async def test_an_authority_writes_nothing_to_the_terminal_but_text(capsys: pytest.CaptureFixture[str]) -> None:
    await _print("https://entra.example/\x1b[2J\r", "A\x07B\u202e", 5)
    assert capsys.readouterr().out == "To sign in, open https://entra.example/[2J and enter the code AB\n"


async def test_it_waits_as_the_authority_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`slow_down` lengthens the interval for good; a failure doubles one pause, or is as long as `Retry-After` says."""
    pauses = skip_pauses(monkeypatch)
    script: list[Behaviour] = [
        discovery(),
        device_code(),
        PENDING,
        SLOW_DOWN,
        PENDING,
        answer(503),
        reset(),
        answer(429, None, ("Retry-After", "90")),
        PENDING,
        answer(200, b"<html>"),
        answer(400, {"error": "invalid_grant", "error_codes": [50196]}),
        tokens(),
    ]
    async with serve(*script, tls=server_context()) as server:
        await at(server, prompt_callback=quiet).sign_in(SCOPE)
    assert pauses == [5, 5, 10, 10, 20, 40, 90, 10, 20, 40]


@pytest.mark.parametrize(("interval", "pause"), [(0, 1), (-5, 1), ("7", 7), (10**9, 60)])
async def test_an_absurd_interval_is_bounded(interval: Any, pause: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0 seconds, MSAL itself would poll in a circle."""
    pauses = skip_pauses(monkeypatch)
    script = discovery(), device_code(interval=interval), PENDING, tokens()
    async with serve(*script, tls=server_context()) as server:
        await at(server, prompt_callback=quiet).sign_in(SCOPE)
        assert pauses == [pause, pause]
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("first", "error", "says"),
    [
        (answer(400, {"error": "unauthorized_client", "error_description": "no"}), ServiceError, "client_id and"),
        (answer(401, {"error": "invalid_client"}), ServiceError, "public clients"),
        (answer(400, {"error": "invalid_scope"}), ServiceError, "correct the scopes"),
        (answer(200, {}), TokenSourceError, "no code for a person"),
        (device_code(user_code=5), TokenSourceError, "no code for a person"),
        (device_code(interval="soon"), TokenSourceError, "MSAL failed"),
        (answer(200, []), ServiceError, "malformed"),
        (answer(200, b"{"), ServiceError, "malformed"),
        (answer(302, None, ("Location", "https://127.0.0.1/")), ServiceError, "redirects are never followed"),
        (answer(500), ServiceError, "try again later"),
    ],
)
async def test_without_a_code_nothing_is_shown(first: Behaviour, error: type[Exception], says: str) -> None:
    async with serve(discovery(), first, tls=server_context()) as server:
        with pytest.raises(error, match=says):
            await at(server, prompt_callback=lambda *_: pytest.fail("shown")).sign_in(SCOPE)


async def test_an_authority_without_device_codes_says_so() -> None:
    async with serve(discovery(device_authorization_endpoint=None), tls=server_context()) as server:
        with pytest.raises(TokenSourceError, match="device authorization endpoint"):
            await at(server).sign_in(SCOPE)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (discovery(issuer="https://elsewhere.example/"), "issuer"),
        (answer(404, {"error": "invalid_tenant"}), "authority configuration"),
    ],
)
async def test_a_wrong_authority_is_permanent(document: Behaviour, says: str) -> None:
    async with serve(document, tls=server_context()) as server:
        with pytest.raises(TokenSourceError, match=says) as raised:
            await at(server).sign_in(SCOPE)
        assert raised.value.permanent


async def test_an_authority_that_answers_again_is_used_again() -> None:
    """A failed discovery is not remembered."""
    async with serve(answer(503), discovery(), answer(400, {"error": "x"}), tls=server_context()) as server:
        credential = at(server)
        for says in ("503", r"refused \(x\)"):
            with pytest.raises(TokenSourceError, match=says):
                await credential.sign_in(SCOPE)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (answer(400, {"error": "authorization_declined"}), r"only a person can help \(authorization_declined\)"),
        (answer(400, {"error": "expired_token"}), r"only a person can help \(expired_token\)"),
    ],
)
async def test_a_person_who_declines_is_an_error(last: Behaviour, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    async with serve(discovery(), device_code(), PENDING, last, tls=server_context()) as server:
        with pytest.raises(SignInRequiredError, match=says) as raised:
            await at(server, prompt_callback=quiet).sign_in(SCOPE)
        assert raised.value.permanent


@pytest.mark.parametrize("expires_in", [0, -1, 1])
async def test_nobody_is_waited_for_beyond_the_codes_life(expires_in: int) -> None:
    async with serve(discovery(), device_code(expires_in=expires_in), PENDING, tls=server_context()) as server:
        with pytest.raises(SignInRequiredError, match="nobody entered the code before it expired"):
            await at(server, prompt_callback=quiet).sign_in(SCOPE)


async def test_an_answer_that_will_not_change_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    refusal = answer(400, {"error": "invalid_request"})
    async with serve(discovery(), device_code(), refusal, tls=server_context()) as server:
        with pytest.raises(ServiceError, match="application's registration"):
            await at(server, prompt_callback=quiet).sign_in(SCOPE)
        assert len(server.requests) == 3


@pytest.mark.promise("R57")
@pytest.mark.parametrize("where", ["discovery", "code", "person", "poll"])
async def test_a_cancelled_sign_in_is_over_at_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left in a thread, and its connections are closed."""
    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    def show(*_: object) -> None:
        if where == "person":
            waiting.set()

    if where == "poll":
        skip_pauses(monkeypatch)
    scripts: dict[str, list[Behaviour]] = {
        "discovery": [hang],
        "code": [discovery(), hang],
        "person": [discovery(), device_code()],
        "poll": [discovery(), device_code(), hang],
    }
    async with serve(*scripts[where], tls=server_context()) as server:
        credential = at(server, prompt_callback=show)
        async with anyio.create_task_group() as group:
            group.start_soon(credential.sign_in, SCOPE)
            with anyio.fail_after(30):
                await waiting.wait()
            assert threads_in_msal() == (where != "person")
            group.cancel_scope.cancel()
        assert threads_in_msal() == 0
        with anyio.fail_after(30):
            while server.open:  # noqa: ASYNC110 - the server learns of a closed connection when it reads
                await anyio.sleep(0.001)
        with pytest.raises(SignInRequiredError, match="nobody has signed in yet"):
            await credential.get_token(SCOPE)


@pytest.mark.promise("R57")
async def test_asyncios_own_cancellation_ends_a_handshake_too(anyio_backend_name: str) -> None:
    """A connection that is being made is no client's yet, and would last until its own time-out."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no such thing")
    import asyncio

    waiting = anyio.Event()
    greet = announcing(waiting, silence())

    async with serve(greet=greet) as server:
        credential = DeviceCodeCredential("app", authority=f"https://127.0.0.1:{server.port}/tenant")
        task = asyncio.create_task(credential.sign_in(SCOPE))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(30):
            while threads_in_msal():  # noqa: ASYNC110 - threads tell nobody when they end
                await anyio.sleep(0.001)


@pytest.mark.promise("R57")
@pytest.mark.parametrize("kept", [False, True])
async def test_asyncios_own_cancellation_ends_the_thread_too(anyio_backend_name: str, kept: bool) -> None:
    """It goes past anyio's scopes; the request fails, and what comes next has a client again."""
    if anyio_backend_name != "asyncio":
        pytest.skip("trio has no such thing")
    import asyncio

    waiting = anyio.Event()
    hang = announcing(waiting, silence())

    async with serve(hang, discovery(), answer(400, {"error": "x"}), tls=server_context()) as server:
        credential = at(server)
        if kept:
            await credential.__aenter__()
        task = asyncio.create_task(credential.sign_in(SCOPE))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(30):
            while threads_in_msal():  # noqa: ASYNC110 - threads tell nobody when they end
                await anyio.sleep(0.001)
        with pytest.raises(TokenSourceError, match=r"refused \(x\)"):
            await credential.sign_in(SCOPE)
        if kept:
            await credential.__aexit__(None, None, None)


@pytest.mark.promise("R58")
async def test_cancelled_sign_ins_do_not_pile_up() -> None:
    """Twenty in a row use one thread after the other, and none of the default limiter's."""
    calls = 0
    waiting = anyio.Event()

    async def hang(server: Server, stream: Any) -> None:
        nonlocal calls
        calls += 1
        waiting.set()
        await silence()(server, stream)

    async with serve(hang, tls=server_context()) as server:
        credential = at(server)
        before = threading.active_count()
        for _ in range(20):
            waiting = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(credential.sign_in, SCOPE)
                await waiting.wait()
                assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
                assert threads_in_msal() == 1
                group.cancel_scope.cancel()
        assert calls == 20
        assert threads_in_msal() == 0
        assert threading.active_count() <= before + 1


@pytest.mark.promise("R32")
async def test_a_redirect_is_not_followed() -> None:
    """Not by discovery, which MSAL's own HTTP would."""
    async with serve(answer(200, {})) as target:
        away = answer(307, None, ("Location", f"{target.url}/elsewhere"))
        async with serve(away, tls=server_context()) as server:
            with pytest.raises(ServiceError, match="redirects are never followed"):
                await at(server).sign_in(SCOPE)
        assert target.connections == 0


@pytest.mark.promise("R34")
async def test_the_environment_does_not_decide_whom_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """An authority that is trusted by a variable alone, as `requests` would, gets no byte of ours."""
    bundle = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(bundle))
    async with serve(discovery(), tls=server_context()) as server:
        credential = DeviceCodeCredential("app", authority=f"{server.url}/tenant", verify=True)
        with pytest.raises(ServiceError, match="no secure connection") as raised:
            await credential.sign_in(SCOPE)
        assert not raised.value.permanent  # it may be a portal's, to which a person has yet to log in
        assert server.requests == []


async def test_signing_in_again_changes_whose_tokens_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    async with open_emulator() as emulator:
        credential = DeviceCodeCredential(
            emulator.client_id,
            prompt_callback=lambda _uri, code, _expires_on: emulator.approve(code, people.pop()),
            **signing_in_at(emulator),
        )
        people = ["bob", "alice"]
        for name in ("alice", "bob"):
            await credential.sign_in(SCOPE)
            assert (await credential.get_token(SCOPE)).claims["name"] == name
            clock.ahead += 3500
            assert (await credential.get_token(SCOPE)).claims["name"] == name


async def test_a_prompt_that_does_not_fit_is_refused_before_a_code_is_made() -> None:
    async with open_emulator() as emulator:
        prompt: Any = approving
        credential = DeviceCodeCredential(emulator.client_id, prompt_callback=prompt, **signing_in_at(emulator))
        with pytest.raises(TypeError, match="prompt_callback is called with verification_uri, user_code and expires_"):
            await credential.sign_in(SCOPE)
        assert emulator.requests == ()


async def test_scopes_are_checked_before_anything_happens() -> None:
    credential = DeviceCodeCredential("app", prompt_callback=approving)  # type: ignore[arg-type]
    for scopes, error, says in [
        ((), ValueError, "there is no scope"),
        (("",), ValueError, "text without white space"),
        (("a b",), ValueError, "text without white space"),
        ((5,), TypeError, "a scope is text, not int"),
        (("openid", SCOPE), ValueError, "leave out offline_access, openid, profile"),
    ]:
        for method in (credential.sign_in, credential.get_token):
            with pytest.raises(error, match=says):
                await method(*scopes)  # type: ignore[arg-type]


@pytest.mark.promise("R57")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_whose_sign_in_was_cancelled_ends(backend: str, tmp_path: Any) -> None:
    """MSAL's own HTTP would keep the interpreter for as long as the authority is silent."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = AUTHORITY.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    script = f"""
import anyio, ssl
from anyio.streams.tls import TLSListener
from anyio_acs_credential.entra import DeviceCodeCredential

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain({str(tmp_path / "server.pem")!r})
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with anyio.create_task_group() as group:

        async def silence(stream):
            await stream.receive()
            group.cancel_scope.cancel()

        group.start_soon(TLSListener(listener, context).serve, silence)
        authority = f"https://127.0.0.1:{{port}}/tenant"
        await DeviceCodeCredential("app", authority=authority, verify={str(tmp_path / "ca.pem")!r}).sign_in("a-scope")

anyio.run(main, backend={backend!r})
print("over")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)  # noqa: S603 - our own interpreter
    assert done.stdout == "over\n"
