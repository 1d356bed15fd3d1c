"""Who may use Teams Phone: the methods of the identity client, and the emulator that keeps the assignments."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from emulated import client_of as http_of
from servers import answer, reset, serve
from test_access_key import KEY, expected

from anyio_acs_credential import (
    TEAMS_PHONE_SCOPE,
    AccessKeyAuth,
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    ServiceError,
    TeamsPhoneAssignment,
    TokenRefreshError,
)
from anyio_acs_credential._exchange.wire import allow_command, read_exchange
from anyio_acs_credential._http.answer import Answer
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential.emulator import open_emulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx
    from servers import Server

    from anyio_acs_credential.emulator import Emulator

TENANT, PERSON = "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "e5b7f628-ea94-4fdc-b3d9-1af1fe231111"
APP = "1fd5118e-2576-4263-8130-9503064c837a"
TARGET = f"/access/teamsExtension/tenants/{TENANT}/assignments/{PERSON}?api-version=2025-06-30"
STORED = {"objectId": PERSON, "tenantId": TENANT, "principalType": "user", "clientIds": [APP]}
KNOWN = TeamsPhoneAssignment(TENANT, PERSON, "user", (APP,))
MANAGEMENT = "https://communication.azure.com//.default"


def client_of(server: Server, **options: Any) -> CommunicationIdentityClient:
    client = CommunicationIdentityClient(server.url, AccessKeyCredential(KEY), **options)
    client._limits = Limits(timeout=30, backoff=0.01)
    return client


async def use_each(client: CommunicationIdentityClient, tenant: Any, person: Any) -> list[Exception]:
    """What each method raises."""
    errors = []
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get_teams_phone_assignment(tenant, person),
        lambda: client.set_teams_phone_assignment(tenant, person, principal_type="user"),
        lambda: client.delete_teams_phone_assignment(tenant, person),
    ]
    for call in calls:
        with pytest.raises((ServiceError, TypeError, ValueError)) as caught:
            await call()
        errors.append(caught.value)
    return errors


# Requests and answers


@pytest.mark.parametrize("version", ["2023-10-01", "2026-09-23"])
async def test_get(version: str) -> None:
    """By the version of the API that is documented for it, whichever the client uses for the rest."""
    async with serve(answer(200, STORED)) as server, client_of(server, api_version=version) as client:
        assert await client.get_teams_phone_assignment(TENANT, PERSON) == KNOWN
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("GET", TARGET, b"")
    assert request.headers["authorization"] == expected(request)


@pytest.mark.parametrize("status", [200, 201])
async def test_set(status: int) -> None:
    """Whether it is new or replaces another."""
    async with serve(answer(status, STORED)) as server, client_of(server) as client:
        made = await client.set_teams_phone_assignment(TENANT, PERSON, principal_type="user", client_ids=iter([APP]))
    assert made == KNOWN
    (request,) = server.requests
    assert (request.method, request.target) == ("PUT", TARGET)
    assert json.loads(request.body) == {"principalType": "user", "clientIds": [APP]}
    assert request.headers["authorization"] == expected(request)


async def test_set_of_a_resource_account() -> None:
    """In the word that this version of the API has for it, and without applications."""
    stored = {"objectId": PERSON, "tenantId": TENANT, "principalType": "teamsResourceAccount"}
    async with serve(answer(201, stored)) as server, client_of(server) as client:
        made = await client.set_teams_phone_assignment(TENANT, PERSON, principal_type="resource_account")
    assert made == TeamsPhoneAssignment(TENANT, PERSON, "resource_account")
    assert json.loads(server.requests[0].body) == {"principalType": "teamsResourceAccount"}


async def test_delete() -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        await client.delete_teams_phone_assignment(TENANT, PERSON)
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("DELETE", TARGET, b"")
    assert request.headers["authorization"] == expected(request)


def test_an_assignment_is_frozen_and_equal_by_value() -> None:
    assert {KNOWN, dataclasses.replace(KNOWN)} == {KNOWN}
    with pytest.raises(dataclasses.FrozenInstanceError):
        KNOWN.tenant_id = "x"  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(
    ("changes", "error", "fix"),
    [
        ({"tenant_id": None}, TypeError, "tenant_id is text"),
        ({"object_id": ""}, ValueError, "object_id is empty"),
        ({"object_id": "../x"}, ValueError, "object_id is no id: give the one that Entra shows"),
        ({"principal_type": "teamsResourceAccount"}, ValueError, '"user" or "resource_account": give one'),
        ({"client_ids": [APP]}, TypeError, r"client_ids are a tuple of texts: write \(client_id,\)"),
        ({"client_ids": APP}, TypeError, r"write \(client_id,\)"),
        ({"client_ids": (7,)}, TypeError, "a client id is text"),
        ({"client_ids": ("",)}, ValueError, "a client id is empty"),
    ],
)
def test_an_assignment_that_cannot_be_is_refused(changes: dict[str, Any], error: type[Exception], fix: str) -> None:
    """However it is made: each that there is has the form of the service's, and a hash."""
    with pytest.raises(error, match=fix) as caught:
        dataclasses.replace(KNOWN, **changes)
    assert "#identity-arguments" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("user", "user"),
        ("User", "user"),
        ("teamsResourceAccount", "resource_account"),
        ("resourceAccount", "resource_account"),
        ("TeamsResourceAccount", "resource_account"),
    ],
)
async def test_each_word_for_a_principal_is_read(word: str, kind: str) -> None:
    """Those of every version, in any case; what is missing is what was asked for, and no client."""
    async with serve(answer(200, {"principalType": word, "clientIds": None})) as server, client_of(server) as client:
        found = await client.get_teams_phone_assignment(TENANT, PERSON)
    assert found == TeamsPhoneAssignment(TENANT, PERSON, kind)  # type: ignore[arg-type]  # one of the two


