"""Signing in with a browser, which is played here: it brings the answer to the loopback port, or something else."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import msal
import pytest
from anyio.lowlevel import checkpoint, current_token
from entra_users import (
    SCOPE,
    TEAMS,
    bring,
    code_for,
    discovery,
    redirect_of,
    server_context,
    signing_in_at,
    threads_in_msal,
    token_requests,
    tokens,
    trusting,
)
from redacted import Redacted
from servers import answer, serve, silence

from anyio_acs_credential import CredentialUsageError, ServiceError, SignInRequiredError, TokenSourceError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import InteractiveBrowserCredential, _browser, _loopback, _redirect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from anyio.abc import TaskGroup
    from servers import Behaviour, Server

    from anyio_acs_credential.emulator import Emulator


class Browser:
    """Opens no window: `visit` is run in the event loop with the address that a person would be shown."""

    def __init__(self, group: TaskGroup, visit: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        self._group = group
        self._visit = visit
        self._loop = current_token()
        self.threads: list[int] = []

    def open(self, uri: str) -> bool:
        self.threads.append(threading.get_ident())
        anyio.from_thread.run_sync(self._group.start_soon, self._visit, uri, token=self._loop)
        return True


@asynccontextmanager
async def browsing(visit: Callable[[str], Coroutine[Any, Any, None]]) -> AsyncGenerator[Browser]:
    """A browser whose visits are over when the block ends. What the block raises comes out alone."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as group:
        try:
            yield Browser(group, visit)
        except Exception as error:  # noqa: BLE001 - raised below, outside of the group
            failure = error
    if failure is not None:
        raise failure


def credential_of(emulator: Emulator, browser: Browser, **options: Any) -> InteractiveBrowserCredential:
    return InteractiveBrowserCredential(
        emulator.client_id, open_browser=browser.open, **{**signing_in_at(emulator), **options}
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("form", [True, False])
async def test_a_person_signs_in_with_a_browser(form: bool) -> None:
    """The answer comes as a form or in the address; PKCE holds; the page says what happened."""
    pages: list[httpx.Response] = []
    asked: dict[str, list[str]] = {}
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            asked.update(parse_qs(urlsplit(uri).query))
            pages.append(await bring(uri, code_for(emulator, uri, "alice"), form=form))

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser, login_hint="alice@contoso", prompt="login")
            await credential.sign_in(SCOPE)
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
        assert token_requests(emulator) == 1
        assert browser.threads != [threading.get_ident()]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_mode"] == ["form_post"]
    assert asked["login_hint"] == ["alice@contoso"]
    assert asked["prompt"] == ["login"]
    assert urlsplit(asked["redirect_uri"][0]).hostname == "localhost"
    assert pages[0].status_code == 200
    assert "<h1>You are signed in</h1>" in pages[0].text
    assert "default-src 'none'" in pages[0].headers["content-security-policy"]
    assert pages[0].headers["cache-control"] == "no-store"


async def test_texts_that_hide_themselves_are_what_they_hold() -> None:
    asked: dict[str, list[str]] = {}
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            asked.update(parse_qs(urlsplit(uri).query))
            await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:
            texts = {"login_hint": "alice@contoso", "prompt": "login", "redirect_uri": "http://localhost/back"}
            options = {name: Redacted(text) for name, text in texts.items()}
            await credential_of(emulator, browser, **options).sign_in(Redacted(SCOPE))
    assert [asked[name] for name in ("login_hint", "prompt")] == [["alice@contoso"], ["login"]]
    assert urlsplit(asked["redirect_uri"][0]).path == "/back"


async def test_the_port_and_path_of_the_registration_are_used() -> None:
    port = free_port()
    seen: list[str] = []
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            seen.append(redirect_of(uri)[0])
            await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:
            redirect_uri = f"http://127.0.0.1:{port}/back/here"
            await credential_of(emulator, browser, redirect_uri=redirect_uri).sign_in(SCOPE)
    assert seen == [redirect_uri]


