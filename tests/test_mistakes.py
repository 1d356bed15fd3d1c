"""Mistakes in a test that would make it prove nothing: each is an error at once that names the fix."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("anycorn", reason="the emulator is an extra")

from anyio_acs_credential.emulator import Fault, open_emulator

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
