"""Where people sign in: what is refused when a credential is made."""

from __future__ import annotations

import copy
import pickle
import ssl
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import anyio
import msal
import pytest
from entra_users import AUTHORITY, SCOPE, trusting
from redacted import Redacted

from anyio_acs_credential import TokenSourceError
from anyio_acs_credential.entra import (
    AuthorizationCodeCredential,
    DeviceCodeCredential,
    InteractiveBrowserCredential,
    MsalCredential,
    OnBehalfOfCredential,
)
from anyio_acs_credential.entra._settings import check_settings

SECRET = "canary-in-an-argument"
CODE: dict[str, Any] = {"authorization_code": SECRET, "redirect_uri": "https://app.example/back"}
USER: dict[str, Any] = {"user_assertion": SECRET, "client_secret": SECRET}


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def all_credentials(**options: Any) -> list[Any]:
    return [
        DeviceCodeCredential("app", **options),
        InteractiveBrowserCredential("app", **options),
        AuthorizationCodeCredential("app", code_verifier=SECRET, client_secret=SECRET, **CODE, **options),
        OnBehalfOfCredential("app", **USER, **options),
    ]


@pytest.mark.parametrize(
    ("options", "error", "fix"),
    [
        ({"client_id": ""}, ValueError, "client_id is empty: give the application's id"),
        ({"client_id": "a b"}, ValueError, "client_id is text with white space"),
        ({"client_id": 5}, TypeError, "client_id is text .*, not int"),
        ({"tenant_id": "contoso/v2.0"}, ValueError, "without slashes"),
        ({"tenant_id": ""}, ValueError, "tenant_id is empty"),
        ({"tenant_id": None}, TypeError, "tenant_id is text"),
        ({"authority": "http://login.microsoftonline.com"}, ValueError, "begin with https://"),
        ({"authority": "http://127.0.0.1:5000/tenant"}, ValueError, "begin with https://"),
        ({"authority": "https://[::1"}, ValueError, "begin with https://"),
        ({"authority": "https://"}, ValueError, "no plain host name"),
        ({"authority": "https://user:pass@host"}, ValueError, "no plain host name"),
        ({"authority": "https://host:65536"}, ValueError, "no plain host name"),
        ({"authority": "https://[::1]:99999"}, ValueError, "no plain host name"),
        ({"authority": "https://host/tenant?x=1"}, ValueError, "query or a fragment"),
        ({"authority": "https://host/tenant", "tenant_id": "contoso"}, ValueError, "leave out the path, or tenant_id"),
        ({"authority": 5}, TypeError, "authority is text"),
        ({"disable_instance_discovery": "yes"}, TypeError, "disable_instance_discovery is True or False, not str"),
        ({"token_cache": msal.TokenCache}, TypeError, "token_cache is an msal.TokenCache, not the class itself"),
        ({"token_cache": {}}, TypeError, "token_cache is an msal.TokenCache, not dict"),
        ({"verify": False}, ValueError, "give the path of the authority's certificate"),
        ({"verify": unverified()}, ValueError, "give the path of the authority's certificate"),
        ({"verify": 1}, TypeError, "verify is True, the path of a CA bundle, or an ssl.SSLContext, not int"),
        ({"verify": ""}, TypeError, "verify is True"),
        ({"verify": b"ca.pem"}, TypeError, "the path of a CA bundle, or an ssl.SSLContext, not bytes"),
    ],
)
def test_what_cannot_work_is_refused_with_the_fix(options: dict[str, Any], error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix):
        DeviceCodeCredential(**{"client_id": "app", **options})


@pytest.mark.parametrize(
    ("options", "msal_says"),
    [
        ({}, {"authority": "https://login.microsoftonline.com/organizations", "instance_discovery": None}),
        ({"tenant_id": "contoso.com"}, {"authority": "https://login.microsoftonline.com/contoso.com"}),
        (
            {"authority": "https://login.microsoftonline.us/"},
            {"authority": "https://login.microsoftonline.us/organizations"},
        ),
        ({"authority": "https://[::1]:5000/t/"}, {"oidc_authority": "https://[::1]:5000/t"}),
        ({"disable_instance_discovery": True}, {"instance_discovery": False}),
    ],
)
def test_what_msal_is_told(options: dict[str, Any], msal_says: dict[str, Any]) -> None:
    """An authority with a path is an OpenID authority; claims challenges are understood."""
    told = check_settings("app", **options).msal
    assert {name: told[name] for name in msal_says} == msal_says
    assert told["client_capabilities"] == ["CP1"]
    assert "authority" not in told or "oidc_authority" not in told


def test_texts_that_hide_themselves_are_what_they_hold() -> None:
    settings = check_settings(Redacted("app"), tenant_id=Redacted("contoso.com"), verify=Redacted("ca.pem"))
    assert settings.msal["authority"] == "https://login.microsoftonline.com/contoso.com"
    assert type(settings.msal["client_id"]) is str
    assert type(settings.verify) is str  # Path() of a text may take what that shows
    assert MsalCredential(lambda: None, account=Redacted("id.of.a.home"))._account == "id.of.a.home"


