"""Sign-ins on another device: codes that a person reads off one screen and enters on another. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from secrets import choice, token_urlsafe
from typing import TYPE_CHECKING, Any

from ..._common.errors import explained
from .errors import OAuthError
from .grants import Grant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._settings import Clock

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"


@dataclass
class _Device:
    scope: str
    claims: Mapping[str, Any]
    interval: float
    expires_on: float
    polled_at: float = -math.inf
    state: str = "pending"
    grant: Grant | None = None


class DeviceCodes:
    """The device authorization grant (RFC 8628).

    Attributes:
        interval: Seconds between a client's polls for a code, at first 5 (RFC 8628, section 3.2).
        lifetime: Seconds that a code lives, at first 900, as in Entra:
            https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code.
    """

    def __init__(self, clock: Clock) -> None:
        self.interval: int = 5
        self.lifetime: float = 900
        self._clock = clock
        self._devices: dict[str, _Device] = {}
        self._user_codes: dict[str, _Device] = {}

    def start(self, scope: str, claims: Mapping[str, Any]) -> tuple[str, str]:
        """A device code and a user code."""
        device = _Device(scope, claims, self.interval, self._clock.time() + self.lifetime)
        device_code, user_code = token_urlsafe(32), "".join(choice(_LETTERS) for _ in range(9))
        self._devices[device_code] = self._user_codes[user_code] = device
        return device_code, user_code

    def answer(self, user_code: str, user: str | None) -> None:
        """Let the person who reads a code approve or, with None, decline.

        Raises:
            ValueError: when the code is unknown, has expired or was answered before.
        """
        device = self._user_codes.get(user_code.strip().upper())
        now = self._clock.time()
        if device is None or device.state != "pending" or device.expires_on <= now:
            problem = "the user code is unknown, has expired or was answered before: start a new sign-in"
            raise explained("emulator-arguments", ValueError(problem))
        device.state = "declined" if user is None else "approved"
        if user is not None:
            device.grant = Grant(user=user, scope=device.scope, claims=device.claims, signed_in_at=now)

    def redeem(self, device_code: str) -> Grant:
        """What the person agreed to. A code is redeemed once.

        Raises:
            OAuthError: in every other case, such as when the person has not answered yet.
        """
        device = self._devices.get(device_code)
        now = self._clock.time()
        if device is None:
            raise OAuthError("bad_verification_code", 501581, "The device code is unknown.")
        if device.state == "redeemed":
            raise OAuthError("invalid_grant", 54005, "The device code was already redeemed.")
        if device.state == "declined":
            raise OAuthError("authorization_declined", 70017, "The user declined.")
        if device.expires_on <= now:
            raise OAuthError("expired_token", 70020, "The device code has expired.")
        early = now - device.polled_at < device.interval
        device.polled_at = now
        if device.grant is None and early:
            device.interval += 5  # RFC 8628, section 3.5
            raise OAuthError("slow_down", 70016, "The application polls too often.")
        if device.grant is None:
            raise OAuthError("authorization_pending", 70016, "The user has not answered yet.")
        device.state = "redeemed"
        return device.grant
