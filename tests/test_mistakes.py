"""Mistakes in a test that would make it prove nothing: each is an error at once that names the fix."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from clocks import REAL_TIME

pytest.importorskip("anycorn", reason="the emulator is an extra")

from anyio_acs_credential import (
    DEFAULT_SCOPE,
    CommunicationTokenCredential,
    CredentialPool,
    CredentialUsageError,
)
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.emulator._faults import Fault
from anyio_acs_credential.fleet import MemoryTokenStore
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time

SWITCHES: dict[str, Any] = {
    "fail": lambda emulator, target: emulator.fail(target),
    "delay": lambda emulator, target: emulator.delay(target, 1),
    "hang": lambda emulator, target: emulator.hang(target),
    "reset": lambda emulator, target: emulator.reset(target),
    "answer": lambda emulator, target: emulator.answer(target),
}


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
async def test_a_fault_for_no_operation_is_refused_with_the_nearest(switch: Any) -> None:
    async with open_emulator() as emulator:
        for target, meant in {
            "issueAccesToken": "issueAccessToken",
            "POST /identites$": "identities",
            "/identities/.*:revokeAccessToken$": "revokeAccessTokens",
            "exchangeAccesToken": "exchangeAccessToken",
        }.items():
            with pytest.raises(ValueError, match=re.escape(f"{target!r}: did you mean {meant!r}? It has ")):
                switch(emulator, target)
        with pytest.raises(ValueError, match=r"fits the target 'quux'\. It has .*POST /identities/\{identity\}/:issue"):
            switch(emulator, "quux")
        emulator.fail("POST /identities$", status=429)
        assert len(emulator._faults._armed) == 1  # what was refused is not there


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_method_that_the_operation_lacks_is_refused(method: str) -> None:
    async with open_emulator() as emulator:
        with pytest.raises(ValueError, match="no operation"):
            emulator.fail(f"{method} /identities$")


async def test_a_fault_may_be_for_any_operation_user_and_tenant() -> None:
    """By a regular expression, for one user, known or not yet, and for what an ordered answer invents."""
    async with open_emulator() as emulator:
        known = emulator._service.create_identity()
        for target in (
            "",
            "/",
            "(issue|exchange)AccessToken$",
            "POST .*/devicecode$",
            "^DELETE /identities/",
            f"{re.escape(known)}/:issueAccessToken",
            re.escape("8:orgid:not-yet") + "/:issueAccessToken$",
            f"/{emulator.tenant_id}/oauth2/v2.0/token$",
            "/organizations/",
        ):
            emulator.fail(target)
        with pytest.raises(ValueError, match="ordered with answer"):
            emulator.fail("/calling/")
        emulator.answer(r"GET /calling/callConnections/1$", body="{}")
        emulator.fail("/calling/", times=1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"status": 99}, "from 400 to 599, not 99"),
        ({"times": -1}, "1 or more"),
        ({"times": 0}, "1 or more"),
        ({"seconds": -1}, "not negative"),
        ({"seconds": 0}, "is never met"),
        ({"delay": -0.5}, "not negative"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Fault(target="", action="fail", **wrong)


@pytest.mark.parametrize(
    "wrong", [{"status": "503"}, {"times": True}, {"times": 1.5}, {"delay": "1"}, {"delay": None}, {"body": {}}]
)
def test_a_fault_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(TypeError, match=f"{name} is "):
        Fault(target="", action="fail", **wrong)


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
async def test_a_target_that_no_request_has_is_refused(switch: Any) -> None:
    """An ordered answer would invent an operation that is never met."""
    async with open_emulator() as emulator:
        for target, advice in {
            "/identities?api-version=2023-10-01": "leave out the query",
            re.escape("GET /calling/callConnections?api-version=2023-10-01"): "leave out the query",
            r"GET /calling/callConnections\?": "leave out the query",
            "https://127.0.0.1/calling/callConnections": "leave out the scheme and the host",
            "post /identities$": "write the method in capitals",
            "^get /calling/callConnections": "write the method in capitals",
        }.items():
            with pytest.raises(ValueError, match=f"fits the target {re.escape(repr(target))}: {advice}.* It has "):
                switch(emulator, target)
        assert emulator._faults._armed == []


async def test_patterns_with_a_question_mark_are_no_queries() -> None:
    async with open_emulator() as emulator:
        for target in ("GET /calling/(?:one)?/x", "/calling/.*?id=1", "(?P<n>/calling/1)(?P=n)?", "/a?$"):
            emulator.answer(target)


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES)
async def test_a_target_that_is_no_text_is_refused(switch: Any) -> None:
    async with open_emulator() as emulator:
        for target in (re.compile("issueAccessToken"), b"issueAccessToken", None):
            says = f"target is the text of a regular expression, not {type(target).__name__}: give the pattern"
            with pytest.raises(TypeError, match=says):
                switch(emulator, target)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"retry_after": timedelta(seconds=1)}, TypeError, r"not timedelta: give int\(wait.total_seconds"),
        ({"retry_after": True}, TypeError, "not bool"),
        ({"retry_after": 1.5}, TypeError, "not float"),
        ({"retry_after": math.nan}, TypeError, "not float"),
        ({"retry_after": -1}, ValueError, "not negative, not -1: give any other header as text"),
        ({"retry_after": "1\r\nDate: today"}, ValueError, "'Retry-After' cannot be sent"),
        ({"seconds": math.nan}, ValueError, "not negative, not nan"),
        ({"seconds": timedelta(seconds=1)}, TypeError, "seconds is a number of seconds, or None .*, not timedelta"),
    ],
)
async def test_a_wait_that_cannot_be_is_refused(wrong: dict[str, Any], kind: type[Exception], says: str) -> None:
    """It would go into a header as it is."""
    async with open_emulator() as emulator:
        with pytest.raises(kind, match=says):
            emulator.fail("", **wrong)
        for good in (0, 7, "-1", "soon", None):
            emulator.fail("", retry_after=good)


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf, timedelta(seconds=1), None, "1"])
async def test_a_delay_that_cannot_be_is_refused(delay: Any) -> None:
    async with open_emulator() as emulator:
        with pytest.raises((TypeError, ValueError), match=r"delay is a number of seconds, .*not"):
            emulator.delay("", delay)


@pytest.mark.parametrize(
    ("headers", "kind", "says"),
    [
        (5, TypeError, "headers are a mapping, .*not int"),
        ("Date", TypeError, "headers are a mapping, .*not str"),
        ({"Retry-After": 5}, TypeError, "which are text, not tuple"),
        ([("Date",)], TypeError, "which are text, not tuple"),
        ({"Date": "1\n2"}, ValueError, "the header 'Date' cannot be sent"),
        ({"Content Type": "text/html"}, ValueError, "the header 'Content Type' cannot be sent"),
        ({"Date": "\u20ac"}, ValueError, "a line of Latin-1"),
    ],
)
async def test_headers_that_cannot_be_sent_are_refused(headers: Any, kind: type[Exception], says: str) -> None:
    async with open_emulator() as emulator:
        with pytest.raises(kind, match=says):
            emulator.answer("", headers=headers)
        emulator.answer("", headers=[["Date", "\u00e4"], ("X", "")])  # type: ignore[list-item]


async def test_what_cannot_be_assigned_is_refused_with_what_can_be() -> None:
    """Python would take any name, and the test would go on without what it meant to set."""
    async with open_emulator() as emulator:
        with pytest.raises(
            AttributeError, match=r"token_lifetime .* not assigned: give open_emulator\(token_lifetime="
        ):
            emulator.token_lifetime = 5  # type: ignore[attr-defined]
        rest = "not assigned: assign to clock_offset or sign_in_as or single_use_refresh_tokens alone"
        for name in ("endpoint", "access_key", "requests", "fail", "_log"):
            with pytest.raises(AttributeError, match=f"{name} of an open emulator is {rest}"):
                setattr(emulator, name, 5)
        emulator.clock_offset, emulator.sign_in_as, emulator.single_use_refresh_tokens = 5, "alice", True
        assert (emulator.clock_offset, emulator.sign_in_as, emulator.single_use_refresh_tokens) == (5, "alice", True)
        emulator.sign_in_as = None


async def test_switches_for_people_take_text() -> None:
    async with open_emulator() as emulator:
        wrong: Any = 5
        with pytest.raises(TypeError, match="single_use_refresh_tokens is True or False, not str"):
            emulator.single_use_refresh_tokens = "no"  # type: ignore[assignment]
        with pytest.raises(TypeError, match="sign_in_as is text, not int"):
            emulator.sign_in_as = wrong
        for call in (
            lambda: emulator.add_user(wrong),
            lambda: emulator.add_redirect_uri(wrong),
            lambda: emulator.approve(wrong),
            lambda: emulator.approve("code", user=wrong),
            lambda: emulator.decline(wrong),
            lambda: emulator.issue_entra_token(DEFAULT_SCOPE, user=wrong),
        ):
            with pytest.raises(TypeError, match="is text, not int"):
                call()


async def test_a_clock_that_is_a_class_is_refused() -> None:
    wrong: Any = VirtualClock
    with pytest.raises(TypeError, match="such as the time module, not the class VirtualClock"):
        async with open_emulator(clock=wrong):
            pass


async def test_revoking_the_sign_ins_of_nobody_is_refused() -> None:
    async with open_emulator() as emulator:
        with pytest.raises(ValueError, match="'alcie'; those who signed in or were added: nobody yet"):
            emulator.revoke_refresh_tokens("alcie")
        emulator.add_user("alice")
        with pytest.raises(ValueError, match="'alcie'; those who signed in or were added: 'alice'"):
            emulator.revoke_refresh_tokens("alcie")
        emulator.revoke_refresh_tokens("alice")


@pytest.mark.parametrize("backend", anyio.get_available_backends())
def test_the_real_clock_in_virtual_time_is_refused_by_name(backend: str) -> None:
    """A forgotten `clock=` of what hands out tokens; in real time, and with any other clock, all is well."""

    async def use(**clock: Any) -> None:
        await ScriptedSource(3600, **clock)()
        async with open_emulator(**clock), MemoryTokenStore(**clock):
            pass
        async with CommunicationTokenCredential(token_refresher=fetch, **clock) as entered:
            await entered.get_token()

    async def fetch() -> str:
        await checkpoint()
        return make_jwt(86_400 * 365 * 100)

    async def forget() -> None:
        with pytest.raises(
            CredentialUsageError, match=r"give ScriptedSource and the credential the same clock=Virtual"
        ):
            ScriptedSource("text", 3600)
        with pytest.raises(CredentialUsageError, match="same clock=VirtualClock"):
            await early()
        with pytest.raises(CredentialUsageError, match="open_emulator goes by the real clock"):
            async with open_emulator():
                pass
        store = MemoryTokenStore()
        for _ in range(2):  # it is as it was
            with pytest.raises(CredentialUsageError, match="give MemoryTokenStore and the credential the same clock"):
                await store.__aenter__()
        with pytest.raises(CredentialUsageError, match="give the credential and its source the same clock=Virtual"):
            async with credential:
                pass
        async with CredentialPool[str](lambda _: credential) as pool:
            with pytest.raises(CredentialUsageError, match="the credential goes by the real clock"):
                async with pool.use("alice"):
                    pass
        async with CommunicationTokenCredential(make_jwt()) as static:
            await static.get_token()  # it renews nothing, and no sleep of a test is meant to end it
        await ScriptedSource("text")()  # a text goes by no clock
        await use(clock=VirtualClock())
        async with CommunicationTokenCredential(token_refresher=fetch, clock=REAL_TIME):
            pass  # the real time, and on purpose

    credential = CommunicationTokenCredential(token_refresher=fetch)
    early = ScriptedSource(3600)
    anyio.run(forget, **virtual_time(backend))
    anyio.run(use, backend=backend)


@pytest.mark.parametrize(
    ("module", "use", "says"),
    [
        ("trio", 'anyio_acs_credential.testing.virtual_time("trio")', 'pip install ".[trio]"'),
        ("httpx2", "import anyio_acs_credential.httpx2", "httpx2 is not installed: pip install httpx2"),
        ("anycorn", "import anyio_acs_credential.emulator", 'pip install ".[emulator]"'),
        ("azure", "import anyio_acs_credential.azure", 'pip install ".[azure]"'),
        ("opentelemetry", "import anyio_acs_credential.otel", 'pip install ".[otel]"'),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_brings_it(module: str, use: str, says: str) -> None:
    script = f"import sys; sys.modules[{module!r}] = None; import anyio_acs_credential.testing; {use}"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)  # noqa: S603
    last = next(line for line in done.stderr.splitlines() if line.startswith("ImportError: "))
    assert "is not installed: pip install " in last
    assert says in last


def test_virtual_time_without_trio_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)
    with pytest.raises(ImportError, match=r"trio is not installed: .* in a clone pip install \"\.\[trio\]\""):
        virtual_time("trio")