@pytest.mark.parametrize("verify", [True, "context"])
async def test_certificates_that_the_user_names_are_the_ones_that_count(verify: Any) -> None:
    context = trusting() if verify == "context" else True
    client = await anyio.to_thread.run_sync(check_settings("app", verify=context).make_client)
    async with client:
        assert not client.follow_redirects


@pytest.mark.parametrize("kind", [str, Path])
async def test_a_bundle_of_certificates_is_named_by_a_path_of_either_kind(kind: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(bundle))
    settings = check_settings("app", verify=kind(bundle))
    assert settings.verify == str(bundle)
    async with await anyio.to_thread.run_sync(settings.make_client):
        pass


async def test_certificates_that_cannot_be_read_are_an_error_that_names_the_fix(tmp_path: Path) -> None:
    """It comes with the first token: making a credential reads nothing."""
    for name in ("missing.pem", "empty.pem"):
        (tmp_path / "empty.pem").touch()
        credential = DeviceCodeCredential("app", verify=str(tmp_path / name))
        with pytest.raises(TokenSourceError, match="give the path of a file in PEM") as raised:
            await credential.sign_in(SCOPE)
        assert raised.value.permanent


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        ({"authorization_code": None}, TypeError, "authorization_code is text"),
        ({"authorization_code": 5}, TypeError, "authorization_code is text"),
        ({"authorization_code": f"{SECRET} "}, ValueError, "authorization_code is text with white space"),
        ({"redirect_uri": None}, TypeError, "redirect_uri is text"),
        ({"code_verifier": b"x"}, TypeError, "code_verifier is text .*, not bytes"),
        ({"client_secret": ""}, ValueError, "client_secret is empty"),
    ],
)
def test_a_code_that_cannot_be_redeemed_is_refused(arguments: Any, error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix) as raised:
        AuthorizationCodeCredential("app", **{**CODE, **arguments})
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        ({"client_secret": None}, TypeError, "give one of client_secret and client_certificate"),
        ({"client_certificate": "x"}, TypeError, "give one of client_secret and client_certificate"),
        ({"client_secret": None, "client_certificate": 5}, TypeError, "client_certificate is the text of a PEM file"),
        ({"client_secret": None, "client_certificate": Path("a.pem")}, TypeError, r"Path: give path.read_bytes\(\)"),
        ({"client_secret": None, "client_certificate": {}}, ValueError, "does not hold one private key"),
        (
            {"client_secret": None, "client_certificate": f"/{SECRET}.pem"},
            ValueError,
            r"content of a PEM file .*not its path",
        ),
        ({"user_assertion": ""}, ValueError, "user_assertion is empty"),
        ({"user_assertion": None}, TypeError, "user_assertion is text"),
    ],
)
def test_a_service_that_cannot_act_for_anybody_is_refused(arguments: Any, error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix) as raised:
        OnBehalfOfCredential("app", **{**USER, **arguments})
    assert SECRET not in str(raised.value)


def pem(kind: str) -> str:
    return f"-----BEGIN {kind}-----\n{SECRET}\n-----END {kind}-----\n"


KEY, CERTIFICATE, THUMBPRINT = pem("PRIVATE KEY"), pem("CERTIFICATE"), "0123456789abcdefABCD" * 2
LEGACY = pem("RSA PRIVATE KEY").replace(SECRET, f"Proc-Type: 4,ENCRYPTED\n\n{SECRET}")


