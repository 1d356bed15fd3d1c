"""From raw ids to identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ._errors import InvalidIdentifierError
from ._identifiers import (
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

__all__ = ("identifier_from_raw_id",)

_Kind = TypeVar("_Kind", bound=CommunicationIdentifier)


def identifier_from_raw_id(text: str) -> CommunicationIdentifier:
    """The identifier that a raw id stands for, with that raw id.

    Args:
        text: A raw id, as the service or `raw_id` gave it. Any text is one: what is not known makes an
            `UnknownIdentifier`.

    Returns:
        An identifier of one of the six kinds.

    Raises:
        InvalidIdentifierError: when it is not text.
    """
    if not isinstance(text, str):
        raise InvalidIdentifierError(f"a raw id is text (str), not {type(text).__name__}: give the raw_id of one")
    if text.startswith(PHONE_NUMBER):
        return _phone_number(text)
    prefix, _, rest = text.rpartition(":")  # the known prefixes hold no further colon: with more of them it is unknown
    found = _READERS.get(prefix)
    if found is None:
        return _made(UnknownIdentifier, {"id": text, "raw_id": text})
    read, cloud = found
    return read(text, rest, cloud)


def _made(kind: type[_Kind], attributes: dict[str, object]) -> _Kind:
    """An identifier of what was read from a raw id: the checks of `__init__` would take half of the time."""
    made = object.__new__(kind)
    object.__setattr__(made, "__dict__", attributes)
    return made


def _phone_number(raw_id: str) -> PhoneNumberIdentifier:
    value = raw_id[len(PHONE_NUMBER) :]
    is_anonymous, asserted_id = number_says(value)
    attributes = {"value": value, "is_anonymous": is_anonymous, "asserted_id": asserted_id, "raw_id": raw_id}
    return _made(PhoneNumberIdentifier, attributes)


def _acs_user(raw_id: str, rest: str, cloud: str) -> CommunicationUserIdentifier | TeamsExtensionUserIdentifier:
    """Three parts name a user of Teams; two, or the four of "<resource>_ext_<tenant>_<user>", one of the resource."""
    if rest.count("_") != 2:
        return _made(CommunicationUserIdentifier, {"id": raw_id, "raw_id": raw_id})
    resource_id, tenant_id, user_id = rest.split("_")
    ids = {"user_id": user_id, "tenant_id": tenant_id, "resource_id": resource_id}
    return _made(TeamsExtensionUserIdentifier, {**ids, "cloud": cloud, "raw_id": raw_id})


def _spool_user(raw_id: str, _rest: str, _cloud: str) -> CommunicationUserIdentifier:
    return _made(CommunicationUserIdentifier, {"id": raw_id, "raw_id": raw_id})


def _teams_user(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsUserIdentifier:
    attributes = {"user_id": rest, "is_anonymous": False, "cloud": cloud, "raw_id": raw_id}
    return _made(MicrosoftTeamsUserIdentifier, attributes)


def _teams_visitor(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsUserIdentifier:
    attributes = {"user_id": rest, "is_anonymous": True, "cloud": cloud, "raw_id": raw_id}
    return _made(MicrosoftTeamsUserIdentifier, attributes)


def _teams_app(raw_id: str, rest: str, cloud: str) -> MicrosoftTeamsAppIdentifier:
    return _made(MicrosoftTeamsAppIdentifier, {"app_id": rest, "cloud": cloud, "raw_id": raw_id})


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
