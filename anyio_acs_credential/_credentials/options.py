"""The arguments of a credential, checked where they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._common.checks import check_clock, is_async, misfit
from .._common.errors import InvalidTokenError, explained, wrong_type
from .._common.redaction import Secret
from .._decisions.schedule import RefreshPolicy
from .._exchange.scopes import DEFAULT_SCOPE
from .._tokens.access_token import AccessToken, with_own_life

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._tokens.token_source import TokenSource

DEFAULT_POLICY = RefreshPolicy()
"""The policy of a credential that is given none."""


def initial_token(token: object) -> AccessToken:
    """The token that a credential begins with.

    Raises:
        InvalidTokenError: when `token` is not an access token.
    """
    hidden, token = Secret(token), None  # no frame that an error passes shows it
    if isinstance(hidden.value, AccessToken):
        return with_own_life(hidden.value)
    if isinstance(hidden.value, str):
        return AccessToken.from_jwt(hidden.value)
    kind = type(hidden.value).__name__
    raise explained("invalid-token", InvalidTokenError(f"token is the text of a JWT, or an AccessToken, not {kind}"))


def check_options(refreshes: bool, proactive_refresh: object, policy: object, observer: object, clock: object) -> None:
    """Refuse what cannot work, and import what rounds will need: an import in a round would stall the event loop.

    Raises:
        TypeError: with the fix.
    """
    if not isinstance(proactive_refresh, bool):
        raise wrong_type("policy", "proactive_refresh is True or False", proactive_refresh)
    if not isinstance(policy, RefreshPolicy):
        raise wrong_type("policy", "policy is a RefreshPolicy", policy)
    if observer is not None and not callable(observer):
        raise wrong_type("observer", "observer is a function that takes an event", observer)
    if is_async(observer):
        raise explained(
            "observer",
            TypeError("observer is a plain function: it is called in the refresh task, which does not await it"),
        )
    if observer is not None and (reason := misfit(observer, object())) is not None:
        raise explained("observer", TypeError(f"observer is called with an event, which does not fit ({reason})"))
    check_clock(clock, "time", "monotonic")
    if refreshes:
        from .._loops import virtual  # noqa: F401 - what entering, rounds, and threads that wait for them, need
        from .._refreshing import block, report, thread_waiting  # noqa: F401 - likewise
    elif observer is not None or policy is not DEFAULT_POLICY or not proactive_refresh:
        raise explained(
            "arguments",
            TypeError(
                "a static credential renews nothing: leave out observer, policy and proactive_refresh, or give a "
                "token_refresher"
            ),
        )


def token_source(
    initial: Secret,
    refresher: Secret,
    endpoint: Secret,
    token_credential: Secret,
    *,
    scopes: Iterable[str],
    http_client: Secret,
) -> TokenSource | None:
    """The token source that the arguments name; None for a static credential.

    Those in a box may be a secret, or show one, by mistake; None is in it where none was given.

    Args:
        initial: The token to begin with.
        refresher: The program's callback or source.
        endpoint: The resource's address.
        token_credential: What gives Entra tokens.
        scopes: Their scopes.
        http_client: The client for the exchange.

    Raises:
        TypeError: when arguments are missing, contradict each other or are of a wrong type.
        ValueError: when the endpoint is not the address of a resource, or the scopes are not those of an exchange.
    """
    given = [name for name, value in (("token", initial), ("token_refresher", refresher)) if value.value is not None]
    if endpoint.value is None and token_credential.value is None:
        if not given:
            raise explained(
                "arguments",
                TypeError(
                    "give a token, or a token_refresher that fetches tokens, or a resource_endpoint and a "
                    "token_credential"
                ),
            )
        if http_client.value is not None or scopes != (DEFAULT_SCOPE,):
            raise explained(
                "arguments",
                TypeError("scopes and http_client are for a resource_endpoint and a token_credential: leave them out"),
            )
        if refresher.value is None:
            return None
        from .._refreshing.source import source_of

        return source_of(refresher.value)
    if given:
        raise explained(
            "arguments",
            TypeError(
                f"resource_endpoint and token_credential get all tokens: leave out {' and '.join(given)}, or both"
            ),
        )
    if endpoint.value is None or token_credential.value is None:
        missing = "resource_endpoint" if endpoint.value is None else "token_credential"
        raise explained(
            "arguments", TypeError(f"{missing} is missing: an Entra token is exchanged at the resource, so give both")
        )
    from .._exchange.source import EntraTokenExchange

    return EntraTokenExchange(endpoint.value, token_credential.value, scopes=scopes, http_client=http_client.value)
