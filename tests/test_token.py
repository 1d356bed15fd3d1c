"""Access tokens and everything that is given as one."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import pickle
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    InvalidTokenError,
    TokenRefreshError,
    TokenUnavailableError,
)
from anyio_acs_credential._common.errors import page_of
from anyio_acs_credential._exchange.wire import ExchangedToken
from anyio_acs_credential._tokens.access_token import hint_of_a_life, life_of, raw_id_of
from anyio_acs_credential._tokens.jwt import peek
from anyio_acs_credential._tokens.results import accept, read_expiry
from anyio_acs_credential.testing import make_jwt
from anyio_acs_credential.typing import AccessTokenInfo

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt_of(payload: bytes, header: bytes = b'{"alg":"RS256","typ":"JWT"}') -> str:
    return f"{segment(header)}.{segment(payload)}.c2lnbmF0dXJl"


@pytest.mark.promise("R36")
@pytest.mark.parametrize("case", VECTORS["jwt"], ids=lambda case: case["id"])
def test_vectors(case: dict[str, Any]) -> None:
    """A JWT is accepted exactly where it is well formed and has a usable expiry."""
    if case["well_formed_with_usable_exp"]:
        token = AccessToken.from_jwt(case["token"])
        assert token.token == case["token"]
        assert token.expires_on == case["exp_epoch_seconds"] // 1
    else:
        with pytest.raises(InvalidTokenError) as caught:
            AccessToken.from_jwt(case["token"])
        assert len(case["token"].strip()) < 8 or case["token"] not in str(caught.value)


@pytest.mark.promise("R36", "R27")
@pytest.mark.parametrize(
    "payload",
    [
        b'{"exp":1e400}',
        b'{"exp":-1e400}',
        b'{"exp":NaN}',
        b'{"exp":1e18}',
        b'{"exp":253402300800}',
        b'{"exp":null}',
        b'{"exp":"4102444800"}',
        b'{"exp":"2034-10-04T10:21:29Z"}',
        b'{"exp":{}}',
        b'{"exp":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"exp":4102444800',
        b"\xff\xfe{}",
        '{"exp":4102444800}'.encode("utf-16"),
        b"\xef\xbb\xbf" + b'{"exp":4102444800}',
    ],
    ids=range(15),
)
def test_payloads_that_are_refused(payload: bytes) -> None:
    """One error type for every malformed token, raised with nothing behind it that could show the token."""
    with pytest.raises(InvalidTokenError) as caught:
        AccessToken.from_jwt(jwt_of(payload))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.promise("R36")
@pytest.mark.parametrize(
    "text",
    [
        "a+b.e30.c2ln",
        "a/b.e30.c2ln",
        "e30..c2ln",
        ".e30.c2ln",
        "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9\u00e9.c2ln",
        "a.b.c.d.e",
        "....",
        "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln\n",
        "\ud800.e30.c2ln",
        b"eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln",
        None,
        42,
    ],
)
def test_texts_that_are_refused(text: Any) -> None:
    """What is no three base64url segments, or no text at all, is refused."""
    with pytest.raises(InvalidTokenError):
        AccessToken.from_jwt(text)


@pytest.mark.promise("R36")
@given(st.text(max_size=200) | st.from_regex(r"[\w.=-]{0,200}") | st.binary(max_size=150).map(jwt_of))
def test_any_text_is_a_token_or_an_invalid_one(text: str) -> None:
    """No text makes anything but a token or the one error, and the error never quotes it."""
    try:
        token = AccessToken.from_jwt(text)
    except InvalidTokenError as error:
        assert len(text) < 12 or text not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert token.token == text


@pytest.mark.promise("R36")
@given(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.lists(st.integers())),
    st.integers(-62_135_596_800, 253_402_300_799),
)
def test_every_well_formed_jwt_is_read(claims: dict[str, Any], exp: int) -> None:
    """Whatever its claims are, in whatever language, a JWT with an expiry is accepted and its claims are there."""
    claims = {**claims, "exp": exp}
    token = AccessToken.from_jwt(jwt_of(json.dumps(claims, ensure_ascii=False).encode("utf-8", "replace")))
    assert token.expires_on == exp


def test_an_unsigned_jwt_is_read() -> None:
    """The third segment may be empty: an unsecured JWT (RFC 7519, section 6) is well formed."""
    assert AccessToken.from_jwt(jwt_of(b'{"exp":4102444800}').rpartition(".")[0] + ".").expires_on == 4102444800


def test_an_encrypted_token_needs_its_expiry() -> None:
    """A JWE is refused with the fix, and accepted with an explicit expiry.

    It answers Azure/azure-sdk-for-js#39156.
    """
    encrypted = "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"
    with pytest.raises(InvalidTokenError, match=r"AccessToken\(token, expires_on\)"):
        AccessToken.from_jwt(encrypted)
    token = AccessToken(encrypted, 4102444800)
    assert token.claims == {}


CUT = "the token's payload is not a JSON object in UTF-8; it was cut or changed on its way"
NO_JWT = (
    "the token is not a JWT: three base64url segments with dots between them are wanted. "
    "If it is an opaque token, say when it ends: AccessToken(token, expires_on)"
)


@pytest.mark.parametrize(
    ("text", "fix", "entry"),
    [
        (jwt_of(b"{}"), "the token has no `exp` claim; say when it ends: AccessToken(token, expires_on)", "no-expiry"),
        (
            "a.b.c.d.e",
            "the token is encrypted (a JWE); say when it ends: AccessToken(token, expires_on)",
            "encrypted-token",
        ),
        ("opaque", NO_JWT, "invalid-token"),
        (jwt_of(b"[]"), CUT, "invalid-token"),
        (jwt_of(b'{"exp":4102444800}') + "Q", CUT, "invalid-token"),
    ],
)
def test_what_is_said_of_a_text_that_is_refused(text: str, fix: str, entry: str) -> None:
    """What is wrong with it, what helps, in the spelling that is to be typed, and where more is to be read."""
    with pytest.raises(InvalidTokenError) as caught:
        AccessToken.from_jwt(text)
    assert str(caught.value) == fix
    assert caught.value.__notes__ == [f"See {page_of(entry)}"]


BLANK = r"^the access token is blank: give its text\nSee .*#invalid-token$"
BEARER = r'^leave out the "Bearer " prefix: the token alone is wanted\nSee .*#bearer-prefix$'
NO_HEADER = r"^the access token contains white space or a character that no HTTP header can carry: copy it again\n"
NO_TEXT = r"^an access token is text \(str\), not {}\nSee .*#invalid-token$"


@pytest.mark.parametrize(
    ("token", "fix"),
    [
        ("", BLANK),
        ("  ", BLANK),
        (" a", NO_HEADER),
        ("a\n", NO_HEADER),
        ("a b", NO_HEADER),
        ("Bearer abc", BEARER),
        ("bearer abc", BEARER),
        ("é", NO_HEADER),
        (b"abc", NO_TEXT.format("bytes")),
        (None, NO_TEXT.format("NoneType")),
    ],
)
def test_texts_that_no_header_can_carry(token: Any, fix: str) -> None:
    """An opaque token is any text that can stand behind "Bearer ", and nothing else."""
    with pytest.raises(InvalidTokenError, match=fix):
        AccessToken(token, 4102444800)


@pytest.mark.promise("R27")
@pytest.mark.parametrize("expires_on", [True, "4102444800", None, float("nan"), float("inf"), 1e18, -1e18, [1]])
def test_expiries_that_are_refused(expires_on: Any) -> None:
    """An expiry is a number of seconds that is some day between the years 1 and 9999."""
    with pytest.raises(InvalidTokenError):
        AccessToken("opaque", expires_on)


def test_a_fraction_of_a_second_is_floored() -> None:
    """A token never claims to live longer than it does."""
    assert AccessToken("opaque", 1.9).expires_on == 1
    assert AccessToken("opaque", -1.5).expires_on == -2
    assert isinstance(AccessToken("opaque", 1.0).expires_on, int)


@pytest.mark.promise("R2")
def test_a_token_is_immutable() -> None:
    """Text and expiry are one value that never changes."""
    token = AccessToken("opaque", 1)
    with pytest.raises(AttributeError, match="immutable"):
        token.token = "other"
    with pytest.raises(AttributeError, match="immutable"):
        token.expires_on = 2
    with pytest.raises(AttributeError, match="stays"):
        del token.token
    assert (token.token, token.expires_on) == ("opaque", 1)


@pytest.mark.promise("R52")
@pytest.mark.parametrize("token", [AccessToken("canary-5f2c", 1), AccessTokenInfo("canary-5f2c", 1)])
def test_a_token_is_never_shown(token: AccessToken) -> None:
    """No way of turning a token into text shows it, nor how long it is."""
    shown = f"{token!r} {token!s} {token} {token:>80} %r" % token
    assert "canary" not in shown
    assert repr(token) == f"{type(token).__name__}(<hidden>, expires_on=1)"
    assert f"{token:>80}" == repr(token).rjust(80)
    assert repr(AccessToken("a" * 99, 1)) == repr(AccessToken("a", 1))
    with pytest.raises(TypeError):
        vars(token)
    with pytest.raises(TypeError):
        dataclasses.asdict(token)  # type: ignore[call-overload]  # that it is no dataclass is the point
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"^an access token is a secret .* on purpose, send its text"):
            pickle.dumps(token, protocol)
    assert copy.copy(token) is token
    assert copy.deepcopy([token])[0] is token


def test_tokens_are_equal_by_value() -> None:
    """Equal text and expiry make equal tokens, which hash alike."""
    assert AccessToken("a", 1) == AccessToken("a", 1.5)
    assert hash(AccessToken("a", 1)) == hash(AccessToken("a", 1.5))
    assert len({hash(AccessToken("a", seconds)) for seconds in range(9)}) > 1
    assert len({hash(AccessToken("a" * length, 1)) for length in range(1, 9)}) > 1
    assert AccessToken("a", 1) != AccessToken("a", 2)
    assert AccessToken("a", 1) != AccessToken("b", 1)
    assert AccessToken("a", 1) != ("a", 1)


def test_claims_are_read_only() -> None:
    """The payload can be read and not changed, not even inside."""
    token = AccessToken.from_jwt(jwt_of(b'{"exp":4102444800,"acsScope":"chat","list":[1]}'))
    assert token.claims["acsScope"] == "chat"
    with pytest.raises(TypeError):
        token.claims["acsScope"] = "voip"  # type: ignore[index]  # that it cannot be set is the point
    token.claims["list"].append(2)
    assert token.claims["list"] == [1]
    assert AccessToken("opaque", 1).claims == {}


def test_what_a_refresher_may_return() -> None:
    """A JWT, an AccessToken, or anything with a token and its expiry."""
    jwt = jwt_of(b'{"exp":4102444800}')
    ours = AccessToken("opaque", 5)
    assert accept(jwt) == AccessToken(jwt, 4102444800)
    assert accept(ours) is ours
    assert accept(SimpleNamespace(token="opaque", expires_on=5.5)) == ours
    assert accept(SimpleNamespace(token="opaque", expires_on="1970-01-01T00:00:05.9999999+00:00")) == ours


@pytest.mark.parametrize("result", [None, 5, b"abc", {"token": "a", "expires_on": 1}, SimpleNamespace(token="a")])
def test_what_a_refresher_may_not_return(result: object) -> None:
    """Anything else is refused, with the names of what is wanted."""
    with pytest.raises(InvalidTokenError) as caught:
        accept(result)
    wanted = "a token refresher returns a JWT, an AccessToken or an object with .token and .expires_on or .expires_in"
    assert str(caught.value) == f"{wanted}, not {type(result).__name__}"


@pytest.mark.promise("R27")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5),
        (5.25, 5.25),
        (-5, -5),
        ("2034-10-04T10:21:29.4729393+00:00", 2043570089.472939),
        ("2034-10-04T12:21:29.5+02:00", 2043570089.5),
        ("2034-10-04T10:21:29Z", 2043570089),
        (datetime(2034, 10, 4, 10, 21, 29, tzinfo=UTC), 2043570089),
        (datetime(2034, 10, 4, 12, 21, 29, tzinfo=timezone(timedelta(hours=2))), 2043570089),
        (datetime(1, 1, 1, tzinfo=UTC), -62135596800),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 253402300799),
    ],
)
def test_expiries_that_are_read(value: object, seconds: float) -> None:
    """Every form that the service and the SDKs write is understood."""
    assert read_expiry(value) == pytest.approx(seconds, abs=1e-6)


class Nowhere(tzinfo):
    """A time zone that does not know how far it is from UTC."""

    def utcoffset(self, dt: datetime | None) -> None:
        """Give no answer, whatever the time."""

    dst = tzname = utcoffset


NO_ZONE = r"^expires_on has no time zone; give an aware datetime, such as datetime\.now\(UTC\)\n"
NO_ISO = "^expires_on is text that is not an ISO 8601 time; give Unix seconds\n"
NO_NUMBER = "^an expiry is a number of Unix seconds, not {}\nSee .*#expiry$"
NO_DATE = "^an expiry is a time in Unix seconds between the years 1 and 9999\n"


@pytest.mark.promise("R27")
@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("2034-10-04T10:21:29", NO_ZONE),
        (datetime(2034, 10, 4), NO_ZONE),
        (datetime(2034, 10, 4, tzinfo=Nowhere()), NO_ZONE),
        ("soon", NO_ISO),
        ("", NO_ISO),
        ("2034-13-01T00:00:00Z", NO_ISO),
        ("10000-01-01T00:00:00Z", NO_ISO),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-1))), NO_DATE),
        (None, NO_NUMBER.format("NoneType")),
        (True, NO_NUMBER.format("bool")),
        (b"2034-10-04T10:21:29Z", NO_NUMBER.format("bytes")),
    ],
)
def test_expiries_that_are_not_read(value: object, fix: str) -> None:
    """A time without a zone could be hours off, so it is refused like one that is no time at all."""
    with pytest.raises(InvalidTokenError, match=fix):
        read_expiry(value)


def test_whose_token_it_is() -> None:
    """What the exchange has named goes before what the token's own claims say."""
    text = jwt_of(b'{"exp":4102444800,"skypeid":"acs:1"}')
    assert raw_id_of(AccessToken.from_jwt(text)) == "8:acs:1"
    assert raw_id_of(ExchangedToken(text, 4102444800, "8:acs:2")) == "8:acs:2"


