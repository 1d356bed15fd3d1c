"""From raw ids to identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._common.errors import InvalidIdentifierError, explained
from ._kinds import (
    CommunicationIdentifier,
    CommunicationUserIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    UnknownIdentifier,
)
from ._raw_ids import ACS_USER, PHONE_NUMBER, SPOOL_USER, TEAMS_APP, TEAMS_USER, TEAMS_VISITOR, number_says

if TYPE_CHECKING:
    from collections.abc import Callable

# Readers bypass `__init__`, whose checks would take longer than the reading, and set every attribute that it sets.
_new = object.__new__


def identifier_from_raw_id(text: str) -> CommunicationIdentifier:
    """The identifier that a raw id stands for, with that raw id.

    Args:
        text: A raw id, as the service or `raw_id` gave it. Any text is a raw id; one of an unknown form makes an
            `UnknownIdentifier`.

    Returns:
        An identifier of one of the six kinds.

    Raises:
        InvalidIdentifierError: when `text` is not a str.
    """
    if not isinstance(text, str):
        raise explained(
            "invalid-identifier",
            InvalidIdentifierError(f"a raw id is text (str), not {type(text).__name__}: give the raw_id of one"),
        )
    text = str.__str__(text)  # a subclass may show another text than it holds
    if text.startswith(PHONE_NUMBER):
        return _phone_number(text)
    prefix, _, rest = text.rpartition(":")  # from the right, so that a raw id with further colons is unknown
    found = _READERS.get(prefix)
    if found is None:
        return _unknown(text)
    read, cloud = found
    return read(text, rest, cloud)


def _unknown(raw_id: str) -> UnknownIdentifier:
    made = _new(UnknownIdentifier)
    attributes = made.__dict__
    attributes["id"] = attributes["raw_id"] = raw_id
    return made


def _phone_number(raw_id: str) -> PhoneNumberIdentifier:
    made = _new(PhoneNumberIdentifier)
    attributes = made.__dict__
    attributes["value"] = value = raw_id[len(PHONE_NUMBER) :]
    attributes["is_anonymous"], attributes["asserted_id"] = number_says(value)
    attributes["raw_id"] = raw_id
    return made


def _acs_user(raw_id: str, rest: str, cloud: str) -> CommunicationUserIdentifier | TeamsExtensionUserIdentifier:
    """Three parts name a Teams user: "<resource>_<tenant>_<user>". Any other number names a user of the resource.

    The service gives its own users two parts, or the four of "<resource>_ext_<tenant>_<user>".
    """
    if rest.count("_") != 2:
        return _spool_user(raw_id, rest, cloud)
    made = _new(TeamsExtensionUserIdentifier)
    attributes = made.__dict__
    attributes["resource_id"], attributes["tenant_id"], attributes["user_id"] = rest.split("_")
    attributes["cloud"] = cloud
    attributes["raw_id"] = raw_id
    return made


def _spool_user(raw_id: str, _rest: str, _cloud: str) -> CommunicationUserIdentifier:
    made = _new(CommunicationUserIdentifier)
    attributes = made.__dict__
    attributes["id"] = attributes["raw_id"] = raw_id
    return made


def _teams_user(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsUserIdentifier:
    made = _new(MicrosoftTeamsUserIdentifier)
    attributes = made.__dict__
    attributes["user_id"] = rest
    attributes["is_anonymous"] = False
    attributes["cloud"] = cloud
    attributes["raw_id"] = raw_id
    return made


def _teams_visitor(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsUserIdentifier:
    made = _teams_user(raw_id, rest, cloud)
    made.__dict__["is_anonymous"] = True
    return made


def _teams_app(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsAppIdentifier:
    made = _new(MicrosoftTeamsAppIdentifier)
    attributes = made.__dict__
    attributes["app_id"] = rest
    attributes["cloud"] = cloud
    attributes["raw_id"] = raw_id
    return made


_READERS: dict[str, tuple[Callable[[str, str, str], CommunicationIdentifier], str]] = {
    prefix.removesuffix(":"): reader
    for prefix, reader in {
        **{prefix: (_acs_user, cloud) for cloud, prefix in ACS_USER.items()},
        **{prefix: (_teams_user, cloud) for cloud, prefix in TEAMS_USER.items()},
        **{prefix: (_teams_app, cloud) for cloud, prefix in TEAMS_APP.items()},
        TEAMS_VISITOR: (_teams_visitor, "public"),
        SPOOL_USER: (_spool_user, "public"),
    }.items()
}
