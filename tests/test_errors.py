"""The errors: what each carries, and how they are told apart."""

from __future__ import annotations

import copy
import pickle

import pytest

import anyio_acs_credential
from anyio_acs_credential import (
    CredentialError,
    CredentialUsageError,
    InvalidTokenError,
    ServiceError,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)

ERRORS = [getattr(anyio_acs_credential, name) for name in anyio_acs_credential.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_a_credential_error(error: type[Exception]) -> None:
    """One base catches all, and each takes a message and survives a copy and a pickle with it."""
    assert issubclass(error, CredentialError)
    for copied in (copy.copy(error("why")), pickle.loads(pickle.dumps(error("why")))):  # noqa: S301 - our own
        assert type(copied) is error
        assert str(copied) == "why"


def test_misuse_and_bad_values_are_the_builtin_kinds_too() -> None:
    """Code that knows nothing of this package catches them as what they are."""
    assert issubclass(InvalidTokenError, ValueError)
    assert issubclass(CredentialUsageError, RuntimeError)


@pytest.mark.promise("R53")
def test_what_a_failure_carries() -> None:
    """Status, code, request id, the wish to wait and whether trying again can help; after a pickle as well."""
    error = ServiceError("no", permanent=True, retry_after=7, status_code=403, code="Denied", request_id="r-1")
    for shown in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert (shown.message, shown.permanent, shown.retry_after) == ("no", True, 7)
        assert (shown.status_code, shown.code, shown.request_id) == (403, "Denied", "r-1")
    assert isinstance(error, TokenSourceError)
    assert (TokenRefreshError("no").permanent, TokenRefreshError("no").retry_after) == (False, None)


def test_only_a_person_can_help() -> None:
    """A sign-in that is wanted is permanent until somebody signs in."""
    assert SignInRequiredError("call sign_in()").permanent