@pytest.mark.parametrize(
    ("claim", "raw_id"), [('"8:acs:1"', "8:acs:1"), ('"18:acs"', "8:18:acs"), ('""', None), ("5", None), ("[]", None)]
)
def test_a_claim_that_may_not_name_its_user(claim: str, raw_id: str | None) -> None:
    """A raw id with its prefix is one already; what is no text, or empty, names nobody."""
    assert raw_id_of(AccessToken("a", 1)) is None
    assert raw_id_of(AccessToken.from_jwt(jwt_of(b'{"exp":4102444800,"skypeid":%s}' % claim.encode()))) == raw_id


def test_info_makes_an_azure_client_ask_each_time() -> None:
    """Its time to refresh is more than a minute past, and not the 0 that stands for absent."""
    info = AccessTokenInfo("opaque", 5)
    assert info.token_type == "Bearer"
    assert 0 < info.refresh_on < time.time() - 61


# What a header says


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "kid": 5},
        {"alg": "RS256", "kid": None},
        {"alg": "RS256", "crit": ["exp"], "exp": 1},
        {"alg": "RS256", "crit": ["b64"], "b64": False},
        {"b64": False},
        {"alg": None, "typ": 3},
        {},
    ],
    ids=str,
)
def test_what_the_header_says_of_keys_is_the_services_to_judge(header: dict[str, Any]) -> None:
    """The payload is sound, and is read."""
    token = jwt_of(b'{"exp":4000000000}', json.dumps(header).encode())
    assert AccessToken.from_jwt(token).expires_on == 4_000_000_000