async def test_a_port_that_is_taken_is_an_error_that_names_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        credential = InteractiveBrowserCredential("app", redirect_uri=f"http://localhost:{port}")
        with pytest.raises(CredentialUsageError, match=f"port {port} on 127.0.0.1 cannot be used .*leave the port out"):
            await credential.sign_in(SCOPE)


async def raw(uri: str, data: bytes) -> bytes:
    """What the loopback port answers to these bytes."""
    target = urlsplit(redirect_of(uri)[0])
    assert target.port
    async with await anyio.connect_tcp("127.0.0.1", target.port) as stream:
        await stream.send(data)
        await stream.send_eof()
        answered = b""
        try:
            while True:
                answered += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return answered


FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /favicon.ico HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /?code=stolen&state=guessed HTTP/1.1\r\n\r\n", 400),
        (b"GET /?state={state} HTTP/1.1\r\n\r\n", 400),
        (b"GET /?code=x&state=%C3%A9 HTTP/1.1\r\n\r\n", 400),
        (b"GET /?error=%C3%A9&state={state} HTTP/1.1\r\n\r\n", 400),
        (b"GET /?error=two%0Alines&state={state} HTTP/1.1\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\n" + FORM + b"\r\n", 411),
        (b"POST / HTTP/1.1\r\n" + FORM + b"Content-Length: -1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\n" + FORM + b"Content-Length: 100000\r\n\r\n" + bytes(100000), 413),
        (b"POST / HTTP/1.1\r\n" + FORM + b"Content-Length: 50\r\n\r\ncode=x", 400),
        (b"GET /" + b"a" * 100_000, 431),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"", 431),
        (b"GET http://localhost/ HTTP/1.1\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\n\r\n", 400),
    ],
)
async def test_what_is_not_the_answer_does_not_end_the_wait(data: bytes, status: int) -> None:
    """It is answered with an error, and the person can go on."""
    got: list[bytes] = []
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            got.append(await raw(uri, data.replace(b"{state}", redirect_of(uri)[1].encode())))
            await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser)
            await credential.sign_in(SCOPE)
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
    assert got[0].startswith(f"HTTP/1.1 {status} ".encode())
    assert b"stolen" not in got[0]


