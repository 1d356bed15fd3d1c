"""Communication identifiers: who takes part in a call or a chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

__all__ = ("CommunicationUserIdentifier",)


@dataclass(frozen=True, slots=True, init=False)
class CommunicationUserIdentifier:
    """A user that the Communication Services resource made itself.

    Two are equal when their raw ids are. It is hashable, and `case CommunicationUserIdentifier(id)` matches it.

    Args:
        id: The id that the service gave, such as "8:acs:<resource>_<user>".
        raw_id: The raw id, where it is not the same as the id.
    """

    kind: ClassVar[str] = "communication_user"
    id: str = field(compare=False)
    raw_id: str

    def __init__(self, id: str, *, raw_id: str | None = None) -> None:  # noqa: A002 - as the official package has it
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "raw_id", raw_id or id)