@pytest.mark.parametrize("text", ["4000000000", "4000000000.75", "4000000000."])
def test_an_expiry_as_the_text_of_a_number(text: str) -> None:
    """As some services and clients write it."""

    class Given:
        token = "opaque-token"
        expires_on = text

    assert accept(Given()).expires_on == 4_000_000_000


@pytest.mark.parametrize("text", ["-1", "1e9", " 4000000000", "\u0664000000000", "9" * 400, ""])
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        read_expiry(text)


# Texts of somebody's own class


class Redacted(str):
    """A text that hides itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def strip(self, *_: Any) -> str:
        return "***"


class Named(str, Enum):  # noqa: UP042 - that one shows its name, and a StrEnum its value
    TOKEN = "opaque-token"


@pytest.mark.parametrize("text", [Redacted("opaque-token"), Named.TOKEN], ids=["redacted", "enum"])
async def test_a_text_of_another_class_is_what_it_holds(text: str) -> None:
    """In a header stands the token, and not what its class shows."""
    token = AccessToken(text, 4_000_000_000)
    assert type(token.token) is str
    assert f"Bearer {token.token}" == "Bearer opaque-token"

    async def source() -> AccessToken:
        return AccessToken(text, 4_000_000_000)

    async with CommunicationTokenCredential(token_refresher=source) as credential:
        assert type((await credential.get_token()).token) is str


# Times that were not meant


async def test_seconds_from_now_are_asked_about() -> None:
    """Where a token has ended before there were any."""
    meant = "it ended at 1970-01-01T01:00:00+00:00: if 3600 seconds from now were meant, give time.time() + 3600"
    with pytest.raises(TokenUnavailableError) as static:
        CommunicationTokenCredential(AccessToken("opaque-token", 3600)).get_token_nowait()
    assert meant in str(static.value)

    async def source() -> AccessToken:
        return AccessToken("opaque-token", 3600)

    async with CommunicationTokenCredential(token_refresher=source) as credential:
        with pytest.raises(TokenRefreshError) as fetched:
            await credential.get_token()
    assert meant in str(fetched.value.__cause__)
    with pytest.raises(TokenUnavailableError) as recent:
        CommunicationTokenCredential(AccessToken("opaque-token", 1_700_000_000)).get_token_nowait()
    assert "it ended" not in str(recent.value)


@pytest.mark.parametrize(
    "value", [946_684_800_000, 253_402_300_799_000, 1_800_000_000_000, "1800000000000", 1_800_000_000_000.5]
)
def test_milliseconds_are_asked_about(value: Any) -> None:
    with pytest.raises(
        InvalidTokenError, match="9999: milliseconds were given, it seems, so divide by 1000\n"
    ) as raised:
        read_expiry(value)
    assert raised.value.__notes__ == [f"See {page_of('expiry')}"]


@pytest.mark.parametrize("value", [946_684_799_999, 253_402_300_799_001])
def test_what_are_no_milliseconds_of_a_time_either(value: int) -> None:
    with pytest.raises(InvalidTokenError, match=r"between the years 1 and 9999\n"):
        read_expiry(value)


@pytest.mark.parametrize("header", [b"[]", b"null", b"5", b"{", b"\xff"])
def test_a_header_that_is_no_object_makes_no_jwt(header: bytes) -> None:
    with pytest.raises(InvalidTokenError, match="cut or changed on its way"):
        AccessToken.from_jwt(jwt_of(b'{"exp":4000000000}', header))


@pytest.mark.promise("R85")
def test_a_life_at_receipt_is_carried_and_is_no_part_of_the_token() -> None:
    """It is immutable as the rest is, and neither compared nor shown."""
    token = AccessToken("opaque", 5, 3600)
    assert (token.expires_in, AccessToken("opaque", 5).expires_in) == (3600, None)
    assert token == AccessToken("opaque", 5, 60)
    assert hash(token) == hash(AccessToken("opaque", 5))
    assert repr(token) == "AccessToken(<hidden>, expires_on=5)"
    with pytest.raises(AttributeError, match="immutable"):
        token.expires_in = 5


LONGEST = 253_402_300_799 + 62_135_596_800  # from the beginning of year 1 to the end of 9999


@pytest.mark.parametrize("life", ["3600", True, float("nan"), float("inf"), LONGEST + 1, object()])
def test_lives_that_are_none(life: Any) -> None:
    with pytest.raises(InvalidTokenError, match=r"^expires_in is a number of seconds"):
        AccessToken("opaque", 5, life)


def test_the_longest_life_is_one() -> None:
    assert AccessToken("opaque", 5, LONGEST).expires_in == LONGEST


@pytest.mark.parametrize("size", range(20))
def test_the_claims_of_each_length_are_read_without_pyjwt(size: int) -> None:
    """Base64url without padding has four lengths."""
    claims = {"a": "b" * size}
    assert peek(jwt_of(json.dumps(claims).encode())) == claims
    assert peek("opaque") == peek("a.b") == peek("a.b.c.d.e") == {}


def test_a_token_that_is_issued_as_it_ends_proves_no_clock_wrong() -> None:
    """Its life is counted by our clock: else it would have none."""
    assert life_of(AccessToken.from_jwt(jwt_of(b'{"exp":4000,"iat":4000}')), _At()) == 3000
    assert life_of(AccessToken.from_jwt(jwt_of(b'{"exp":4000,"iat":3999}')), _At()) == 1


def test_a_token_that_is_not_made_yet_shows_no_more() -> None:
    """As a debugger sees it, while `__init__` raises."""
    assert repr(AccessToken.__new__(AccessToken)) == "AccessToken(<hidden>, expires_on=None)"


@pytest.mark.parametrize(("life", "hint"), [(59, False), (60, True), (86_400, True), (86_401, False)])
def test_a_life_that_was_given_as_an_expiry_is_asked_about(life: int, hint: bool) -> None:
    """From a minute, which some issuers' tokens live, to a day, the service's longest (`expiresInMinutes`: 1440)."""
    assert ("if" in hint_of_a_life(life)) is hint


class _At:
    def time(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        return 0.0


@pytest.mark.promise("R85")
@pytest.mark.parametrize(
    ("given", "expires_on", "life"),
    [
        ({"expires_in": 60}, 1060, 60),
        ({"expires_in": 59.5}, 1059, 59.5),
        ({"expires_in": "60"}, 1060, 60),
        ({"expires_in": 60, "expires_on": None}, 1060, 60),
        ({"expires_in": 60, "expires_on": 5}, 5, 60),
        ({"expires_in": "60", "expires_on": "1970-01-01T00:00:05+00:00"}, 5, 60),
        ({"expires_in": None, "expires_on": 5}, 5, None),
        ({"expires_in": 60, "token": make_jwt(exp=4102444800)}, 4102444800, 60),
    ],
)
def test_what_a_refresher_says_of_a_life_is_read(given: dict[str, Any], expires_on: int, life: float | None) -> None:
    """In place of an expiry, or beside it; a JWT has its own."""
    token = accept(SimpleNamespace(**{"token": "opaque", **given}), _At())
    assert (token.expires_on, token.expires_in) == (expires_on, life)


@pytest.mark.parametrize(
    ("given", "says", "entry"),
    [
        ({"expires_in": "soon"}, "a number of seconds, not str", "expiry"),
        ({"expires_in": True}, "a number of seconds, not bool", "expiry"),
        ({"expires_in": float("inf")}, "a finite one", "expiry"),
        ({"expires_in": 946_684_800}, "^expires_in is .* a point in time as expires_on", "expiry"),
        ({"expires_in": "1800000000"}, "give a point in time as expires_on", "expiry"),
        ({"expires_in": 60, "expires_on": "soon"}, "not an ISO 8601 time", "expiry"),
        ({"expires_in": None}, "an object with .token and .expires_on", "refresher-result"),
    ],
)
def test_what_a_refresher_may_not_say_of_a_life(given: dict[str, Any], says: str, entry: str) -> None:
    with pytest.raises(InvalidTokenError, match=says) as raised:
        accept(SimpleNamespace(token="opaque", **given), _At())
    assert raised.value.__notes__ == [f"See {page_of(entry)}"]


def jwt_from(issued: float, ends: float) -> str:
    return jwt_of(json.dumps({"iat": issued, "exp": ends}).encode())


@pytest.mark.parametrize("life", [3_600_000, "3600000", 36_001])
@pytest.mark.parametrize("now", [0, 1000, 5000, 10**9])
def test_a_life_in_milliseconds_is_refused_where_the_token_shows_its_own(life: Any, now: int) -> None:
    """Whatever this machine's clock says."""
    text = jwt_from(now, now + 3600)
    for result in (
        SimpleNamespace(token=text, expires_in=life),
        SimpleNamespace(token=text, expires_in=life, expires_on=now + 3600),
        AccessToken(text, now + 3600, float(life)),
    ):
        with pytest.raises(
            InvalidTokenError, match=r"^expires_in is \d+, .* 3600 seconds in all: .* not milliseconds"
        ) as raised:
            accept(result, _At())
        assert raised.value.__notes__ == [f"See {page_of('expiry')}"]
        assert text not in str(raised.value)
    with pytest.raises(InvalidTokenError, match="not milliseconds"):
        CommunicationTokenCredential(AccessToken(text, now + 3600, float(life)))


