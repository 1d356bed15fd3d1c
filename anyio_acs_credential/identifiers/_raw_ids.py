"""Raw ids: the prefix that each kind of identifier has in each cloud, and what may stand in one.

The prefixes are those of https://learn.microsoft.com/azure/communication-services/concepts/identifiers, and of the
official packages, which also read `8:spool:`.
"""

from __future__ import annotations

from .._common.errors import InvalidIdentifierError, explained

PHONE_NUMBER = "4:"
TEAMS_VISITOR = "8:teamsvisitor:"
SPOOL_USER = "8:spool:"
ACS_USER = {"public": "8:acs:", "dod": "8:dod-acs:", "gcch": "8:gcch-acs:"}
TEAMS_USER = {"public": "8:orgid:", "dod": "8:dod:", "gcch": "8:gcch:"}
TEAMS_APP = {"public": "28:orgid:", "dod": "28:dod:", "gcch": "28:gcch:"}

_HELP = "give it as the service wrote it"


def check_text(name: str, value: object) -> str:
    """The value as a plain str, if it is text: a subclass of str may show another text than it holds."""
    if not isinstance(value, str):
        raise explained(
            "invalid-identifier", InvalidIdentifierError(f"{name} is text (str), not {type(value).__name__}: {_HELP}")
        )
    return str.__str__(value)


def check_flag(name: str, value: object) -> bool:
    """The value, if it is True or False."""
    if not isinstance(value, bool):
        raise explained(
            "invalid-identifier",
            InvalidIdentifierError(f"{name} is True or False, not {type(value).__name__}: {_HELP}"),
        )
    return value


def check_cloud(cloud: object) -> str:
    """The name of a cloud as the service writes it. None means "public", and an unknown name stays as it is.

    The official Python package writes "DOD" where the service and all other packages write "dod", and takes an empty
    name for "public".
    """
    name = "public" if cloud is None else check_text("cloud", cloud) or "public"
    lower = name.lower()
    return lower if lower in TEAMS_USER else name


def number_says(number: str) -> tuple[bool, str | None]:
    """Whether a phone number is hidden, and the asserted id behind its last "_", or None."""
    if "_" not in number:
        return number == "anonymous", None
    return False, number.rpartition("_")[2] or None