async def test_an_id_in_capitals_is_the_same() -> None:
    async with serve(answer(200, STORED)) as server, client_of(server) as client:
        assert await client.get_teams_phone_assignment(TENANT.upper(), PERSON.upper()) == KNOWN


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        [],
        {},
        STORED | {"principalType": None},
        STORED | {"principalType": "agent"},
        STORED | {"principalType": ["user"]},
        STORED | {"clientIds": APP},
        STORED | {"clientIds": [7]},
        STORED | {"clientIds": [""]},
        STORED | {"objectId": TENANT},
        STORED | {"tenantId": 7},
    ],
)
async def test_an_answer_that_says_no_such_thing_is_malformed(content: Any) -> None:
    async with serve(answer(200, content)) as server, client_of(server) as client:
        with pytest.raises(ServiceError, match="malformed") as caught:
            await client.get_teams_phone_assignment(TENANT, PERSON)
    assert (caught.value.status_code, caught.value.permanent) == (200, False)


# Faults


@pytest.mark.promise("R31")
async def test_each_is_repeated_after_a_fault() -> None:
    """Doing it twice is as good as doing it once; what is gone when a lost deletion is repeated is deleted."""
    for fault in (reset(), answer(503)):
        async with serve(fault, answer(201, STORED)) as server, client_of(server) as client:
            assert await client.set_teams_phone_assignment(TENANT, PERSON, principal_type="user") == KNOWN
        async with serve(fault, answer(404)) as server, client_of(server) as client:
            await client.delete_teams_phone_assignment(TENANT, PERSON)
        assert len(server.requests) == 2