@pytest.mark.parametrize(
    ("text", "life"),
    [
        (jwt_from(0, 3600), 3600),
        (jwt_from(0, 3600), 36_000),
        (jwt_from(3600, 3600), 3_600_000),
        (jwt_from(3601, 3600), 3_600_000),
        (jwt_from(float("nan"), 3600), 3_600_000),
        (jwt_from(0, float("inf")), 3_600_000),
        (jwt_of(b'{"exp":3600}'), 3_600_000),
        (jwt_of(b'{"exp":3600,"iat":"0"}'), 3_600_000),
        ("opaque", 3_600_000),
    ],
)
def test_a_life_that_the_token_does_not_contradict_by_far_is_believed(text: str, life: float) -> None:
    assert accept(SimpleNamespace(token=text, expires_in=life, expires_on=3600), _At()).expires_in == life
    assert accept(AccessToken(text, 3600, life)).expires_in == life


def test_what_a_service_has_said_of_a_life_is_not_looked_at() -> None:
    """It was counted by the answer's `Date`, which a proxy may repeat from an old answer."""
    token = ExchangedToken(jwt_from(0, 3600), 3600, None, 86_400)
    assert accept(token) is token


def test_a_life_counts_from_the_moment_at_which_the_token_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """On whichever of the machine's clocks more time has passed; another clock knows nothing of it."""
    token = AccessToken("opaque", 2_000_000_000, 60)
    wall, monotonic = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: wall + 50)
    assert 9 < life_of(token, time) < 10.1
    monkeypatch.setattr(time, "monotonic", lambda: monotonic + 100)
    assert life_of(token, time) < 0
    assert life_of(token, SimpleNamespace(time=time.time, monotonic=time.monotonic)) == 60
    with pytest.raises(TokenUnavailableError):
        CommunicationTokenCredential(token).get_token_nowait()
