"""`acs-credential teams-phone`: who may use Teams Phone, shown, allowed and removed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from command_line import emulator_in_a_thread, environment_of, finish, is_a_line, start

pytest.importorskip("click", reason="the command line is an extra")

from anyio_acs_credential.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio_acs_credential.emulator import Emulator

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
TENANT, PERSON = "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "e5b7f628-ea94-4fdc-b3d9-1af1fe231111"
APP = "1fd5118e-2576-4263-8130-9503064c837a"
IDS = [TENANT, PERSON]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_a_thread() as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator._service.assignments.clear()
    for name, value in environment_of(emulator).items():
        monkeypatch.setenv(name, value)


@BACKENDS
def test_allowed_shown_and_removed(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(backend)
    options = ["--backend", backend, *IDS]
    known = [f"tenant        {TENANT}", f"object        {PERSON}"]
    allowed = [*known, "allowed       yes", "kind          user", "applications  none is named"]
    assert main(["teams-phone", "allow", *options]) == 0
    assert capsys.readouterr().out.splitlines() == allowed
    assert main(["teams-phone", "show", *options]) == 0
    assert capsys.readouterr().out.splitlines() == allowed
    assert main(["teams-phone", "remove", *options]) == 0
    assert capsys.readouterr().out.splitlines() == [*known, "allowed       no"]
    assert main(["teams-phone", "show", *options]) == 1
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert f"`acs-credential teams-phone allow {TENANT} {PERSON}`" in err


def test_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    """As an object; of a resource account, and with applications."""

    def told(*arguments: str) -> dict[str, object]:
        assert main(["teams-phone", *arguments, "--json", *IDS]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        said: dict[str, object] = json.loads(out)
        return said

    ids = {"tenant_id": TENANT, "object_id": PERSON}
    account = {**ids, "allowed": True, "principal_type": "resource_account", "client_ids": []}
    assert told("allow", "--resource-account") == account
    assert told("show") == account
    applications = [option for client in (APP, PERSON) for option in ("--client-id", client)]
    user = {**ids, "allowed": True, "principal_type": "user", "client_ids": [APP, PERSON]}
    assert told("allow", *applications) == user
    assert told("show") == user
    assert told("remove") == {**ids, "allowed": False}


def test_nobody_has_allowed_it_for_a_program(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """An object as well, beside the status and the line that says what to run; and none where the resource refuses."""
    assert main(["teams-phone", "show", "--json", *IDS]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"tenant_id": TENANT, "object_id": PERSON, "allowed": False}
    assert is_a_line(err)
    assert f"`acs-credential teams-phone allow {TENANT} {PERSON}`" in err
    emulator.fail("GET .*/assignments/", status=403)
    try:
        assert main(["teams-phone", "show", "--json", *IDS]) == 1
    finally:
        emulator.heal()
    assert capsys.readouterr().out == ""


def test_applications_are_listed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teams-phone", "allow", "--client-id", APP, "--client-id", PERSON, *IDS]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"applications  {APP}, {PERSON}"


@pytest.mark.once
def test_as_a_process() -> None:
    """With the connection string in the environment, or as an option, which wins."""
    assert finish(start("teams-phone", "allow", "--json", *IDS))[::2] == (0, "")
    nonsense = start("teams-phone", "show", "--connection-string", "nonsense", *IDS)
    assert finish(nonsense)[:2] == (2, "")


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["show"], "'TENANT'"),
        (["show", TENANT], "'OBJECT'"),
        (["show", "c2VjcmV0", PERSON], "give the id that Entra shows"),
        (["remove", TENANT, "c2VjcmV0"], "give the id that Entra shows"),
        (["allow", "--client-id", "c2VjcmV0", *IDS], "give the id that Entra shows"),
        (["allow", *IDS, "extra"], "unexpected extra argument"),
        (["allow", "--backend", "curio", *IDS], "'asyncio', 'trio'"),
        (["shwo", *IDS], "acs-credential teams-phone --help"),
    ],
)
def test_nonsense_is_answered_with_the_fix(arguments: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line that repeats no secret."""
    assert main(["teams-phone", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert fix in err
    assert "c2VjcmV0" not in err


def test_alone_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teams-phone"]) == 0
    assert "acs-credential teams-phone remove" in capsys.readouterr().out


def test_without_a_connection_string(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACS_CONNECTION_STRING")
    assert main(["teams-phone", "show", *IDS]) == 2
    assert "there is no connection string: set ACS_CONNECTION_STRING" in capsys.readouterr().err


def test_a_resource_that_refuses(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"error": {"code": "SubscriptionNotAllowed", "message": "No."}})
    emulator.answer("PUT .*/assignments/", status=403, body=body)
    try:
        assert main(["teams-phone", "allow", *IDS]) == 1
    finally:
        emulator.heal()
    out, err = capsys.readouterr()
    assert (out, is_a_line(err)) == ("", True)
    assert "403 Forbidden (SubscriptionNotAllowed)" in err
