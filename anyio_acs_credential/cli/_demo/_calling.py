"""A worker's task: one chat request after the other, with the token of its credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from anyio import sleep

from ... import CredentialError, RefreshPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = 0.08
"""Seconds between two requests of one of the `WORKERS`."""

_THREADS = "/chat/threads?api-version=2024-03-07"


async def keep_calling(
    calls: httpx.AsyncClient, pause: float, is_wanted: Callable[[], bool], answered: Callable[[str], object]
) -> None:
    """Send requests until no more are wanted. Cancelling it ends the request in flight.

    Args:
        calls: A client of the service, which adds the token.
        pause: Seconds between two requests.
        is_wanted: Whether to send another one.
        answered: Called after each request, with the reason why it failed, or with an empty text.
    """
    while is_wanted():
        try:
            status = (await calls.get(_THREADS)).status_code
            problem = "" if status == 200 else f"its answer is {status}"
        except (httpx.HTTPError, CredentialError) as error:
            problem = type(error).__name__
        answered(problem)
        await sleep(pause)


def policy(lifetime: float, refresh_timeout: float) -> RefreshPolicy:
    """A policy that is to tokens of some seconds what the defaults are to a token of a day.

    Args:
        lifetime: Seconds that a token lives.
        refresh_timeout: Seconds that a round may take.
    """
    return RefreshPolicy(
        proactive_window=lifetime / 2,
        on_demand_window=lifetime / 20,
        on_demand_wait=0.1,
        refresh_timeout=refresh_timeout,
        retry_initial=lifetime / 40,
        retry_max=lifetime / 20,
        jitter=0,
    )
