"""Mistakes in a test that would make it prove nothing: each is an error at once that names the fix."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from clocks import REAL_TIME

pytest.importorskip("anycorn", reason="the emulator is an extra")

from anyio_acs_credential import CommunicationTokenCredential, CredentialPool, CredentialUsageError
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