@pytest.mark.promise("R53")
async def test_none_is_an_error_that_names_the_command() -> None:
    body = {"error": {"code": "NotFound", "message": "There is none."}}
    async with serve(answer(404, body)) as server, client_of(server) as client:
        errors = await use_each(client, TENANT, PERSON)
    for error in errors:
        assert isinstance(error, ServiceError)
        assert (error.status_code, error.code, error.permanent) == (404, "NotFound", True)
        assert f"`acs-credential teams-phone allow {TENANT} {PERSON}`" in str(error)
        assert "There is none." in str(error)
        assert "#no-teams-phone-assignment" in error.__notes__[0]
    assert len(server.requests) == 3


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("code", "fix", "anchor"),
    [
        ("SubscriptionNotAllowed", "use a resource of one that may", "#subscription-not-allowed"),
        ("Forbidden", "give the credential the right", "#refused"),
    ],
)
async def test_a_refusal_has_its_code(code: str, fix: str, anchor: str) -> None:
    async with serve(answer(403, {"error": {"code": code, "message": "No."}})) as server, client_of(server) as client:
        errors = await use_each(client, TENANT, PERSON)
    for error in errors:
        assert isinstance(error, ServiceError)
        assert (error.status_code, error.code, error.permanent) == (403, code, True)
        assert fix in str(error)
        assert anchor in error.__notes__[0]


@pytest.mark.parametrize(
    ("tenant", "person", "error", "fix"),
    [
        (None, PERSON, TypeError, "tenant_id is text"),
        ("", PERSON, ValueError, "tenant_id is empty"),
        (TENANT, 7, TypeError, "object_id is text"),
        (TENANT, "", ValueError, "object_id is empty"),
        (TENANT, "\ud800", ValueError, "object_id is no id: give the one that Entra shows, such as"),
        ("../x", PERSON, ValueError, "tenant_id is no id"),
        ("contoso.onmicrosoft.com", PERSON, ValueError, "tenant_id is no id"),
        (TENANT, "..", ValueError, "object_id is no id"),
        (TENANT, "ada@contoso.com", ValueError, "object_id is no id"),
        (TENANT, f"{PERSON}\n", ValueError, "object_id is no id"),
    ],
)
async def test_ids_that_are_none_are_refused_before_anything_is_sent(
    tenant: Any, person: Any, error: type[Exception], fix: str
) -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        for raised in await use_each(client, tenant, person):
            assert type(raised) is error
            assert fix in str(raised)
            assert "#identity-arguments" in raised.__notes__[0]
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "error", "fix"),
    [
        ({"principal_type": "teamsResourceAccount"}, ValueError, '"user" or "resource_account": give one'),
        ({"principal_type": ["user"]}, ValueError, '"user" or "resource_account": give one'),
        ({"client_ids": APP}, TypeError, r"write \[client_id\]"),
        ({"client_ids": None}, TypeError, r"write \[client_id\]"),
        ({"client_ids": [7]}, TypeError, "a client id is text"),
        ({"client_ids": [""]}, ValueError, "a client id is empty"),
    ],
)
async def test_what_cannot_be_assigned_is_refused_before_anything_is_sent(
    options: dict[str, Any], error: type[Exception], fix: str
) -> None:
    async with serve(answer(204)) as server, client_of(server) as client:
        with pytest.raises(error, match=fix):
            await client.set_teams_phone_assignment(TENANT, PERSON, **{"principal_type": "user", **options})
    assert server.connections == 0


# The emulator


def signing(emulator: Emulator) -> httpx.AsyncClient:
    return http_of(emulator, auth=AccessKeyAuth(emulator.access_key))


def path(version: str = "2025-06-30", person: str = PERSON) -> str:
    return f"/access/teamsExtension/tenants/{TENANT}/assignments/{person}?api-version={version}"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_the_emulator_keeps_assignments() -> None:
    async with open_emulator() as emulator, http_of(emulator) as http:
        client = CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http)
        async with client:
            with pytest.raises(ServiceError, match="404"):
                await client.get_teams_phone_assignment(TENANT, PERSON)
            for clients in ((APP,), ()):
                made = await client.set_teams_phone_assignment(
                    TENANT, PERSON.upper(), principal_type="user", client_ids=clients
                )
                found = await client.get_teams_phone_assignment(TENANT, PERSON)
                assert (made.principal_type, made.client_ids) == (found.principal_type, found.client_ids)
                assert found == TeamsPhoneAssignment(TENANT, PERSON, "user", clients)
            other = await client.set_teams_phone_assignment(TENANT, APP, principal_type="resource_account")
            assert other == await client.get_teams_phone_assignment(TENANT, APP)
            for _ in range(2):
                await client.delete_teams_phone_assignment(TENANT, PERSON)
            with pytest.raises(ServiceError, match="404"):
                await client.get_teams_phone_assignment(TENANT, PERSON)
        statuses = [record.status for record in emulator.requests if record.method == "PUT"]
        assert statuses == [201, 200, 201]


