"""Which directory or OpenID authority an address names, beside what MSAL and azure-identity make of the same."""

from __future__ import annotations

from typing import Any

import msal.authority
import pytest
from azure.identity import AzureAuthorityHosts

from anyio_acs_credential.entra import DeviceCodeCredential
from anyio_acs_credential.entra._authority import CUSTOMER_DOMAINS, ENTRA_HOSTS
from anyio_acs_credential.entra._settings import check_settings

GUID = "72f988bf-86f1-41af-91ab-2d7cd011db47"
PUBLIC = "https://login.microsoftonline.com"


class Recorder:
    """The HTTP client of an MSAL authority, which notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, url: str, **_options: Any) -> Any:
        self.asked.append(url)
        raise ConnectionError


def asked_by_msal(**arguments: Any) -> list[str]:
    recorder = Recorder()
    with pytest.raises(ConnectionError):
        msal.PublicClientApplication("app", http_client=recorder, **arguments)
    return recorder.asked


def asked_by_ours(**options: Any) -> list[str]:
    told = check_settings("app", **options).msal
    return asked_by_msal(**{name: told[name] for name in ("authority", "oidc_authority") if name in told})


def test_the_hosts_are_those_that_msal_knows() -> None:
    """The table is our own, since importing MSAL stalls an event loop."""
    assert msal.authority.WELL_KNOWN_AUTHORITY_HOSTS == ENTRA_HOSTS
    assert sorted(msal.authority.WELL_KNOWN_B2C_HOSTS) == sorted(CUSTOMER_DOMAINS)


@pytest.mark.parametrize(
    "authority",
    [
        *(f"https://{host}/{GUID}" for host in sorted(ENTRA_HOSTS)),
        f"{PUBLIC}/contoso.onmicrosoft.com",
        f"{PUBLIC}/common",
        f"{PUBLIC}/consumers",
        f"{PUBLIC}/organizations/",
        f"{PUBLIC}:443/{GUID}/",
        f"https://Login.MicrosoftOnline.com/{GUID}",
        f"https://contoso.ciamlogin.com/{GUID}",
        "https://contoso.ciamlogin.com/contoso.onmicrosoft.com/",
        "https://contoso.ciamlogin.com",
        "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_sign_in",
    ],
)
def test_microsofts_authorities_are_asked_as_msal_asks_them(authority: str) -> None:
    """As every user of MSAL writes them: the second version of the endpoints, whatever the path names."""
    asked = asked_by_ours(authority=authority)
    assert asked == asked_by_msal(authority=authority.rstrip("/"))
    assert asked[0].endswith("/v2.0/.well-known/openid-configuration")


@pytest.mark.parametrize(
    "authority", ["https://adfs.contoso.example/adfs", "https://adfs.contoso.example/adfs/"], ids=["", "slash"]
)
def test_a_federation_server_is_asked_as_msal_asks_it(authority: str) -> None:
    assert asked_by_ours(authority=authority) == asked_by_msal(authority=authority.rstrip("/"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"authority": f"{PUBLIC}/{GUID}/v2.0"}, f"{PUBLIC}/{GUID}"),
        ({"authority": f"{PUBLIC}/{GUID}/", "tenant_id": GUID.upper()}, f"{PUBLIC}/{GUID}"),
        ({"authority": f"{PUBLIC}/organizations", "tenant_id": "organizations"}, f"{PUBLIC}/organizations"),
        ({"authority": f"login.microsoftonline.us/{GUID}"}, f"https://login.microsoftonline.us/{GUID}"),
        ({"authority": "https://contoso.ciamlogin.com", "tenant_id": GUID}, f"https://contoso.ciamlogin.com/{GUID}"),
        ({"authority": f"https://a.ciamlogin.com/{GUID}/v2.0", "tenant_id": GUID}, f"https://a.ciamlogin.com/{GUID}"),
        ({"authority": "https://a.b2clogin.com", "tenant_id": "a.com"}, "https://a.b2clogin.com/a.com"),
        ({"authority": "sovereign.example:8443", "tenant_id": "a.com"}, "https://sovereign.example:8443/a.com"),
    ],
)
def test_the_directory_is_named_once(options: dict[str, str], told: str) -> None:
    """In the path or as `tenant_id`; the same in both is fine."""
    found = check_settings("app", **options).msal  # type: ignore[arg-type]
    assert found["authority"] == told
    assert "oidc_authority" not in found


@pytest.mark.parametrize(
    ("authority", "told"),
    [
        ("https://login.contoso.example/tenant/v2.0/", "https://login.contoso.example/tenant/v2.0"),
        ("https://notciamlogin.com/tenant", "https://notciamlogin.com/tenant"),
        ("https://login.microsoftonline.com.evil.example/t", "https://login.microsoftonline.com.evil.example/t"),
        ("127.0.0.1:5000/tenant", "https://127.0.0.1:5000/tenant"),
    ],
)
def test_other_hosts_with_a_path_are_openid_authorities(authority: str, told: str) -> None:
    found = check_settings("app", authority=authority).msal
    assert found["oidc_authority"] == told
    assert "authority" not in found


@pytest.mark.parametrize("name", ["AZURE_PUBLIC_CLOUD", "AZURE_GOVERNMENT", "AZURE_CHINA"])
def test_a_host_alone_is_an_authority_as_in_azure_identity(name: str) -> None:
    host = getattr(AzureAuthorityHosts, name)
    assert asked_by_ours(authority=host, tenant_id=GUID) == asked_by_msal(authority=f"https://{host}/{GUID}")


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"authority": f"{PUBLIC}/{GUID}", "tenant_id": "contoso.com"}, "leave out the path, or tenant_id"),
        ({"authority": "https://a.ciamlogin.com/a.com", "tenant_id": "b.com"}, "leave out the path, or tenant_id"),
        ({"authority": f"{PUBLIC}/{GUID}/oauth2/v2.0/token"}, "the directory alone: write it as .*/contoso.com"),
        ({"authority": f"http://login.microsoftonline.com/{GUID}"}, "begin with https://"),
        ({"authority": "http:/login.microsoftonline.com"}, "no plain host name"),
        ({"authority": "//login.microsoftonline.com"}, "no plain host name"),
        ({"authority": "https://"}, "no plain host name"),
    ],
)
def test_an_authority_that_leads_nowhere_is_refused_with_the_fix(options: dict[str, str], fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        DeviceCodeCredential("app", **options)  # type: ignore[arg-type]
