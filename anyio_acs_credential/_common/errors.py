"""One base error, and one class for each thing that a caller would do differently.

Every message says what to do next, and none contains a token, a key or another secret.
"""

from __future__ import annotations

from typing import TypeVar

from .public import public

# Read the Docs sends /page/... on to the version that is shown by default.
_PAGE = "https://anyio-acs-credential.readthedocs.io/page/errors/"

_Error = TypeVar("_Error", bound=BaseException)


def explained(anchor: str, error: _Error) -> _Error:
    """The error with a note, the address of its entry in docs/errors.md; `str(error)` does not show notes."""
    error.add_note(f"See {page_of(anchor)}")
    return error


def wrong_type(anchor: str, wanted: str, value: object, fix: str = "") -> TypeError:
    """The error for an argument of a wrong type.

    Args:
        anchor: The anchor of its entry in docs/errors.md.
        wanted: What the argument has to be, with its name: "timeout is a number of seconds".
        value: What was given. The message names its type and does not show the value.
        fix: What to do, if `wanted` does not say it.
    """
    return explained(anchor, TypeError(f"{wanted}, not {name_of(value)}{fix}"))


def name_of(thing: object) -> str:
    """The name of a value's type, for a message that must not show the value."""
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def page_of(anchor: str) -> str:
    """The address of an entry in docs/errors.md."""
    return f"{_PAGE}#{anchor}"


class CredentialError(Exception):
    """Base of the error classes of this package. Arguments that cannot work raise plain `TypeError` or `ValueError`."""


class InvalidIdentifierError(CredentialError, ValueError):
    """A value is not a communication identifier, or not a part of one, although it was given as such."""


class InvalidTokenError(CredentialError, ValueError):
    """A value that was given as an access token cannot be used as one."""


class TokenUnavailableError(CredentialError):
    """No valid token is held, and the method that was called cannot fetch one."""


class CredentialUsageError(CredentialError, RuntimeError):
    """The credential was used in a way that cannot work: fix the program."""


class CredentialClosedError(CredentialUsageError):
    """The credential's `async with` block or its event loop has ended, or `close()` was called."""


class CredentialNotEnteredError(CredentialUsageError):
    """The credential refreshes its token, and its `async with` block has not begun."""


class TokenRefreshError(CredentialError):
    """A refresh failed while no valid token was held, or a forced refresh failed.

    The source's own exception is the `__cause__`.

    Args:
        message: What failed and what to do next.
        permanent: Whether the source said that trying again cannot help.
        retry_after: Seconds for which the source asked to wait, above 0 and 300 at most; None if it did not ask.
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
        permanent: Whether trying again cannot help until something is changed. True stops refreshing in the
            background, except for a probe every 5 minutes. The attribute keeps what is given here; the credential
            takes any value but True itself, such as the text "no", for False.
        retry_after: Seconds to wait before the next attempt. The attribute keeps what is given here; the credential
            waits for 300 seconds at most, and ignores a value that is not a finite and positive number, such as the
            text "30", or True.
    """

    # For subclasses with an __init__ of their own that does not call this one.
    message: str = ""
    permanent: bool = False
    retry_after: float | None = None
    _fleet_wait: float | None = None  # set by `fleet._record`: seconds left of a wait that all processes keep

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
        retry_after: Seconds for which the service asked to wait, above 0 and 300 at most; None if it did not ask.
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
    """Only a person who signs in can help: call the Entra credential's `sign_in()`, then `refresh()`.

    Args:
        message: Why, and what to do next.
        permanent: Whether refreshing in the background stops, as `TokenSourceError` says.
        retry_after: Seconds to wait before the next attempt, as for `TokenSourceError`.
    """

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
