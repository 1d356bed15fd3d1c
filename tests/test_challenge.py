"""Claims challenges in a 401."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyio_acs_credential._http.answer import Answer
from anyio_acs_credential._http.challenge import claims_wanted, read_claims

CLAIMS = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"},"s":"?>ÿÿ"}}'
ENCODED = urlsafe_b64encode(CLAIMS.encode()).decode()
BARE = ENCODED.rstrip("=")


def encoded(content: Any) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).decode()


@pytest.mark.promise("R31")
@pytest.mark.parametrize(
    "header",
    [
        f'Bearer error="insufficient_claims", claims="{ENCODED}"',
        f'Bearer realm="", authorization_uri="https://x/y?a=b,c", error="insufficient_claims", claims="{ENCODED}"',
        f'Bearer error="insufficient_claims",claims="{BARE}"',
        f"Bearer error=insufficient_claims, claims={BARE}",
        f"Bearer error=insufficient_claims, claims={ENCODED}",
        f'bEARER  CLAIMS = "{BARE}"',
        f'Bearer claims="{b64encode(CLAIMS.encode()).decode()}"',
        f'PoP nonce="claims=no", claims="{encoded([1])}", Bearer realm="a \\" b", claims="{BARE}"',
        f'Basic realm="x", Negotiate, Bearer claims="{BARE}", PoP claims="{encoded({})}"',
        f'Basic YWJj==, Bearer claims="{BARE}"',
        f'Bearer claims="nonsense!", Bearer claims="{BARE}"',
        f'Bearer claims="{BARE}", Bearer claims="{encoded({"second": 1})}"',
    ],
)
def test_claims_are_found(header: str) -> None:
    """However they are written, the first that can be used count."""
    assert read_claims(header) == CLAIMS


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        'Bearer error="invalid_token"',
        f'PoP claims="{ENCODED}"',
        f'claims="{ENCODED}"',
        f'Bearer error_description="claims={BARE}"',
        f'Bearer claims="{encoded([])}"',
        f'Bearer claims="{encoded("text")}"',
        f'Bearer claims="{encoded(None)}"',
        'Bearer claims=""',
        'Bearer claims="a"',
        'Bearer claims="not base64!"',
        'Bearer claims="/////w"',
        f'Bearer claims="{b64encode(b"[" * 100_000).decode()}"',
        f'Bearer claims="{b64encode(b"{").decode()}"',
        f'Bearer claims="{ENCODED}ÿ"',
        f'Bearer claims="{ENCODED[:-8]}',
    ],
    ids=lambda header: header[:40],
)
def test_what_is_no_challenge(header: str) -> None:
    """Other schemes and other texts ask for nothing; only a JSON object counts."""
    assert read_claims(header) is None


def test_only_a_401_challenges() -> None:
    """Several headers are read as one."""
    headers = (("www-authenticate", 'PoP nonce="1"'), ("x", "y"), ("www-authenticate", f'Bearer claims="{ENCODED}"'))
    assert claims_wanted(Answer(401, headers)) == CLAIMS
    assert claims_wanted(Answer(403, headers)) is None
    assert claims_wanted(Answer(401)) is None


@pytest.mark.promise("R31", "R35")
@given(st.text(alphabet='Bearclims =",\\{}:; \tPo/+_-0123') | st.text(max_size=80))
@example("a" * 100_000)
@example("a " * 50_000)
@example('a="' * 30_000)
@example('a="\\' * 25_000)
@example("a" + " " * 100_000 + "b")
@example("Bearer " + "claims=" * 14_000)
def test_nothing_breaks_the_reader(header: str) -> None:
    """Any text gives claims or none, in linear time: a quadratic reader would not end within the test's time."""
    claims = read_claims(f"Bearer {header}")
    assert claims is None or isinstance(json.loads(claims), dict)
