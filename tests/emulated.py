"""What the tests of the emulator share: its clock, and a client that trusts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx

if TYPE_CHECKING:
    from anyio_acs_credential.emulator import Emulator


class Clock:
    """A clock that stands still until it is moved, and tells when it was asked."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.asked = anyio.Event()

    def time(self) -> float:
        self.asked.set()
        return self.now


def client_of(emulator: Emulator, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=emulator.endpoint, verify=emulator.ssl_context, **options)
