"""From wire models to identifiers, with errors that name the member at fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._common.errors import InvalidIdentifierError, explained
from ._kinds import (
    CommunicationUserIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    UnknownIdentifier,
)
from ._raw_ids import check_flag, check_text

if TYPE_CHECKING:
    from ._kinds import CommunicationIdentifier

_NESTED = ("communicationUser", "phoneNumber", "microsoftTeamsUser", "microsoftTeamsApp", "teamsExtensionUser")
_HELP = "pass the model as the service sent it"


def identifier_from_wire(mapping: Mapping[str, object]) -> CommunicationIdentifier:
    """The identifier in a wire model: what the service, and the official packages, send as JSON.

    It is as forgiving as the official Python package, and reads what the service's documentation shows. A missing or
    empty `rawId` is built from the members, a missing `isAnonymous` is false, a missing `cloud` is public, and `kind`
    is read in any spelling. Where `kind` is missing or unknown, the nested model decides. Unknown members are ignored,
    and a model without a nested model of a known kind makes an `UnknownIdentifier`.

    Args:
        mapping: The JSON object, decoded.

    Returns:
        An identifier of one of the six kinds.

    Raises:
        InvalidIdentifierError: when `mapping` is not a mapping, lacks what identifies it, has a member of a wrong type,
            or contradicts itself, with nested models of several kinds or of another kind than it says. The message
            names the member.
    """
    kind, model, nested = _read(mapping)
    raw_id = model.text_or_none("rawId") or None  # an empty rawId counts as missing
    match kind:
        case "communicationUser":
            # Such a user's id is its raw id, so either may be missing; the official Python package reads rawId alone.
            known = raw_id if nested.get("id") is None else None
            return CommunicationUserIdentifier(known or nested.text("id"), raw_id=raw_id)
        case "phoneNumber":
            return PhoneNumberIdentifier(
                nested.text("value"),
                is_anonymous=nested.flag_or_none("isAnonymous"),
                asserted_id=nested.text_or_none("assertedId"),
                raw_id=raw_id,
            )
        case "microsoftTeamsUser":
            return MicrosoftTeamsUserIdentifier(
                nested.text("userId"),
                is_anonymous=nested.flag_or_none("isAnonymous") or False,
                cloud=nested.text_or_none("cloud"),
                raw_id=raw_id,
            )
        case "microsoftTeamsApp":
            return MicrosoftTeamsAppIdentifier(nested.text("appId"), cloud=nested.text_or_none("cloud"), raw_id=raw_id)
        case "teamsExtensionUser":
            return TeamsExtensionUserIdentifier(
                nested.text("userId"),
                nested.text("tenantId"),
                nested.text("resourceId"),
                cloud=nested.text_or_none("cloud"),
                raw_id=raw_id,
            )
        case _:
            if raw_id is None:
                raise explained("invalid-identifier", InvalidIdentifierError(f"the identifier has no rawId: {_HELP}"))
            return UnknownIdentifier(raw_id)


class _Model:
    """A JSON object whose members are read by name. A member that is null counts as missing.

    Args:
        members: The object, as it was sent.
        name: The member of the identifier that holds the object, for messages; empty for the identifier itself.
        identified: Whether the identifier has a raw id. If it has, the other members that identify it may be empty.
    """

    __slots__ = ("_identified", "_members", "_path")

    def __init__(self, members: object, name: str = "", *, identified: bool = True) -> None:
        if not isinstance(members, Mapping):
            what = name or "an identifier"
            raise explained(
                "invalid-identifier",
                InvalidIdentifierError(f"{what} is an object (a mapping), not {type(members).__name__}: {_HELP}"),
            )
        self._members = members
        self._identified = identified
        self._path = f"{name}." if name else ""

    def get(self, name: str) -> object:
        """What a member holds; None where it is missing."""
        return self._members.get(name)

    def text(self, name: str) -> str:
        """The text of a member that must be there."""
        found = self.text_or_none(name)
        if found is None or not (found or self._identified):
            raise explained(
                "invalid-identifier", InvalidIdentifierError(f"the identifier has no {self._path}{name}: {_HELP}")
            )
        return found

    def text_or_none(self, name: str) -> str | None:
        """The text of a member, or None where it is missing."""
        value = self.get(name)
        return None if value is None else check_text(self._path + name, value)

    def flag_or_none(self, name: str) -> bool | None:
        """The truth of a member, or None where it is missing."""
        value = self.get(name)
        return None if value is None else check_flag(self._path + name, value)


def _read(mapping: object) -> tuple[str, _Model, _Model]:
    """Which kind of identifier a wire model holds.

    Args:
        mapping: The JSON object, decoded.

    Returns:
        The kind's name on the wire, the model, and the nested model of that kind. Where there is no nested model of a
        known kind, the kind is "unknown", and the model stands in for the nested one.

    Raises:
        InvalidIdentifierError: when `mapping` or a nested model is not an object, or the model contradicts itself.
    """
    model = _Model(mapping)
    present = [name for name in _NESTED if model.get(name) is not None]
    if len(present) > 1:
        raise explained(
            "invalid-identifier",
            InvalidIdentifierError(f"the identifier has {' and '.join(present)}: leave the one that is meant"),
        )
    (kind,) = present or ("unknown",)
    said = _KINDS.get(_letters(model.text_or_none("kind") or ""))
    if present and said not in {None, kind}:
        raise explained(
            "invalid-identifier",
            InvalidIdentifierError(f"the identifier says that it is a {said}, and has {kind}: {_HELP}"),
        )
    return kind, model, _Model(model.get(kind), kind, identified=bool(model.get("rawId"))) if present else model


def _letters(kind: str) -> str:
    """A kind without its spelling: "microsoftTeamsUser" and "microsoft_teams_user" are "microsoftteamsuser"."""
    return "".join(filter(str.isalpha, kind)).lower()


_KINDS = {_letters(name): name for name in _NESTED}
