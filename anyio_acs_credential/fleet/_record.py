"""What the processes of a fleet tell each other through the store: a token, a failure, or both."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any, ClassVar

from .._common.errors import ServiceError, SignInRequiredError, TokenSourceError, explained
from .._common.redaction import Secret
from .._exchange.wire import ExchangedToken
from ._store import StoreError


class SharedToken(ExchangedToken):
    """An access token that another process has fetched."""

    __slots__ = ()

    _is_shared: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Kept:
    """A token as the store keeps it.

    Attributes:
        text: The token's text.
        expires_on: When it expires, in Unix seconds.
        life: Seconds that it had left when it was fetched, by the service's clock.
        fence: The fence of the lease under which it was fetched.
        claims: The digest of the claims that it meets, or None.
        raw_id: The raw id of its user, or None where the service named no user.
        at: When it was fetched, in Unix seconds by the clock of the machine that fetched it.
    """

    text: str = field(repr=False)
    expires_on: int
    life: float
    fence: int
    claims: str | None = None
    raw_id: str | None = None
    at: float = 0.0

    def left(self, now: float) -> float:
        """Seconds that it lives from now on.

        On the machine that fetched it, this is right even where the clock is hours from the service's. On another
        machine, it is as right as the two machines' clocks agree.
        """
        return self.life - max(now - self.at, 0.0)

    def token(self, now: float) -> SharedToken:
        """The token, for a credential, with the seconds that it lives from now on."""
        return SharedToken(self.text, self.expires_on, self.raw_id, self.left(now))


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed round as the store keeps it.

    Attributes:
        message: What failed and what to do next, without a secret.
        wait: Seconds after the failure in which no process asks the source by itself.
        took: Seconds from the taking of the lease to the failure.
        streak: How many rounds in a row have failed, this one included, in all processes. A round for a challenge
            counts those with the same claims.
        claims: The digest of the claims that were asked for, or None.
        plain: The streak of the rounds without claims before it, where claims were asked for.
        permanent: Whether trying again cannot help until something is changed.
        kind: The name of the error's class, where programs decide by it; else empty.
        status_code: As `ServiceError` has it.
        code: As `ServiceError` has it.
        request_id: As `ServiceError` has it.
    """

    message: str
    wait: float
    took: float
    streak: int = 1
    claims: str | None = None
    plain: int = 0
    permanent: bool = False
    kind: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None

    def error(self, left: float) -> TokenSourceError:
        """The error that another process raises for it.

        Args:
            left: Seconds of the wait that are left.
        """
        message = f"another process of the fleet was told: {self.message}"
        retry_after = None if self.permanent else left
        if self.kind == "SignInRequiredError":
            error: TokenSourceError = SignInRequiredError(message, permanent=self.permanent, retry_after=retry_after)
        elif self.kind == "ServiceError":
            details: Any = {"status_code": self.status_code, "code": self.code, "request_id": self.request_id}
            error = ServiceError(message, permanent=self.permanent, retry_after=retry_after, **details)
        else:
            error = TokenSourceError(message, permanent=self.permanent, retry_after=retry_after)
        error._fleet_wait = left
        return explained("another-process", error)


@dataclass(frozen=True, slots=True)
class Record:
    """What a store keeps for a key.

    Attributes:
        token: The last token while it is valid, or None.
        failure: The failure of the last round, or None where it succeeded.
    """

    token: Kept | None = None
    failure: Failure | None = None

    def to_bytes(self) -> bytes:
        """The record as a value for a store."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """The record in a store's value.

        Raises:
            StoreError: when the value is not a record of this version.
        """
        hidden, data = Secret(data), b""  # no frame that an error passes shows it
        if (record := _parsed(hidden)) is None:
            raise StoreError("what lies in the store is no record of this version: have all processes run the same one")
        return record


def digest(claims: str | None) -> str | None:
    """A hash that tells the claims of one challenge from those of another, and reveals nothing of them."""
    return None if claims is None else sha256(claims.encode()).hexdigest()


def _parsed(hidden: Secret) -> Record | None:
    with suppress(ArithmeticError, LookupError, TypeError, ValueError):
        content = json.loads(hidden.value)
        token, failure = content["token"], content["failure"]
        record = Record(token and _read(Kept, token), failure and _read(Failure, failure))
        if record.token is not None:
            record.token.token(record.token.at)  # raises where the token is not usable
        return record
    return None


_NUMBERS = {"at", "expires_on", "life", "fence", "wait", "took", "streak", "plain"}


def _read(kind: type[Any], content: dict[str, Any]) -> Any:
    """One of those, without what a later version may have added to it: both run while a program is deployed."""
    known = {each.name: content[each.name] for each in fields(kind) if each.name in content}
    read = kind(**known)
    for name in _NUMBERS & set(known):
        if isinstance(known[name], bool) or not 0 <= known[name] < 1e18:
            raise ValueError(name)
    return read
