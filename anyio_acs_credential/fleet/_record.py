"""What the processes of a fleet tell each other: a token, a failure, or a failure and the token before it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any, ClassVar

from .._errors import ServiceError, SignInRequiredError, TokenSourceError, explained
from .._exchange.wire import ExchangedToken
from .._redaction import Secret
from ._store import StoreError


class SharedToken(ExchangedToken):
    """An access token that another process has fetched."""

    __slots__ = ()

    _is_shared: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Kept:
    """A token that was fetched.

    Attributes:
        text: The token's.
        expires_on: When it ends, in Unix seconds.
        life: Seconds that it had left when it was fetched, as the service has it.
        fence: That of the lease under which it was.
        claims: The digest of the claims that it meets, or None.
        raw_id: Whose it is, if the service said so.
        at: When it was fetched, in Unix seconds, by the clock of the machine that did.
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

        On one machine, whose clock may be hours from the service's, this is right; between two machines, as far as
        their clocks agree.
        """
        return self.life - max(now - self.at, 0.0)

    def token(self, now: float) -> SharedToken:
        """The token, which lives from now on for as long as is left of it."""
        return SharedToken(self.text, self.expires_on, self.raw_id, self.left(now))


@dataclass(frozen=True, slots=True)
class Failure:
    """A round that failed.

    Attributes:
        message: What failed and what to do next, without a secret.
        wait: Seconds from then on in which nobody asks again.
        took: Seconds from the lease to the failure.
        streak: How many have in a row, this one included, in whichever processes.
        claims: The digest of the claims that it was asked for, or None.
        permanent: Whether trying again cannot help until something is changed.
        kind: The name of the error's class, where programs tell by it what to do.
        status_code: As `ServiceError` has it; so `code` and `request_id`.
    """

    message: str
    wait: float
    took: float
    streak: int = 1
    claims: str | None = None
    permanent: bool = False
    kind: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None

    def error(self, left: float) -> TokenSourceError:
        """What it is in another process.

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
    """What lies in a store for a key.

    Attributes:
        token: The last token, while it is valid.
        failure: The failure of the last round, if it failed.
    """

    token: Kept | None = None
    failure: Failure | None = None

    def to_bytes(self) -> bytes:
        """As it is put."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """As it was put.

        Raises:
            StoreError: when it is no such thing.
        """
        hidden, data = Secret(data), b""  # no frame that an error passes shows it
        if (record := _parsed(hidden)) is None:
            raise StoreError("what lies in the store is no record of this version: have all processes run the same one")
        return record


def digest(claims: str | None) -> str | None:
    """What tells the claims of one challenge from those of another, and tells nothing of them."""
    return None if claims is None else sha256(claims.encode()).hexdigest()


def _parsed(hidden: Secret) -> Record | None:
    with suppress(ArithmeticError, LookupError, TypeError, ValueError):
        content = json.loads(hidden.value)
        token, failure = content["token"], content["failure"]
        record = Record(token and _read(Kept, token), failure and _read(Failure, failure))
        if record.token is not None:
            record.token.token(record.token.at)  # it is one
        return record
    return None


_NUMBERS = {"at", "expires_on", "life", "fence", "wait", "took", "streak"}


def _read(kind: type[Any], content: dict[str, Any]) -> Any:
    """One of those, without what a later version may have added to it: both run while a program is deployed."""
    known = {each.name: content[each.name] for each in fields(kind) if each.name in content}
    read = kind(**known)
    for name in _NUMBERS & set(known):
        if isinstance(known[name], bool) or not 0 <= known[name] < 1e18:
            raise ValueError(name)
    return read
