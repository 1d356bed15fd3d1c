"""Wire models of identifiers: which of the nested models is there, and its members, with errors that name them."""

from __future__ import annotations

from collections.abc import Mapping

from ._errors import InvalidIdentifierError
from ._raw_ids import check_flag, check_text

__all__ = ("Model", "read_model")

_NESTED = ("communicationUser", "phoneNumber", "microsoftTeamsUser", "microsoftTeamsApp", "teamsExtensionUser")
_HELP = "pass the model as the service sent it"


class Model:
    """A JSON object whose members are read by name. One that is null counts as missing.

    Args:
        members: What was sent.
        name: The member of the identifier that holds the object, for errors; empty for the identifier itself.
    """

    __slots__ = ("_members", "_path")

    def __init__(self, members: object, name: str = "") -> None:
        if not isinstance(members, Mapping):
            what = name or "an identifier"
            raise InvalidIdentifierError(f"{what} is an object (a mapping), not {type(members).__name__}: {_HELP}")
        self._members = members
        self._path = f"{name}." if name else ""

    def get(self, name: str) -> object:
        """What a member holds; None where it is missing."""
        return self._members.get(name)

    def text(self, name: str) -> str:
        """The text of a member that must be there."""
        return check_text(self._path + name, self._required(name))

    def flag(self, name: str) -> bool:
        """The truth of a member that must be there."""
        return check_flag(self._path + name, self._required(name))

    def text_or_none(self, name: str) -> str | None:
        """The text of a member, or None where it is missing."""
        return None if self.get(name) is None else self.text(name)

    def flag_or_none(self, name: str) -> bool | None:
        """The truth of a member, or None where it is missing."""
        return None if self.get(name) is None else self.flag(name)

    def _required(self, name: str) -> object:
        value = self.get(name)
        if value is None:
            raise InvalidIdentifierError(f"the identifier has no {self._path}{name}: {_HELP}")
        return value


def read_model(mapping: object) -> tuple[str, Model, Model]:
    """Which kind of identifier a wire model holds.

    Args:
        mapping: The JSON object, decoded.

    Returns:
        The name of the kind on the wire, the model, and the nested one of that kind. Where that is missing, as it is
        where the kind is newer than this code, the kind is "unknown", and the model stands for the nested one.

    Raises:
        InvalidIdentifierError: when it is no object, has more than one nested model, or one that is no object.
    """
    model = Model(mapping)
    present = [name for name in _NESTED if model.get(name) is not None]
    if len(present) > 1:
        raise InvalidIdentifierError(f"the identifier has {' and '.join(present)}: leave the one that is meant")
    kind = model.text_or_none("kind") or next(iter(present), "unknown")
    if kind not in present:
        return "unknown", model, model
    return kind, model, Model(model.get(kind), kind)
