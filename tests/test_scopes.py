"""Which scopes are exchanged, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyio_acs_credential import DEFAULT_SCOPE
from anyio_acs_credential._exchange.scopes import check_scopes, route_of

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))["entra_endpoint_selection"]
PREFIXES = [prefix for family in VECTORS["prefixes"].values() for prefix in family]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: " ".join(case["scopes"]) or "none")
def test_the_reference_vectors(case: dict[str, Any]) -> None:
    """Path and version are chosen, and scopes refused, as the newest official package does it."""
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(ValueError, match="scope") as caught:
            check_scopes(case["scopes"])
        assert all(prefix in str(caught.value) for prefix in PREFIXES)
    else:
        assert tuple(route_of(check_scopes(case["scopes"]))) == (expected["path"], expected["api_version"])


class Redacted(str):
    """A text that hides itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    def startswith(self, *_: Any) -> bool:
        return False


def test_a_text_of_another_class_is_what_it_holds() -> None:
    """In the request stands the scope, and not what its class shows."""
    (scope,) = check_scopes([Redacted(DEFAULT_SCOPE)])
    assert (type(scope), scope) == (str, DEFAULT_SCOPE)


def test_the_default_scope_is_the_services() -> None:
    assert VECTORS["default_scopes"] == [DEFAULT_SCOPE]
    assert check_scopes([DEFAULT_SCOPE]) == (DEFAULT_SCOPE,)


@pytest.mark.parametrize(
    ("scopes", "fix"),
    [
        (DEFAULT_SCOPE, r"\(scope,\) instead of scope"),
        (None, "not NoneType"),
        (7, "not int"),
        ([DEFAULT_SCOPE, 7], "one of them is int"),
        ([DEFAULT_SCOPE.encode()], "one of them is bytes"),
    ],
)
def test_what_is_no_collection_of_texts_is_refused(scopes: Any, fix: str) -> None:
    with pytest.raises(TypeError, match=fix):
        check_scopes(scopes)


@pytest.mark.parametrize(
    ("scopes", "fault"),
    [
        ([], "there is no scope"),
        (["chat"], "'chat' is unknown"),
        ([DEFAULT_SCOPE, f"{PREFIXES[0]}x"], "more than one family"),
    ],
)
def test_the_fault_is_named(scopes: list[str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        check_scopes(scopes)


def test_later_changes_of_a_list_do_not_count() -> None:
    scopes = [DEFAULT_SCOPE]
    checked = check_scopes(scopes)
    scopes.append("other")
    assert checked == (DEFAULT_SCOPE,)


@pytest.mark.parametrize("cloud", ["com", "us"])
def test_the_prefixes_of_teams_are_compared_without_case(cloud: str) -> None:
    """As .NET's package does it from 1.4.1 on; the scope itself stays as it was given."""
    scope = f"HTTPS://Auth.MSFT.Communication.Azure.{cloud}/TeamsExtension.ManageCalls"
    assert check_scopes([scope]) == (scope,)
    path, _ = route_of((scope,))
    assert path == "/access/teamsExtension/:exchangeAccessToken"
