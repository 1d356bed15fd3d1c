"""One base error, and one class for each thing that a caller would do differently.

Every message says what to do next, and none contains a token, a key or another secret.
"""

from __future__ import annotations

from typing import TypeVar

from ._public import public

# Read the Docs sends /page/... on to the version that is shown by default.
_PAGE = "https://anyio-acs-credential.readthedocs.io/page/errors/"

_Error = TypeVar("_Error", bound=BaseException)


def explained(anchor: str, error: _Error) -> _Error:
    """The error, with the address of its entry in docs/errors.md as a note: a traceback shows it, `str(error)` not."""
    error.add_note(f"See {page_of(anchor)}")
    return error


def wrong_type(anchor: str, wanted: str, value: object, fix: str = "") -> TypeError:
    """What an argument gets that is of a wrong type.

    Args:
        anchor: That of its entry in docs/errors.md.
        wanted: What the argument is, with its name: "timeout is a number of seconds".
        value: What was given. Its type alone is told.
        fix: What to do, where that says it not yet.
    """
    return explained(anchor, TypeError(f"{wanted}, not {name_of(value)}{fix}"))


def name_of(thing: object) -> str:
    """What something is, for a message that may not show it."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def page_of(anchor: str) -> str:
    """The address of an entry in docs/errors.md."""
    return f"{_PAGE}#{anchor}"


def cut_repeats(error: BaseException) -> None:
    """Leave in an exception's traceback only how it was raised this time. Called where it is caught.

    One object that is raised again and again, such as a failure that a circuit breaker has kept, grows its traceback
    each time, and keeps every frame in it alive.
    """
    entry = error.__traceback__
    catcher = entry.tb_frame.f_code if entry is not None else None
    while entry is not None:
        following = entry.tb_next
        if following is not None and following.tb_frame.f_code is catcher:
            entry.tb_next = None
        entry = entry.tb_next


class CredentialError(Exception):
    """Base of every error that this package raises on its own account."""


class InvalidIdentifierError(CredentialError, ValueError):
    """A value that was given as a communication identifier, or as a part of one, is not one."""


class InvalidTokenError(CredentialError, ValueError):
    """A value that was given as an access token is not one that can be used."""


class TokenUnavailableError(CredentialError):
    """No valid token is held, and nothing that was called can fetch one."""


class CredentialUsageError(CredentialError, RuntimeError):
    """The credential was used in a way that cannot work: fix the program."""


class CredentialClosedError(CredentialUsageError):
    """The credential's `async with` block has ended, or `close()` was called."""


class CredentialNotEnteredError(CredentialUsageError):
    """The credential refreshes its token, and its `async with` block has not begun."""


class TokenRefreshError(CredentialError):
    """A refresh failed while no valid token was held, or a forced refresh failed.

    The source's own exception is the `__cause__`.

    Attributes:
        permanent: Whether the source said that trying again cannot help.
        retry_after: Seconds that the source asked to wait, if it did: a positive number, 300 at most.
    """

    permanent: bool = False
    retry_after: float | None = None

    def __init__(self, message: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class TokenSourceError(CredentialError):
    """Raised by a token source to say what kind of failure it met.

    Args:
        message: What failed and what to do next. It may reach log files: no secrets.
        permanent: Whether trying again cannot help until something is changed. It stops refreshing in the
            background, but for a probe every 5 minutes. Only True itself does: any other value, such as the text
            "no", is taken for False.
        retry_after: Seconds to wait before the next attempt, honoured up to 5 minutes. What is no number that is
            finite and positive is ignored, a text ("30") and True included.
    """

    # For subclasses with an __init__ of their own that does not call this one.
    message: str = ""
    permanent: bool = False
    retry_after: float | None = None
    _fleet_wait: float | None = None  # what is left of the wait that a fleet counts together

    def __init__(self, message: str = "", *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.permanent = permanent
        self.retry_after = retry_after


class ServiceError(TokenSourceError):
    """A request failed: the exchange, the Identity API or Entra refused, could not be reached, or answered nonsense.

    Attributes:
        status_code: The HTTP status, or None where there was no answer.
        code: The service's error code, such as "TooManyRequests", if it gave one.
        message: What failed and what to do next.
        request_id: The service's id of the request, to quote to its support, if it gave one.
        retry_after: Seconds that the service asked to wait, if it did.
        permanent: Whether trying again cannot help until something is changed.
    """

    def __init__(
        self,
        message: str = "",
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, permanent=permanent, retry_after=retry_after)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id


class SignInRequiredError(TokenSourceError):
    """Only a person who signs in can help: call the Entra credential's `sign_in()`, then `refresh()`."""

    def __init__(self, message: str = "", *, permanent: bool = True, retry_after: float | None = None) -> None:
        super().__init__(message, permanent=permanent, retry_after=retry_after)


public(
    CredentialClosedError,
    CredentialError,
    CredentialNotEnteredError,
    CredentialUsageError,
    InvalidIdentifierError,
    InvalidTokenError,
    SignInRequiredError,
    ServiceError,
    TokenRefreshError,
    TokenSourceError,
    TokenUnavailableError,
)
