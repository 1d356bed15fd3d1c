"""Communication identifiers: who takes part in a call or a chat.

Two identifiers are equal when they are of one kind and have the same raw id. They cannot be changed, so they may be
keys and members of sets, and `match` takes them apart. A given raw id wins over the one that would be built from the
attributes, since the service's word is the last.

Source of the kinds and of the raw ids: https://learn.microsoft.com/azure/communication-services/concepts/identifiers.
"""

from __future__ import annotations

from .._common.errors import InvalidIdentifierError  # noqa: F401 - see below
from .._common.public import public
from ._from_raw_id import identifier_from_raw_id
from ._from_wire import identifier_from_wire
from ._kinds import (
    CommunicationIdentifier,  # noqa: F401 - likewise
    CommunicationUserIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    UnknownIdentifier,
)

# These names are public in the package itself; importing them from here gives the same objects.
public(
    CommunicationUserIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    UnknownIdentifier,
    identifier_from_raw_id,
    identifier_from_wire,
)
