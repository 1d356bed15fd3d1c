"""Where a person signs in, to which application, and over which TLS: arguments, checked where they are given."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlsplit

from .._common.errors import TokenSourceError, explained, wrong_type
from .._common.redaction import Secret
from ._authority import ANY_TENANT, PUBLIC_CLOUD, where

if TYPE_CHECKING:
    from collections.abc import Mapping


class Options(TypedDict, total=False):
    """The options that every credential takes, except one that is given an MSAL application.

    Attributes:
        tenant_id: The directory: its id, its domain, or "organizations" (the default) for any.
        authority: Where people sign in: an https address or a host alone, such as "https://login.microsoftonline.us"
            for another cloud. The path of an Entra address names the directory. Any other host with a path is an OpenID
            authority, for which `tenant_id` is left out.
        disable_instance_discovery: Whether an unknown authority is trusted as it is, without asking Microsoft.
        token_cache: An `msal.TokenCache` that keeps the tokens. None for one in memory.
        verify: True to trust the certificate authorities that the environment trusts; else the path of a bundle of
            them, or an `ssl.SSLContext`.
    """

    tenant_id: str
    authority: str
    disable_instance_discovery: bool
    token_cache: Any
    verify: bool | str | PathLike[str] | ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked.

    Attributes:
        msal: Arguments for an MSAL application.
        token_cache: The user's token cache, or None.
        verify: As it was given, a path as text.
    """

    msal: Mapping[str, Any]
    token_cache: Any = field(repr=False)
    verify: bool | str | ssl.SSLContext

    @property
    def tenant(self) -> str:
        """The directory that the authority's path begins with."""
        authority: str = self.msal.get("authority") or self.msal["oidc_authority"]
        return urlsplit(authority).path.strip("/").partition("/")[0]

    def make_client(self) -> Any:
        """An `httpx.AsyncClient`. Making it reads certificates, so it is not made on an event loop.

        Raises:
            TokenSourceError: when certificates cannot be read, or the environment names a proxy that cannot be used.
        """
        from .._http.own_transport import make_client

        try:
            return make_client(self.verify)
        except (OSError, ValueError) as error:
            problem = f"verify names certificates that cannot be read ({error}): give the path of a file in PEM"
        raise explained("msal-failed", TokenSourceError(problem, permanent=True))


def check_settings(
    client_id: str,
    *,
    tenant_id: str = ANY_TENANT,
    authority: str = PUBLIC_CLOUD,
    disable_instance_discovery: bool = False,
    token_cache: Any = None,
    verify: bool | str | PathLike[str] | ssl.SSLContext = True,
) -> Settings:
    """The settings, if a sign-in can work with them.

    Args:
        client_id: The application's id.
        tenant_id: See `Options`.
        authority: See `Options`.
        disable_instance_discovery: See `Options`.
        token_cache: See `Options`.
        verify: See `Options`.

    Raises:
        TypeError: when one is of a wrong type; the message names the fix.
        ValueError: when one cannot work; the message names the fix.
    """
    place, directory = Secret(authority), Secret(tenant_id)
    del authority, tenant_id  # no frame that an error passes shows a password in an address
    client_id = check_text("client_id", client_id, "the application's id, from its registration in Entra")
    directory = Secret(check_text("tenant_id", directory.value, "a directory's id or domain"))
    place = Secret(check_text("authority", place.value, f"an address such as {PUBLIC_CLOUD}"))
    if not isinstance(disable_instance_discovery, bool):
        raise wrong_type("entra-settings", "disable_instance_discovery is True or False", disable_instance_discovery)
    is_cache = hasattr(token_cache, "add") and hasattr(token_cache, "search") and not isinstance(token_cache, type)
    if token_cache is not None and not is_cache:
        kind = "the class itself" if isinstance(token_cache, type) else type(token_cache).__name__
        raise explained("entra-settings", TypeError(f"token_cache is an msal.TokenCache, not {kind}"))
    trust = _checked_verify(fspath(verify) if isinstance(verify, PathLike) else verify)
    msal = {
        "client_id": client_id,
        # Tells Entra that claims challenges are passed on (continuous access evaluation), as
        # https://learn.microsoft.com/entra/identity-platform/claims-challenge has it.
        "client_capabilities": ["CP1"],
        "instance_discovery": False if disable_instance_discovery else None,
        **where(place.value, directory.value),
    }
    return Settings(msal, token_cache, trust)


def check_text(name: str, value: object, what: str) -> str:
    """The text, if it is printable and without white space. A message does not repeat it, since it may be a secret.

    Returns:
        The plain text: a subclass of str may show another text than it holds, and an address would have what it shows.

    Raises:
        TypeError: when it is not text.
        ValueError: when it is empty, or has white space or unprintable characters.
    """
    hidden, value = Secret(value), None  # no frame that an error passes shows it
    if not isinstance(hidden.value, str):
        raise wrong_type("entra-settings", f"{name} is text ({what})", hidden.value)
    plain = Secret(str.__str__(hidden.value))
    if not plain.value or not plain.value.isprintable() or " " in plain.value:
        fault = "text with white space" if plain.value else "empty"
        raise explained("entra-settings", ValueError(f"{name} is {fault}: give {what}"))
    text: str = plain.value
    return text


def check_secret(name: str, secret: Secret, what: str) -> Secret | None:
    """The secret as plain text, checked; None where none is given.

    Raises:
        TypeError: as for `check_text`.
        ValueError: as for `check_text`.
    """
    return None if secret.value is None else Secret(check_text(name, secret.value, what))


def _checked_verify(verify: bool | str | ssl.SSLContext) -> bool | str | ssl.SSLContext:
    if verify is False or (isinstance(verify, ssl.SSLContext) and verify.verify_mode != ssl.CERT_REQUIRED):
        raise explained(
            "entra-settings",
            ValueError(
                "tokens are not sent to a server that anybody could be: instead of switching verification "
                "off, give the "
                "path of the authority's certificate, verify='ca.pem'"
            ),
        )
    if verify is not True and not (isinstance(verify, str) and verify) and not isinstance(verify, ssl.SSLContext):
        raise wrong_type("entra-settings", "verify is True, the path of a CA bundle, or an ssl.SSLContext", verify)
    return str.__str__(verify) if isinstance(verify, str) else verify