async def test_each_version_of_the_emulators_api_has_its_word() -> None:
    words = {
        "2025-03-02-preview": "teamsResourceAccount",
        "2025-06-30": "teamsResourceAccount",
        "2026-09-23": "resourceAccount",
    }
    async with open_emulator() as emulator, signing(emulator) as http:
        for version, word in words.items():
            made = await http.put(path(version), json={"principalType": word})
            assert made.json() == {"objectId": PERSON, "tenantId": TENANT, "principalType": word}
            (other,) = set(words.values()) - {word}
            assert error_of(await http.put(path(version), json={"principalType": other})) == (400, "ValidationError")
            for read, its_word in words.items():
                assert (await http.get(path(read))).json()["principalType"] == its_word
        assert error_of(await http.get(path("2023-10-01"))) == (400, "UnsupportedApiVersionValue")


async def test_the_emulator_refuses_what_is_no_assignment() -> None:
    async with open_emulator() as emulator, signing(emulator) as http:
        for body in ({}, {"principalType": None}, {"principalType": "user", "clientIds": "x"}):
            assert error_of(await http.put(path(), json=body)) == (400, "ValidationError")
        assert error_of(await http.put(path(), json={"principalType": "user", "clientIds": [7]}))[0] == 400
        assert error_of(await http.put(path(), content=b"[]")) == (400, "InvalidRequest")


async def test_assignments_are_for_who_may_manage_the_resource() -> None:
    async with open_emulator() as emulator, http_of(emulator) as http:
        for method in ("GET", "PUT", "DELETE"):
            assert error_of(await http.request(method, path())) == (401, "Denied")
        bearer = {"Authorization": f"Bearer {emulator.issue_entra_token(MANAGEMENT)}"}
        made = await http.put(path(), json={"principalType": "user"}, headers=bearer)
        assert made.status_code == 201


async def test_a_fault_can_be_ordered_for_one_principal() -> None:
    async with open_emulator() as emulator, signing(emulator) as http:
        emulator.fail(f"DELETE .*/assignments/{re.escape(PERSON)}$", status=403)
        assert (await http.delete(path())).status_code == 403
        assert (await http.delete(path(person=APP))).status_code == 204
        with pytest.raises(ValueError, match="no operation of the emulator fits the target"):
            emulator.fail(f"POST .*/assignments/{PERSON}$")


# The exchange


class Person:
    """Somebody who has signed in, with an Entra token that names the tenant and the object id, or without."""

    def __init__(self, emulator: Emulator, scope: str = TEAMS_PHONE_SCOPE) -> None:
        self.token = AccessToken.from_jwt(emulator.issue_entra_token(scope, user="ada"))

    async def get_token(self, *_scopes: str) -> AccessToken:
        return self.token


@pytest.mark.promise("R90")
async def test_without_the_consent_the_error_says_what_to_run_and_afterwards_it_works() -> None:
    async with open_emulator(require_teams_phone_assignment=True) as emulator, http_of(emulator) as http:
        person, ada = Person(emulator), emulator.add_user("ada")
        client = CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http)
        credential = CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint,
            token_credential=person,
            scopes=[TEAMS_PHONE_SCOPE],
            http_client=http,
            proactive_refresh=False,
        )
        async with client, credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
            cause = caught.value.__cause__
            assert isinstance(cause, ServiceError)
            assert (cause.status_code, cause.code, cause.permanent) == (403, "Forbidden", True)
            assert f"`acs-credential teams-phone allow {emulator.tenant_id} {ada}`" in str(cause)
            assert person.token.token not in str(cause)
            await client.set_teams_phone_assignment(emulator.tenant_id, ada, principal_type="user")
            await credential.refresh()
            assert credential.raw_id == f"8:acs:{emulator._service.resource_id}_{emulator.tenant_id}_{ada}"