async def test_connections_that_stay_silent_or_break_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers open some in advance. One that takes too long is closed."""
    monkeypatch.setattr(_loopback, "_READ_TIMEOUT", 0.05)
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            port = urlsplit(redirect_of(uri)[0]).port
            assert port
            async with await anyio.connect_tcp("127.0.0.1", port) as silent:
                with pytest.raises(anyio.EndOfStream):
                    await silent.receive()
            monkeypatch.undo()  # the others have their time
            broken = await anyio.connect_tcp("127.0.0.1", port)
            await anyio.aclose_forcefully(broken)
            async with await anyio.connect_tcp("127.0.0.1", port):
                await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:
            await credential_of(emulator, browser).sign_in(SCOPE)


async def test_a_browser_that_is_gone_before_its_page_comes_is_signed_in_all_the_same() -> None:
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            target, _ = redirect_of(uri)
            query = httpx.QueryParams(code_for(emulator, uri, "alice"))
            port = urlsplit(target).port
            assert port
            stream = await anyio.connect_tcp("127.0.0.1", port)
            await stream.send(f"GET /?{query} HTTP/1.1\r\n\r\n".encode())
            await anyio.aclose_forcefully(stream)

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser)
            await credential.sign_in(SCOPE)
        await credential.get_token(SCOPE)


async def test_a_person_who_cancels_is_told_so_and_so_is_the_program() -> None:
    """The text comes from the address, so it stands on the page as text."""
    pages: list[str] = []
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            refusal = {"error": "access_denied", "error_description": "<b>no</b>", "state": redirect_of(uri)[1]}
            pages.append((await bring(uri, refusal)).text)

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser)
            with pytest.raises(SignInRequiredError, match=r"access_denied.*<b>no</b>"):
                await credential.sign_in(SCOPE)
        assert token_requests(emulator) == 0
    assert "<h1>The sign-in did not work</h1>" in pages[0]
    assert "&lt;b&gt;no&lt;/b&gt;" in pages[0]


async def test_a_code_that_is_not_accepted_is_told_to_the_person_too() -> None:
    pages: list[str] = []
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            answered = {"code": "canary-code-of-nobody", "state": redirect_of(uri)[1]}
            pages.append((await bring(uri, answered)).text)

        async with browsing(visit) as browser:
            with pytest.raises(SignInRequiredError, match="invalid_grant") as raised:
                await credential_of(emulator, browser).sign_in(SCOPE)
    assert "The sign-in did not work" in pages[0]
    assert "canary" not in f"{raised.value}{pages}"


async def test_an_id_token_for_another_sign_in_is_refused() -> None:
    """MSAL compares the nonce; its error, which shows both, is not passed on."""
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            other = code_for(emulator, uri.replace("nonce=", "nonce=x"), "mallory")
            await bring(uri, other)

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser)
            with pytest.raises(TokenSourceError, match="MSAL failed") as raised:
                await credential.sign_in(SCOPE)
        assert raised.value.__cause__ is None
        with pytest.raises(SignInRequiredError):
            await credential.get_token(SCOPE)


@pytest.mark.promise("R28")
async def test_a_silent_authority_is_told_to_the_person_too() -> None:
    pages: list[str] = []
    async with serve(discovery(), answer(503), tls=server_context()) as server:

        async def visit(uri: str) -> None:
            pages.append((await bring(uri, {"code": "a-good-code", "state": redirect_of(uri)[1]})).text)

        async with browsing(visit) as browser:
            credential = InteractiveBrowserCredential(
                "app", authority=f"{server.url}/tenant", verify=trusting(), open_browser=browser.open
            )
            with pytest.raises(ServiceError, match="503"):
                await credential.sign_in(SCOPE)
    assert "try again later" in pages[0]


def no_browser(_uri: str) -> bool:
    return False


def broken_browser(uri: str) -> bool:
    raise RuntimeError(uri)


@pytest.mark.parametrize(
    ("open_browser", "says"),
    [(no_browser, "open_browser returned False"), (broken_browser, "open_browser raised RuntimeError")],
)
async def test_without_a_browser_the_error_names_what_to_use(open_browser: Any, says: str) -> None:
    async with open_emulator() as emulator:
        options = signing_in_at(emulator)
        credential = InteractiveBrowserCredential(emulator.client_id, open_browser=open_browser, **options)
        with pytest.raises(TokenSourceError, match=rf"{says}.*use DeviceCodeCredential") as raised:
            await credential.sign_in(SCOPE)
        assert raised.value.permanent
        assert "state" not in str(raised.value)


@pytest.mark.promise("R45")
async def test_what_ends_the_program_comes_out_alone() -> None:
    """In no group, as `KeyboardInterrupt` would."""

    class EndOfProgram(BaseException):
        pass

    def interrupted(_uri: str) -> None:
        raise EndOfProgram

    async with open_emulator() as emulator:
        options = signing_in_at(emulator)
        credential = InteractiveBrowserCredential(emulator.client_id, open_browser=interrupted, **options)
        with pytest.raises(EndOfProgram):
            await credential.sign_in(SCOPE)


async def test_a_person_who_does_nothing_is_not_waited_for() -> None:
    async with open_emulator() as emulator, browsing(_do_nothing) as browser:
        credential = credential_of(emulator, browser, timeout=0.05)
        with pytest.raises(SignInRequiredError, match=r"nobody has signed in within 0\.05 seconds"):
            await credential.sign_in(SCOPE)


async def _do_nothing(_uri: str) -> None:
    pass


@pytest.mark.promise("R57")
@pytest.mark.parametrize("where", ["discovery", "person", "redeeming"])
async def test_a_cancelled_sign_in_frees_its_port_at_once(where: str) -> None:
    port = free_port()
    waiting = anyio.Event()

    async def hang(server: Server, stream: Any) -> None:
        waiting.set()
        await silence()(server, stream)

    async def visit(uri: str) -> None:
        if where == "person":
            waiting.set()
        else:
            with pytest.raises(httpx.HTTPError):  # the page will never come
                await bring(uri, {"code": "a-good-code", "state": redirect_of(uri)[1]})

    scripts: dict[str, list[Behaviour]] = {
        "discovery": [hang],
        "person": [discovery()],
        "redeeming": [discovery(), hang],
    }
    async with serve(*scripts[where], tls=server_context()) as server, browsing(visit) as browser:
        credential = InteractiveBrowserCredential(
            "app",
            authority=f"{server.url}/tenant",
            verify=trusting(),
            open_browser=browser.open,
            redirect_uri=f"http://localhost:{port}",
        )
        for _ in range(2):  # the second needs the port that the first had
            waiting = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(credential.sign_in, SCOPE)
                with anyio.fail_after(30):
                    await waiting.wait()
                group.cancel_scope.cancel()
            assert threads_in_msal() == 0
            with socket.create_server(("127.0.0.1", port)):
                pass


class Patience:
    """The seconds until somebody is told where a sign-in waits, which are over when `end` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.end = anyio.Event()
        self.began = anyio.Event()
        self.seconds: list[float] = []
        monkeypatch.setattr(_browser, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.began.set()
        await self.end.wait()


class Log(logging.Handler):
    """What the package's logger says, and an event for its first line."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.said = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.said.set()

    def __enter__(self) -> Log:
        logging.getLogger("anyio_acs_credential").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("anyio_acs_credential").removeHandler(self)


@pytest.mark.promise("R52")
@pytest.mark.parametrize("returns", [True, False], ids=["opened", "hangs"])
async def test_a_browser_that_fails_after_it_was_opened_is_told_of(
    returns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on WSL without one, where `webbrowser.open()` says that it worked. The sign-in goes on, by hand if need be."""
    patience = Patience(monkeypatch)
    shown: list[str] = []
    gate = threading.Event()

    def open_nothing(uri: str) -> bool:
        shown.append(uri)
        return returns or gate.wait(30)

    async def come_by_hand() -> None:
        await patience.began.wait()
        while not shown:  # noqa: ASYNC110 - a thread tells
            await anyio.sleep(0.001)
        assert log.records == []
        patience.end.set()
        with anyio.fail_after(10):
            await log.said.wait()
        await bring(shown[0], code_for(emulator, shown[0], "alice"))

    try:
        async with open_emulator() as emulator:
            credential = InteractiveBrowserCredential(
                emulator.client_id, open_browser=open_nothing, **signing_in_at(emulator)
            )
            with Log() as log:
                async with anyio.create_task_group() as group:
                    group.start_soon(come_by_hand)
                    await credential.sign_in(SCOPE)
            assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
    finally:
        gate.set()
    [record] = log.records
    said = record.getMessage()
    assert record.levelno == logging.WARNING
    assert f"http://localhost:{urlsplit(redirect_of(shown[0])[0]).port} yet" in said
    assert "use DeviceCodeCredential" in said
    asked = parse_qs(urlsplit(shown[0]).query)
    assert not [name for name in ("state", "nonce", "code_challenge") if asked[name][0] in said]
    assert patience.seconds == [_browser._PATIENCE]
    assert 3 <= _browser._PATIENCE <= 5


async def test_a_person_who_is_back_at_once_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anybody where there is no browser at all, which is an error."""
    patience = Patience(monkeypatch)
    with Log() as log:
        async with open_emulator() as emulator:

            async def visit(uri: str) -> None:
                await patience.began.wait()
                await bring(uri, code_for(emulator, uri, "alice"))

            async with browsing(visit) as browser:
                await credential_of(emulator, browser).sign_in(SCOPE)
            credential = InteractiveBrowserCredential(
                emulator.client_id, open_browser=no_browser, **signing_in_at(emulator)
            )
            with pytest.raises(TokenSourceError, match="no browser could be opened"):
                await credential.sign_in(SCOPE)
    assert log.records == []


@pytest.mark.promise("R57")
async def test_a_browser_that_does_not_return_holds_up_nothing() -> None:
    """One in a terminal returns when it is quit: it is left behind when the person is back."""
    gate = threading.Event()
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:

            def open_and_stay(uri: str) -> bool:
                browser.open(uri)
                return gate.wait(40)

            try:
                credential = InteractiveBrowserCredential(
                    emulator.client_id, open_browser=open_and_stay, **signing_in_at(emulator)
                )
                await credential.sign_in(SCOPE)
                assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            finally:
                gate.set()


@pytest.mark.promise("R58")
async def test_cancelled_sign_ins_do_not_pile_up() -> None:
    async with open_emulator() as emulator:
        opened = anyio.Event()

        async def visit(_uri: str) -> None:
            opened.set()

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser)
            before = threading.active_count()
            for _ in range(100):
                opened = anyio.Event()
                async with anyio.create_task_group() as group:
                    group.start_soon(credential.sign_in, SCOPE)
                    await opened.wait()
                    group.cancel_scope.cancel()
            assert threading.active_count() < before + 10  # each that was left would hold one
            assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


async def test_the_persons_answer_that_comes_too_late_leaves_no_connection_open() -> None:
    """Cancelled in the very moment in which the browser is back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with serve(discovery(), tokens(), tls=server_context()) as server:

            async def visit(uri: str) -> None:
                with pytest.raises(httpx.HTTPError):
                    await bring(uri, {"code": "a-good-code", "state": redirect_of(uri)[1]})

            async with browsing(visit) as browser:
                credential = InteractiveBrowserCredential(
                    "app", authority=f"{server.url}/tenant", verify=trusting(), open_browser=browser.open
                )
                with anyio.CancelScope() as scope:
                    read = _redirect.read_answer

                    async def read_and_cancel(*arguments: Any) -> dict[str, str]:
                        answered = await read(*arguments)
                        scope.cancel()
                        return answered

                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(_loopback, "read_answer", read_and_cancel)
                        await credential.sign_in(SCOPE)
                assert scope.cancelled_caught


async def test_a_browser_that_connects_as_the_sign_in_is_cancelled_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cancelled in the very moment in which a connection is there to be accepted."""
    async with open_emulator() as emulator:
        addresses: list[str] = []
        credential = InteractiveBrowserCredential(
            emulator.client_id, open_browser=addresses.append, **signing_in_at(emulator)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(credential.sign_in, SCOPE)
            while not addresses:  # noqa: ASYNC110 - a thread tells nobody
                await anyio.sleep(0.001)
            await anyio.wait_all_tasks_blocked()
            port = urlsplit(redirect_of(addresses[0])[0]).port
            browser = socket.create_connection(("127.0.0.1", port))
            await checkpoint()  # the event loop sees the connection, and has this task cancel before it accepts that
            group.cancel_scope.cancel()
        browser.close()
    gc.collect()
    assert caplog.messages == []


async def test_a_person_may_sign_in_under_another_name_than_the_hint() -> None:
    """Then that person's tokens are meant, for every scope."""
    async with open_emulator() as emulator:

        async def visit(uri: str) -> None:
            await bring(uri, code_for(emulator, uri, "alice"))

        async with browsing(visit) as browser:
            credential = credential_of(emulator, browser, login_hint="bob@contoso.example")
            await credential.sign_in(SCOPE)
            for scope in (SCOPE, TEAMS):
                assert (await credential.get_token(scope)).claims["name"] == "alice"


async def test_a_name_to_sign_in_with_picks_the_person_out_of_the_cache() -> None:
    cache = msal.TokenCache()
    async with open_emulator() as emulator:
        people = ["bob", "alice"]

        async def visit(uri: str) -> None:
            await bring(uri, code_for(emulator, uri, people.pop()))

        async with browsing(visit) as browser:
            for _ in range(2):
                await credential_of(emulator, browser, token_cache=cache).sign_in(SCOPE)
            names = {account["username"]: account for account in cache.search(cache.CredentialType.ACCOUNT)}
            [hint] = [name for name in names if name.startswith("alice")]
            credential = credential_of(emulator, browser, token_cache=cache, login_hint=hint)
            assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
