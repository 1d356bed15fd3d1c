"""The wire format of the exchange."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyio_acs_credential import AccessToken, ServiceError
from anyio_acs_credential._exchange.scopes import DEFAULT_SCOPE
from anyio_acs_credential._exchange.wire import EXCHANGE_BODY, ExchangedToken, exchange_url, read_exchange
from anyio_acs_credential._http.answer import Answer
from anyio_acs_credential.testing import make_jwt

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
SPELLINGS = [case for case in VECTORS["entra_exchange_responses"] if case["status"] == 200]
USER = "8:acs:52a5e676_cdc5aeea_cab309e5"
SOON = 2_043_570_089  # 2034-10-04T10:21:29Z


NO_TIMES: list[Any] = [
    *(None, "", "soon", True, [], {}, "2034-10-04T10:21:29", "20341004T", 1e18, -1e18, "9" * 18, "1e5"),
    *("-1", "9" * 5000, "0x10", "٣"),
]


class At:
    """A clock that stands still."""

    def time(self) -> float:
        return float(SOON)

    monotonic = time


def body(token: Any = "opaque", expires_on: Any = SOON, **more: Any) -> dict[str, Any]:  # noqa: S107 - no real one
    return {"identity": {"id": USER}, "accessToken": {"token": token, "expiresOn": expires_on}, **more}


def read(content: Any, status: int = 200) -> ExchangedToken:
    return read_exchange(Answer(status, (("x-ms-request-id", "id-1"),), json.dumps(content).encode()))


def test_the_request_is_the_documented_one() -> None:
    for case in VECTORS["entra_endpoint_selection"]["request_url"]:
        assert exchange_url(case["resource_endpoint"], (DEFAULT_SCOPE,)) == case["url"]
    assert json.loads(EXCHANGE_BODY) == {}


@pytest.mark.parametrize("case", SPELLINGS, ids=lambda case: case["body"]["accessToken"]["expiresOn"])
def test_the_reference_vectors(case: dict[str, Any]) -> None:
    token = read(case["body"])
    assert token.token == case["expect"]["token"]
    assert token.expires_on == int(case["expect"]["expires_on_epoch"])
    assert token.raw_id == case["body"]["identity"]["id"]
    assert repr(token) == f"AccessToken(<hidden>, expires_on={token.expires_on})"


@pytest.mark.promise("R27", "R35")
@pytest.mark.parametrize(
    "spelling",
    [
        "2034-10-04T10:21:29.4729393+00:00",
        "2034-10-04T10:21:29Z",
        "2034-10-04T12:21:29.5+02:00",
        "2034-10-04 10:21:29.999999+0000",
        SOON,
        SOON + 0.5,
        str(SOON),
        f"{SOON}.75",
    ],
)
def test_every_spelling_of_an_expiry_is_read(spelling: Any) -> None:
    """ISO 8601 with offsets and seven digits, epoch numbers, and numbers as text."""
    assert read(body(expires_on=spelling)).expires_on == SOON


@pytest.mark.promise("R26")
@pytest.mark.parametrize(("own", "wins"), [(-600, SOON - 600), (600, SOON), (0, SOON)])
def test_the_earlier_expiry_wins(own: int, wins: int) -> None:
    """What the answer says and what the JWT says are both limits, whichever clock is wrong."""
    assert read(body(make_jwt(own, clock=At()))).expires_on == wins


@pytest.mark.promise("R26")
@pytest.mark.parametrize("token", ["opaque", "a.b.c.d.e", make_jwt(exp=True), make_jwt(exp="soon"), make_jwt(exp=1e30)])
def test_a_token_that_does_not_say_when_it_ends_ends_when_the_answer_says(token: str) -> None:
    assert read(body(token)).expires_on == SOON


@pytest.mark.parametrize(
    ("identity", "named"),
    [({"id": USER}, USER), ({"id": ""}, None), ({"id": 7}, None), ({}, None), (None, None), ([], None), ("text", None)],
)
def test_the_identity_is_published_where_it_is_named(identity: Any, named: str | None) -> None:
    """An answer without one is still an answer."""
    assert read(body(identity=identity)).raw_id == named


@pytest.mark.promise("R35")
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"accessToken": None},
        {"accessToken": []},
        {"accessToken": "text"},
        {"accessToken": {"token": "t"}},
        {"accessToken": {"expiresOn": SOON}},
        {"token": "t", "expiresOn": SOON},
        *map(body, ["", " ", None, 7, [], "Bearer t", "a b", "é"]),
        *(body(expires_on=value) for value in NO_TIMES),
    ],
    ids=lambda content: json.dumps(content)[:60],
)
def test_a_malformed_answer_is_a_transient_error(content: Any) -> None:
    """It names what is wrong, and no token."""
    with pytest.raises(ServiceError, match="malformed") as caught:
        read(content)
    error = caught.value
    assert (error.permanent, error.status_code, error.request_id) == (False, 200, "id-1")


def test_more_than_is_wanted_does_no_harm() -> None:
    assert read(body(extra=1, expiresIn=2)).token == "opaque"


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        *((status, True) for status in (301, 307, 400, 401, 403, 404, 409, 422)),
        *((status, False) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
def test_an_error_says_what_the_service_said(status: int, permanent: bool) -> None:
    """Status, code, message, request id and whether trying again can help."""
    with pytest.raises(ServiceError) as caught:
        read({"error": {"code": "Denied", "message": "Not so."}}, status)
    error = caught.value
    assert (error.status_code, error.code, error.request_id, error.permanent) == (status, "Denied", "id-1", permanent)
    assert "Not so." in error.message


@pytest.mark.promise("R52")
def test_an_exchanged_token_is_an_access_token_with_a_name() -> None:
    token = read(body("canary"))
    assert isinstance(token, AccessToken)
    assert token == AccessToken("canary", SOON)
    assert copy.deepcopy(token) is token
    assert "canary" not in f"{token} {token!r}"
    with pytest.raises(TypeError):
        pickle.dumps(token)
    with pytest.raises(AttributeError):
        token.raw_id = "other"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "identity": JSON | st.fixed_dictionaries({}, optional={"id": JSON}),
        "accessToken": JSON | st.fixed_dictionaries({}, optional={"token": JSON, "expiresOn": JSON}),
    },
)
GOOD = json.dumps(body(make_jwt(3600, clock=At()))).encode()


@pytest.mark.promise("R35")
@given(ANSWERS.map(lambda content: json.dumps(content).encode()) | st.binary(max_size=100))
def test_any_answer_gives_a_token_or_the_documented_error(content: bytes) -> None:
    _judge(content)


@pytest.mark.promise("R35")
@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 8),
    st.binary(max_size=8) | st.sampled_from([b'"', b"null", b"\xff", b"9"]),
)
def test_any_change_of_a_good_answer_gives_a_token_or_the_documented_error(at: int, cut: int, put: bytes) -> None:
    _judge(GOOD[:at] + put + GOOD[at + cut :])


def _judge(content: bytes) -> None:
    try:
        token = read_exchange(Answer(200, (), content))
    except ServiceError as error:
        assert not error.permanent  # noqa: PT017 - either outcome is good
        assert "eyJ" not in str(error)  # noqa: PT017 - likewise
    else:
        assert token.token.isascii()
