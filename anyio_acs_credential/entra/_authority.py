"""What an address means to MSAL: Entra with a directory, or an OpenID authority."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from .._common.errors import explained
from .._common.redaction import Secret

PUBLIC_CLOUD = "https://login.microsoftonline.com"
ANY_TENANT = "organizations"

# A copy of the hosts in msal.authority, since importing MSAL takes longer than an event loop may stand still.
ENTRA_HOSTS = {
    "login-us.microsoftonline.com",
    "login.chinacloudapi.cn",
    "login.microsoft.com",
    "login.microsoftonline.com",
    "login.microsoftonline.de",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.sovcloud-identity.de",
    "login.sovcloud-identity.fr",
    "login.sovcloud-identity.sg",
    "login.usgovcloudapi.net",
    "login.windows.net",
    "sts.windows.net",
}
CUSTOMER_DOMAINS = ("b2clogin.cn", "b2clogin.com", "b2clogin.de", "b2clogin.us", "ciamlogin.com")

_EXTERNAL_ID = ".ciamlogin.com"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def where(authority: str, tenant_id: str) -> dict[str, str]:
    """The arguments that tell an MSAL application where people sign in.

    Args:
        authority: An https address, or a host alone, as azure-identity writes it.
        tenant_id: The directory, where the address names no directory. "organizations", the default, goes with any
            address.

    Raises:
        ValueError: when they lead nowhere, or to two directories; the message names the fix.
    """
    place, directory = Secret(authority), Secret(tenant_id)
    del authority, tenant_id  # no frame that an error passes shows a password in an address
    try:
        return _read(place.value, directory.value)
    except _NowhereError as error:
        problem = str(error)
    raise explained("entra-settings", ValueError(problem))  # out here, without the frames that read the address


class _NowhereError(Exception):
    """Why an address and a directory lead nowhere."""


def _read(authority: str, tenant_id: str) -> dict[str, str]:
    parts = _parse(authority.rstrip("/"))
    host = parts.hostname or ""
    named = parts.path.strip("/")
    if host in ENTRA_HOSTS:
        tenant = _one(_entra_tenant(named), tenant_id) if named else tenant_id
    elif host.endswith(tuple(f".{domain}" for domain in CUSTOMER_DOMAINS)):
        named = named.removesuffix("/v2.0")
        if named:
            _one(named.partition("/")[0], tenant_id)
            return {"authority": f"https://{parts.netloc}/{named}"}
        tenant = tenant_id
        if tenant == ANY_TENANT and host.endswith(_EXTERNAL_ID):  # such a host serves its own directory alone
            tenant = f"{host.removesuffix(_EXTERNAL_ID)}.onmicrosoft.com"
    elif named:
        if tenant_id != ANY_TENANT:
            raise _NowhereError("authority has a path, which names the directory: leave out the path, or tenant_id")
        return {"oidc_authority": parts.geturl()}
    else:
        tenant = tenant_id
    if not _TENANT.fullmatch(tenant):
        raise _NowhereError(
            "tenant_id is no directory's id or domain, such as contoso.onmicrosoft.com: write it without slashes, and "
            "an address into authority"
        )
    return {"authority": f"https://{parts.netloc}/{tenant}"}


def _parse(authority: str) -> SplitResult:
    text = authority if "://" in authority else f"https://{authority}"
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not match
        parts = urlsplit("")
    if parts.scheme != "https":
        raise _NowhereError("authority does not begin with https://, and secrets are sent there: correct it")
    host = _HOST.fullmatch(parts.netloc)
    if host is None or int((host[1] or host[2] or ":443")[1:]) > 65_535:
        raise _NowhereError(
            f"authority has no plain host name, or more than that and a port: write it as {PUBLIC_CLOUD}"
        )
    if parts.query or parts.fragment:
        raise _NowhereError("authority has a query or a fragment: remove everything from the ? or # on")
    return parts


def _entra_tenant(path: str) -> str:
    tenant = path.removesuffix("/v2.0")  # as Entra's issuers have it
    if not _TENANT.fullmatch(tenant):
        raise _NowhereError(
            f"the path of Entra's authority is the directory alone: write it as {PUBLIC_CLOUD}/contoso.com"
        )
    return tenant


def _one(named: str, tenant_id: str) -> str:
    if tenant_id != ANY_TENANT and tenant_id.lower() != named.lower():
        raise _NowhereError(
            "authority's path names one directory and tenant_id another: leave out the path, or tenant_id"
        )
    return named
