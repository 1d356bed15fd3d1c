"""What cures a refusal of Entra: its numbers, its suberrors, and the texts that others make of them."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import pytest

from anyio_acs_credential._exchange.entra_codes import Cure, cure_for, cure_in


def refusal(error: str, *codes: Any, **more: Any) -> dict[str, Any]:
    return {"error": error, "error_codes": list(codes), **more}


@pytest.mark.promise("R18")
@pytest.mark.parametrize(
    "code", [40010, 50033, 50087, 50088, 50196, 70012, 90006, 90012, 90024, 90033, 90055, 90090, 90091]
)
@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request", "interaction_required", "unauthorized_client"])
def test_throttling_and_outages_pass_whatever_entra_calls_them(code: int, error: str) -> None:
    assert cure_for(refusal(error, code)) is Cure.TIME


@pytest.mark.parametrize(
    "code",
    [
        *(50058, 50072, 50074, 50076, 50078, 50079, 50089, 50132, 50133, 50173, 53000, 53003, 65001, 70000, 70008),
        *(70043, 500121, 500133, 530032, 700020, 700082, 700084, 9002313),
    ],
)
def test_a_grant_that_has_ended_or_lacks_something_needs_a_person(code: int) -> None:
    """Longer numbers are cases of shorter ones."""
    assert cure_for(refusal("invalid_grant", code)) is Cure.PERSON


@pytest.mark.parametrize("code", [500011, 50194, 650057, 700016, 70002, 7000215, 7000222, 900144, 90002])
def test_a_grant_refused_for_the_applications_registration_is_for_who_made_that(code: int) -> None:
    assert cure_for(refusal("invalid_grant", code)) is Cure.SETUP


@pytest.mark.parametrize(
    "suberror",
    [
        "additional_action",
        "bad_token",
        "basic_action",
        "client_mismatch",
        "consent_required",
        "message_only",
        "protection_policy_required",
        "token_expired",
        "user_password_expired",
    ],
)
def test_a_suberror_that_microsoft_documents_needs_a_person(suberror: str) -> None:
    assert cure_for(refusal("invalid_grant", 12345, suberror=suberror)) is Cure.PERSON


@pytest.mark.parametrize(
    ("rule", "answer", "cure"),
    [
        (1, refusal("invalid_client", 50173, 90033, suberror="bad_token"), Cure.TIME),
        (2, refusal("invalid_client", 50173, suberror="bad_token"), Cure.SETUP),
        (3, refusal("invalid_grant", 7000215, suberror="bad_token"), Cure.PERSON),
        (4, refusal("invalid_grant", 12345, 7000215, 50173, suberror="unknown"), Cure.SETUP),
        (5, refusal("invalid_grant", 12345, suberror="unknown"), Cure.TIME),
        (6, refusal("invalid_grant", suberror="unknown"), Cure.PERSON),
    ],
)
def test_the_order_in_which_the_members_of_an_answer_decide(rule: int, answer: dict[str, Any], cure: Cure) -> None:
    """Each answer would have another cure by the rules after the one that decides; the docstring numbers them."""
    assert cure_for(answer) is cure
    assert f"\n{rule}. " in cleandoc(cure_for.__doc__ or "")


@pytest.mark.parametrize(
    ("answer", "cure"),
    [
        (refusal("invalid_grant", 12345), Cure.TIME),
        (refusal("invalid_grant", 12345, suberror="unknown"), Cure.TIME),
        (refusal("invalid_grant", 12345, suberror=["bad_token"]), Cure.TIME),
        (refusal("invalid_grant", 12345, 50173), Cure.PERSON),
        (refusal("invalid_grant", 50173, 90033), Cure.TIME),
        (refusal("invalid_grant", "50173", None), Cure.PERSON),
        (refusal("invalid_grant", "90033"), Cure.TIME),
        (refusal("invalid_grant", True, [], -50076, "5e4"), Cure.PERSON),
        (refusal("invalid_grant", error_description="AADSTS50196: a loop"), Cure.TIME),
        (refusal("invalid_grant"), Cure.PERSON),
        ({"error": "invalid_grant"}, Cure.PERSON),
        ({"error": "invalid_grant", "error_codes": 5}, Cure.PERSON),
        ({"error": "invalid_grant", "error_description": "AADSTS50196: a loop"}, Cure.TIME),
        ({"error": "access_denied", "error_description": "AADSTS65004: declined"}, Cure.PERSON),
        ({"error": "server_error", "error_description": "AADSTS90033: later"}, Cure.TIME),
        (refusal("interaction_required", 12345), Cure.PERSON),
        (refusal("invalid_client", 7000215), Cure.SETUP),
        (refusal("temporarily_unavailable"), Cure.TIME),
        ({"error": {"code": "BadRequest"}}, Cure.SETUP),
        ({}, Cure.SETUP),
    ],
)
def test_an_answer_is_read_by_its_numbers_before_its_error(answer: dict[str, Any], cure: Cure) -> None:
    """An authority without numbers is read as OAuth has it; an unknown number under `invalid_grant` passes."""
    assert cure_for(answer) is cure


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("AADSTS50076: more is wanted", Cure.PERSON),
        ("Authentication failed: AADSTS7000215: Invalid client secret provided.", Cure.SETUP),
        ("ERROR: AADSTS700082: The refresh token has expired.", Cure.PERSON),
        ("Authentication failed: AADSTS50196: a loop. See AADSTS50076.", Cure.TIME),
        ("Authentication failed: AADSTS12345: unheard of", Cure.TIME),
        ("the network is down", None),
        ("it was not AADSTS50076", None),
        ("Attempted credentials:\n\tA: AADSTS50076: more is wanted", None),
        ("AADSTS5: too short", None),
        ("", None),
    ],
)
def test_a_text_says_something_where_it_begins_with_a_number(text: str, cure: Cure | None) -> None:
    assert cure_in(text) is cure
