"""Secrets of a sign-in stay out of messages, tracebacks and logs, MSAL's and urllib3's own included."""

from __future__ import annotations

import logging
import traceback
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msal
import pytest
from entra_users import (
    AUTHORITY,
    CLAIMS,
    SCOPE,
    Clock,
    device_code,
    discovery,
    server_context,
    skip_pauses,
    tokens,
    trusting,
)
from servers import answer, serve

from anyio_acs_credential import CredentialError
from anyio_acs_credential._common.redaction import Hidden
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import (
    AuthorizationCodeCredential,
    DeviceCodeCredential,
    MsalCredential,
    OnBehalfOfCredential,
)
from anyio_acs_credential.entra._secrets import KNOWN, Texts, guard_loggers, hide, note

if TYPE_CHECKING:
    from anyio.abc import ByteStream
    from servers import Behaviour, Server

CANARY = "canary"
TOKENS: dict[str, Any] = {
    "access_token": "canary-access-token",
    "refresh_token": "canary-refresh-token",
    "id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.canary",
}


def echo(status: int, *fields: str, nested: bool = False) -> Behaviour:
    """An authority that repeats in its error what it was sent, as a form and value by value."""

    async def behave(server: Server, stream: ByteStream) -> None:
        form = server.requests[-1].body.decode()
        said = f"{form} or {' or '.join(value for _, value in parse_qsl(form))}"
        error = {"code": said, "message": said} if nested else "invalid_grant"
        await answer(status, {"error": error, **dict.fromkeys(fields, said)})(server, stream)

    return behave


FAULTS: dict[str, Behaviour] = {
    "refused": echo(400, "error_description", "correlation_id"),
    "refused otherwise": echo(400, "error", "error_description", "correlation_id"),
    "broken JSON": answer(200, b'{"access_token": "canary-access-token", "refresh_token": "canary-ref'),
    "no JSON": answer(400, b"canary-code"),
    "no object": answer(200, ["canary-code"]),
    "overloaded": echo(503, "error"),
    "overloaded in Azure's words": echo(503, nested=True),
    "redirected": answer(307, None, ("Location", "https://evil.example/?code=canary-code")),
    "a wrong lifetime": tokens(**TOKENS, expires_in="canary-refresh-token"),
    "an id token that is none": tokens(**{**TOKENS, "id_token": "canary-id-token"}),
    "an access token that is none": tokens(**{**TOKENS, "access_token": "canary access token"}),
    "good": tokens(**TOKENS),
}


def credentials(server: Server) -> list[Any]:
    where: dict[str, Any] = {"authority": f"{server.url}/tenant", "verify": trusting()}
    secret: dict[str, Any] = {"client_secret": "canary-secret"}
    return [
        AuthorizationCodeCredential(
            "app",
            authorization_code="canary-code",
            redirect_uri="https://app.example",
            code_verifier="canary-verifier-000",
            **secret,
            **where,
        ),
        OnBehalfOfCredential("app", user_assertion="canary-assertion", **secret, **where),
        DeviceCodeCredential("app", prompt_callback=lambda *_: None, **where),
    ]


def everything_about(error: BaseException) -> str:
    shown = "".join(traceback.format_exception(error))
    return f"{shown}{error!r}{error}{vars(error)}{error.__cause__!r}{error.__context__!r}"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("", "msal", "urllib3", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


@pytest.mark.promise("R52")
@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_shows_a_secret(
    fault: str,
    kind: int,
    logged: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever way the first request goes, and the renewal after it, with every logger at DEBUG."""
    skip_pauses(monkeypatch)
    clock = Clock(monkeypatch)
    begin = [discovery(), *([device_code(device_code="canary-device")] if kind == 2 else [])]
    shown = ""
    patient = (
        fault
        in {"broken JSON", "no JSON", "no object", "overloaded", "overloaded in Azure's words", "a wrong lifetime"}
        or "token" in fault
    )
    script = [*begin, FAULTS[fault], *([FAULTS["good"]] if kind == 2 and patient else []), FAULTS["good"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with serve(*script, FAULTS[fault], tls=server_context()) as server:
            credential = credentials(server)[kind]
            for ask in (getattr(credential, "sign_in", credential.get_token), credential.get_token):
                try:
                    shown += f"{await ask(SCOPE)}"
                except CredentialError as error:
                    shown += everything_about(error)
                clock.ahead += 3700
            shown += f"{credential!r}{vars(credential)}"
    out, err = capsys.readouterr()
    assert "msal" in {record.name.partition(".")[0] for record in logged.records}
    for text in (shown, logged.text, out, err, *map(repr, map(vars, logged.records))):
        assert CANARY not in text


@pytest.mark.promise("R52")
async def test_nor_does_msals_own_http(logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application of the user's own gets answers unread, and logs what it cannot parse."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    clock = Clock(monkeypatch)
    cache = msal.TokenCache()
    broken = FAULTS["broken JSON"]
    async with serve(discovery(), FAULTS["good"], broken, tls=server_context()) as server, open_emulator() as emulator:
        bundle = f"{emulator.ca_file}.test"
        AUTHORITY.cert_pem.write_to_path(bundle)

        def make() -> Any:
            app = msal.PublicClientApplication(
                "app", oidc_authority=f"{server.url}/tenant", verify=bundle, timeout=5, token_cache=cache
            )
            app.acquire_token_by_refresh_token("canary-refresh-token", [SCOPE])
            return app

        credential = MsalCredential(make)
        await credential.get_token(SCOPE)
        clock.ahead += 3700
        with pytest.raises(CredentialError, match="MSAL failed") as raised:
            await credential.get_token(SCOPE, claims=CLAIMS)
    assert "Token response is not in json format" in logged.text
    for text in (everything_about(raised.value), logged.text, *map(repr, map(vars, logged.records))):
        assert CANARY not in text


def test_what_the_rest_of_the_program_logs_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    guard_loggers()
    logging.getLogger("msal.application").warning("code: %s", "not-ours")
    assert caplog.messages == ["code: not-ours"]


def test_hiding_looks_at_fields_also_where_their_end_is_missing() -> None:
    text = """{"access_token": "aaa", 'code': 'bbb', refresh_token=ccc&x=1 error_code: 5 "id_token": "ddd"""
    assert hide(text) == (
        """{"access_token": "[redacted]", 'code': '[redacted]', refresh_token=[redacted]&x=1 error_code: 5 """
        '"id_token": "[redacted]'
    )


def test_what_is_too_short_to_be_a_secret_is_left_alone() -> None:
    """Or the answer's `code` of one letter would be cut out of every word."""
    token = KNOWN.set(set())
    try:
        note({"code": "a", "refresh_token": 5, "device_code": "canary-device"})
        assert KNOWN.get() == {"canary-device"}
        assert hide("a canary-device") == "a [redacted]"
    finally:
        KNOWN.reset(token)


def test_the_traceback_of_an_exception_that_is_logged_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """What MSAL could not read is in its exception."""
    guard_loggers()
    token = KNOWN.set({"canary-refresh-token"})
    try:
        raise ValueError("canary-refresh-token")  # noqa: TRY301 - to be logged
    except ValueError:
        logging.getLogger("msal.application").exception("unreadable: %s", "canary-refresh-token")
    finally:
        KNOWN.reset(token)
    assert caplog.messages == ["unreadable: [redacted]"]
    assert CANARY not in caplog.text


def test_what_is_kept_of_a_sign_in_shows_nothing() -> None:
    """In the locals of a frame, too."""
    assert repr(Hidden(code="canary")) == repr(Texts({"canary"})) == "<hidden>"
