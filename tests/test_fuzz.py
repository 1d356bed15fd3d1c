"""Four thousand broken answers for each parser, a thousand where MSAL reads them; `nox -s fuzz` gives a million."""

from __future__ import annotations

import json
from random import Random

import pytest
from fuzz import ACCEPTED, PARSERS, Found, Parser, fuzz, is_token
from mutations import LARGEST, mutated

from anyio_acs_credential import AccessToken, InvalidTokenError
from anyio_acs_credential.testing import make_jwt

BY_MSAL = {"discovery", "device_code", "token", "renewal"}


@pytest.mark.timeout(300)  # nothing in it waits
@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.promise("R36")) if name == "jwt" else name for name in PARSERS]
)
def test_whatever_an_answer_says_it_is_read_or_refused_as_documented(name: str) -> None:
    """And a good answer after it is read as if nothing had been."""
    found = fuzz(PARSERS[name](), 1_000 if name in BY_MSAL else 4_000)
    assert found.problems == []
    refused = found.outcomes.total() - found.outcomes[ACCEPTED]
    assert min(found.outcomes[ACCEPTED], refused) > 100


def of(read: object, **options: object) -> Found:
    return fuzz(Parser(lambda chance: chance.random(), read, InvalidTokenError, is_token, **options), 50)  # type: ignore[arg-type]


def test_what_is_not_documented_is_found() -> None:
    """Another exception, a result that is none, a message of two lines, and a trace that is left."""

    def fail(error: Exception) -> object:
        raise error

    token = AccessToken.from_jwt(make_jwt())
    assert of(lambda _: token).problems == []
    assert of(lambda _: fail(InvalidTokenError("no"))).problems == []
    for found, says in [
        (of(lambda _: fail(KeyError("x"))), "KeyError"),
        (of(lambda _: fail(InvalidTokenError("two\nlines"))), "its message"),
        (of(lambda _: token, recovers=lambda: fail(ValueError("spoilt"))), "a good answer after it"),
    ]:
        assert len(found.problems) == 5
        assert all(says in problem for problem in found.problems)


def test_mutations_are_many_and_of_every_kind() -> None:
    """Most differ, some are JSON still, none is larger than what is read of an answer, and a seed gives the same."""
    corpus = (json.dumps({"a": [1, {"b": "c" * 100}], "d": None}).encode(),)
    made, again = ([mutated(Random(seed), corpus) for seed in range(2000)] for _ in range(2))  # noqa: S311 - a test
    assert made == again
    assert len(set(made)) > 1000
    assert max(map(len, made)) <= LARGEST
    assert 200 < sum(is_json(data) for data in made) < 1800


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
