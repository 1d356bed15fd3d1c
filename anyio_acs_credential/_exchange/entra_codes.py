"""What cures a refusal by Entra: time, a person, or whoever set up the application.

`error` alone does not tell: Entra answers `invalid_grant` to throttling and outages, and to a session that has ended.
The number (`error_codes`) tells them apart and, for some, `suberror`. Their meanings are from these pages:

* https://learn.microsoft.com/entra/identity-platform/reference-error-codes
* https://learn.microsoft.com/dotnet/api/microsoft.identity.client.uirequiredexceptionclassification
* https://www.rfc-editor.org/rfc/rfc6749#section-5.2, for authorities that have no numbers

A number of more than five digits is a special case of its first five: 700082 is a case of 70008.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cure(Enum):
    """What has to happen before the same request can succeed."""

    TIME = auto()
    PERSON = auto()
    SETUP = auto()


# fmt: off
_TIME = {
    40010, 50000, 50033, 50087, 50088, 50166,
    50196,  # Entra detected a loop: too many equal requests in a short time
    70012, 70016, 80001, 80002, 80005, 80007, 80014, 90006, 90012, 90024,
    90033,  # the directory service is not available
    90055, 90090, 90091,
}
_PERSON = {
    16000, 16001, 16002, 16003, 50005, 50008, 50013, 50014, 50015, 50020, 50021, 50034, 50053, 50055, 50056, 50057,
    50058, 50064, 50072, 50074, 50076, 50078, 50079, 50085, 50089, 50097, 50105, 50125, 50126, 50127, 50129, 50131,
    50132, 50133, 50135, 50136, 50139, 50140, 50143, 50144, 50148, 50155, 50158, 50161, 50168, 50173, 50177, 50178,
    50180, 50187, 50197, 50199, 51004, 51006, 53000, 53001, 53002, 53003, 53004, 53010, 53011, 54000, 54005, 65001,
    65004, 70000, 70008, 70018, 70019, 70043, 80012, 90072, 90084, 90086, 90094, 90095, 90120, 90123,
    500112, 500121, 700005, 700020, 9002313,
}
_SETUP = {
    28002, 28003, 50001, 50002, 50003, 50007, 50010, 50011, 50012, 50027, 50042, 50043, 50048, 50049, 50050, 50059,
    50107, 50120, 50124, 50128, 50146, 50147, 50169, 50194, 51000, 65002, 65005, 67003, 70001, 70002, 70003, 70004,
    70005, 70007, 70011, 70021, 90002, 90004, 90008, 90009, 90013, 90014, 90016, 90019, 90022, 90023, 90027, 90038,
    90043, 90051, 90056, 90082, 90097, 90099, 90100, 90101, 90102, 90117, 90121, 90124, 90130, 9001023,
}
# fmt: on
_CURES = {
    **dict.fromkeys(_TIME, Cure.TIME),
    **dict.fromkeys(_PERSON, Cure.PERSON),
    **dict.fromkeys(_SETUP, Cure.SETUP),
}
_SUBERRORS = {
    "additional_action",
    "bad_token",
    "basic_action",
    "client_mismatch",
    "consent_required",
    "device_authentication_failed",
    "message_only",
    "protection_policy_required",
    "token_expired",
    "user_password_expired",
}
_ERRORS = {
    **dict.fromkeys(("server_error", "temporarily_unavailable", "authorization_pending", "slow_down"), Cure.TIME),
    "access_denied": Cure.PERSON,
    "authorization_declined": Cure.PERSON,
    "bad_verification_code": Cure.PERSON,
    "code_expired": Cure.PERSON,
    "consent_required": Cure.PERSON,
    "expired_token": Cure.PERSON,
    "interaction_required": Cure.PERSON,
    "login_required": Cure.PERSON,
}
_NUMBER = re.compile(r"[0-9]{1,9}")
# On the first line alone, behind a few words at most: further down, a chain of credentials quotes each of its members.
_CODE = re.compile(r"(?:[^\n:]*: ?)?AADSTS([0-9]{5,9})\b")


def cure_for(answer: Mapping[str, object]) -> Cure:
    """What cures the refusal in an answer of Entra, or of another authority.

    The first rule that fits wins:

    1. A number of throttling or of an outage: time, whatever `error` and `suberror` say.
    2. An `error` other than `invalid_grant`: what that error means.
    3. A `suberror` that is documented: a person.
    4. A number that is known: what the first of them means.
    5. A number, and none that is known: time, since it may be an outage.
    6. `invalid_grant` alone, as from an authority without numbers: a person.

    Args:
        answer: The answer's members, `error` among them.
    """
    error, suberror, numbers = answer.get("error"), answer.get("suberror"), _numbers(answer)
    known = [cure for number in numbers if (cure := _cure_of(number)) is not None]
    if Cure.TIME in known:
        return Cure.TIME
    if error != "invalid_grant":
        return _ERRORS.get(error, Cure.SETUP) if isinstance(error, str) else Cure.SETUP
    if isinstance(suberror, str) and suberror in _SUBERRORS:
        return Cure.PERSON
    if known:
        return known[0]
    return Cure.TIME if numbers else Cure.PERSON


def cure_in(text: str) -> Cure | None:
    """What cures the refusal whose text begins with one of Entra's numbers; None where it begins with none."""
    found = _CODE.match(text)
    return None if found is None else _cure_of(int(found[1])) or Cure.TIME


def _numbers(answer: Mapping[str, object]) -> list[int]:
    codes = answer.get("error_codes")
    if isinstance(codes, list) and (numbers := [int(code) for code in map(str, codes) if _NUMBER.fullmatch(code)]):
        return numbers
    # An answer that comes by the browser has a text alone, and no `error_codes`.
    found = _CODE.match(str(answer.get("error_description")))
    return [] if found is None else [int(found[1])]


def _cure_of(number: int) -> Cure | None:
    return _CURES.get(number) or _CURES.get(int(str(number)[:5]))