@pytest.mark.parametrize(
    ("kind", "clients", "status"),
    [
        ("user", (), 200),
        ("user", ("its own",), 200),
        ("user", ("ITS OWN",), 200),
        ("user", (APP,), 403),
        ("resource_account", (), 403),
    ],
)
async def test_whom_an_assignment_allows(kind: Any, clients: tuple[str, ...], status: int) -> None:
    """A person, with any application or with those that are named, in capitals or not."""
    async with open_emulator(require_teams_phone_assignment=True) as emulator, http_of(emulator) as http:
        client = CommunicationIdentityClient.from_connection_string(emulator.connection_string, http_client=http)
        its_own = {"its own": emulator.client_id, "ITS OWN": emulator.client_id.upper()}
        applications = [its_own.get(client_id, client_id) for client_id in clients]
        async with client:
            await client.set_teams_phone_assignment(
                emulator.tenant_id, emulator.add_user("ada"), principal_type=kind, client_ids=applications
            )
        token = emulator.issue_entra_token(TEAMS_PHONE_SCOPE, user="ada")
        url = "/access/teamsExtension/:exchangeAccessToken?api-version=2025-06-30"
        exchanged = await http.post(url, json={}, headers={"Authorization": f"Bearer {token}"})
        assert exchanged.status_code == status


async def test_the_other_exchange_wants_no_assignment() -> None:
    scope = "https://communication.azure.com/clients/.default"
    async with open_emulator(require_teams_phone_assignment=True) as emulator, http_of(emulator) as http:
        credential = CommunicationTokenCredential(
            resource_endpoint=emulator.endpoint, token_credential=Person(emulator, scope), http_client=http
        )
        async with credential:
            await credential.get_token()
            emulator.fail("/access/entra/", status=403)
            with pytest.raises(TokenRefreshError) as caught:
                await credential.refresh()
        assert "give the credential the right" in str(caught.value.__cause__)


@pytest.mark.parametrize("setting", [None, 1, "yes"])
async def test_the_setting_is_a_bool(setting: Any) -> None:
    with pytest.raises(TypeError, match="require_teams_phone_assignment is True or False"):
        async with open_emulator(require_teams_phone_assignment=setting):
            pytest.fail("it is open")


@pytest.mark.promise("R52")
@pytest.mark.parametrize("odd", [None, 7, "", "$(reboot)", f"{TENANT}\n", "contoso.example", "\uff21" * 36])
def test_the_command_repeats_guids_alone(odd: Any) -> None:
    """What a token claims is for a shell: a word stands for all else."""
    assert allow_command(TENANT, odd) == f"`acs-credential teams-phone allow {TENANT} OBJECT`"
    assert allow_command(odd, PERSON) == f"`acs-credential teams-phone allow TENANT {PERSON}`"


def test_a_refusal_of_another_kind_says_what_it_is() -> None:
    """The command cures a 403 alone."""
    with pytest.raises(ServiceError, match="sign in to Entra again"):
        read_exchange(Answer(401), allow="`x`")


async def test_an_opaque_entra_token_names_nobody() -> None:
    class Opaque:
        async def get_token(self, *_scopes: str) -> AccessToken:
            return AccessToken("opaque", 9_999_999_999)

    async with serve(answer(403)) as server:
        credential = CommunicationTokenCredential(
            resource_endpoint=server.url, token_credential=Opaque(), scopes=[TEAMS_PHONE_SCOPE]
        )
        async with credential:
            with pytest.raises(TokenRefreshError) as caught:
                await credential.get_token()
    assert "`acs-credential teams-phone allow TENANT OBJECT`" in str(caught.value.__cause__)