@pytest.mark.parametrize(
    ("certificate", "fix"),
    [
        ({"private_key": KEY}, "has a private_key alone: give its certificate, .* as public_certificate; or"),
        ({"private_key": KEY, "public_certificate": ""}, "has a private_key alone"),
        ({"private_key": KEY, "thumbprint": ""}, "has a private_key alone"),
        ({"private_key": KEY, "certificate": CERTIFICATE}, "has a private_key alone"),
        ({"private_key": "", "thumbprint": THUMBPRINT}, "has no private_key, private_key_pfx_path or client_assertion"),
        ({"key": KEY, "public_certificate": CERTIFICATE}, "has no private_key, .* give one of them, as MSAL names it"),
        ({"private_key": f"/{SECRET}.pem", "thumbprint": THUMBPRINT}, "a private_key that is none: .*not its path"),
        ({"private_key": CERTIFICATE, "thumbprint": THUMBPRINT}, "a private_key that is none"),
        ({"private_key": 5, "thumbprint": THUMBPRINT}, "a private_key that is none"),
        ({"private_key": KEY, "thumbprint": ":".join(["AB"] * 20)}, "a thumbprint that is none: .* without colons"),
        ({"private_key": KEY, "thumbprint": "A" * 39}, "a thumbprint that is none: .* 40 hexadecimal digits"),
        ({"private_key": KEY, "thumbprint": b"A" * 40}, "a thumbprint that is none"),
        ({"private_key": KEY, "public_certificate": f"/{SECRET}.pem"}, "a public_certificate that is none: .*path"),
        ({"private_key": KEY, "public_certificate": CERTIFICATE.encode()}, "a public_certificate that is none: .*text"),
        ({"private_key": KEY, "public_certificate": True}, "a public_certificate that is none"),
        ({"private_key": pem("ENCRYPTED PRIVATE KEY"), "thumbprint": THUMBPRINT}, "an encrypted private key and no"),
        ({"private_key": LEGACY.encode(), "thumbprint": THUMBPRINT}, "an encrypted private key and no passphrase"),
        (pem("ENCRYPTED PRIVATE KEY") + CERTIFICATE, "no passphrase: give a mapping with the key and its passphrase"),
        (KEY, "does not hold one private key and its certificate"),
        (KEY + pem("TRUSTED CERTIFICATE"), "does not hold one private key and its certificate"),
        ({"private_key": KEY, "public_certificate": pem("TRUSTED CERTIFICATE")}, "a public_certificate that is none"),
        (KEY + KEY + CERTIFICATE, "does not hold one private key and its certificate"),
    ],
)
def test_a_certificate_that_msal_cannot_use_is_refused(certificate: Any, fix: str) -> None:
    """As the credential is made, and in words of ours; MSAL would say so at the first token, or never."""
    given = MappingProxyType(certificate) if isinstance(certificate, dict) else certificate
    for each in (certificate, given):
        with pytest.raises(ValueError, match=f"^client_certificate .*{fix}") as raised:
            OnBehalfOfCredential("app", user_assertion=SECRET, client_certificate=each)
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "certificate",
    [
        {"private_key": KEY, "thumbprint": THUMBPRINT},
        {"private_key": KEY.encode(), "thumbprint": THUMBPRINT, "public_certificate": CERTIFICATE},
        {"private_key": KEY, "public_certificate": CERTIFICATE},
        {"private_key": pem("RSA PRIVATE KEY").replace(SECRET, "ENCRYPTED/ByChance"), "thumbprint": THUMBPRINT},
        {"private_key": pem("ENCRYPTED PRIVATE KEY"), "thumbprint": THUMBPRINT, "passphrase": SECRET},
        {"private_key": SimpleNamespace(private_bytes=None), "thumbprint": THUMBPRINT},
        {"private_key_pfx_path": "service.pfx", "public_certificate": True},
        {"client_assertion": lambda: SECRET},
        KEY + CERTIFICATE,
    ],
)
def test_certificates_that_msal_takes(certificate: Any) -> None:
    OnBehalfOfCredential("app", user_assertion=SECRET, client_certificate=certificate)


async def open_and_wait(_uri: str) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        ({"redirect_uri": "https://localhost"}, ValueError, "redirect_uri is on this machine"),
        ({"redirect_uri": "http://contoso.com"}, ValueError, "redirect_uri is on this machine"),
        ({"redirect_uri": "http://localhost:99999"}, ValueError, "redirect_uri is on this machine"),
        ({"redirect_uri": None}, TypeError, "redirect_uri is text"),
        ({"login_hint": 5}, TypeError, "login_hint is text"),
        ({"prompt": ""}, ValueError, "prompt is empty"),
        ({"timeout": True}, TypeError, "timeout is a number of seconds"),
        ({"timeout": 0}, ValueError, "timeout is a number of seconds above 0"),
        ({"timeout": float("nan")}, ValueError, "timeout is a number of seconds above 0"),
        ({"open_browser": "firefox"}, TypeError, "open_browser is a function"),
        ({"open_browser": open_and_wait}, TypeError, "open_browser is a plain function"),
        ({"open_browser": lambda: None}, TypeError, "open_browser is called with an address"),
    ],
)
def test_a_browser_that_cannot_come_back_is_refused(arguments: Any, error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix):
        InteractiveBrowserCredential("app", **arguments)


def test_a_prompt_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="prompt_callback is a function of three arguments, not str"):
        DeviceCodeCredential("app", prompt_callback="print")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("app", "account", "error", "fix"),
    [
        (msal.PublicClientApplication, None, TypeError, "not the class PublicClientApplication"),
        (5, None, TypeError, "app is an MSAL application, or a function that makes one, not int"),
        (lambda: None, {"username": "a"}, TypeError, "account is text"),
        (lambda: None, "", ValueError, "account is empty"),
    ],
)
def test_what_is_no_application_is_refused(app: Any, account: Any, error: type[Exception], fix: str) -> None:
    with pytest.raises(error, match=fix):
        MsalCredential(app, account=account)


@pytest.mark.promise("R52")
def test_a_credential_shows_no_secret_and_is_neither_pickled_nor_copied() -> None:
    for credential in all_credentials():
        shown = f"{credential!r} {credential} {vars(credential)} {vars(credential._msal)}"
        assert SECRET not in shown
        for copying in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="holds secrets"):
                copying(credential)


@pytest.mark.promise("R52")
def test_a_secret_is_not_pickled() -> None:
    secret = OnBehalfOfCredential("app", **USER)._user_assertion
    with pytest.raises(TypeError, match="is not pickled"):
        pickle.dumps(secret)


@pytest.mark.promise("R40")
def test_a_credential_that_is_never_used_leaves_nothing_behind() -> None:
    """Making one needs no event loop, no network and no thread."""
    assert len(all_credentials(verify=trusting(), token_cache=msal.TokenCache())) == 4
