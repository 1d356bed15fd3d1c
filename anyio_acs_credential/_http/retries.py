"""One bounded request. Everything that this package sends over HTTP goes through `send`.

A call has one deadline for all its tries; its answer has a size cap; redirects are never followed; nothing is sent in
plain text but to loopback; and a request that may have made something is not sent twice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from .._common.errors import CredentialUsageError, ServiceError, explained
from .answer import Answer
from .attempt import Failure, try_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .attempt import Authorize
    from .request import Call, HttpClient

# As in azure-core's `RetryPolicy`.
_REPEATABLE = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often a call tries.

    Attributes:
        timeout: Seconds for the whole call, its tries and the waits between them.
        tries: How often it is sent at most.
        backoff: Seconds before the second try, up to half of them more or less; twice as many before the third.
    """

    timeout: float = 30.0
    tries: int = 3
    backoff: float = 0.8


async def send(client: HttpClient, call: Call, authorize: Authorize, limits: Limits = Limits()) -> Answer:
    """Send a request and read its answer, within the limits.

    It waits for the network and between tries. Cancelling it closes the connection that was in use.

    Args:
        client: The client that sends it. Its own timeouts hold for each try as well.
        call: What to send.
        authorize: Adds the credential's headers.
        limits: How long and how often to try.

    Returns:
        The last answer, whatever its status.

    Raises:
        CredentialUsageError: when the client is closed.
        ServiceError: when there is no answer. It is permanent if the address is at fault, or the server refuses our
            version of TLS or our ciphers. It is not permanent after a certificate that is not trusted or a page in
            plain HTTP, which may be those of a portal to which a person has yet to log in.
    """
    if client.is_closed:
        raise explained(
            "http-client", CredentialUsageError("http_client is closed: keep it open for as long as it is used here")
        )
    await checkpoint_if_cancelled()  # a client's transport may answer without one
    with anyio.move_on_after(limits.timeout) as scope:
        return await _try_repeatedly(client, call, authorize, limits, scope)
    raise explained(
        "unreachable",
        ServiceError(f"the service gave no whole answer within {limits.timeout:g} seconds: try again later"),
    )


async def _try_repeatedly(
    client: HttpClient, call: Call, authorize: Authorize, limits: Limits, scope: anyio.CancelScope
) -> Answer:
    repeated = False
    for pause in _pauses(limits):
        outcome = await try_once(client, call, authorize)
        if not _may_repeat(call, outcome):
            break
        # The service may lengthen a pause, and not shorten it.
        wait = max(pause, (outcome.retry_after or 0.0) if isinstance(outcome, Answer) else 0.0)
        if anyio.current_time() + wait >= scope.deadline:
            break
        repeated = repeated or _may_be_done(outcome)
        await anyio.sleep(wait)
    else:
        outcome = await try_once(client, call, authorize)
    if isinstance(outcome, Failure):
        raise outcome.error
    return replace(outcome, repeated=repeated)


def _pauses(limits: Limits) -> Iterator[float]:
    """Seconds before each try but the first."""
    for doublings in range(limits.tries - 1):
        yield limits.backoff * 2**doublings * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing


def _may_repeat(call: Call, outcome: Answer | Failure) -> bool:
    if isinstance(outcome, Failure):
        return outcome.at_once and (call.repeatable or not outcome.sent)
    return outcome.status == 429 or (call.repeatable and outcome.status in _REPEATABLE)


def _may_be_done(outcome: Answer | Failure) -> bool:
    return outcome.sent if isinstance(outcome, Failure) else outcome.status != 429
