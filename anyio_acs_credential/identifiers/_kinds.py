"""The six kinds of communication identifiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from ._raw_ids import (
    ACS_USER,
    PHONE_NUMBER,
    TEAMS_APP,
    TEAMS_USER,
    TEAMS_VISITOR,
    check_cloud,
    check_flag,
    check_text,
    number_says,
)


def _chosen(raw_id: str | None, built: str) -> str:
    return built if raw_id is None else check_text("raw_id", raw_id) or built


# Each __init__ writes into __dict__, since the __setattr__ of a frozen dataclass refuses.


@dataclass(frozen=True, init=False)
class CommunicationUserIdentifier:
    """A user that the Communication Services resource made itself.

    Args:
        id: The id that the service gave, such as `8:acs:<resource>_<user>`.
        raw_id: The raw id, where it differs from the id.

    Raises:
        InvalidIdentifierError: when an argument is not text.
    """

    kind: ClassVar[Literal["communication_user"]] = "communication_user"
    id: str = field(compare=False)
    raw_id: str = field(kw_only=True)

    def __init__(self, id: str, *, raw_id: str | None = None) -> None:  # noqa: A002 - as the official package has it
        attributes = vars(self)
        attributes["id"] = text = check_text("id", id)
        attributes["raw_id"] = _chosen(raw_id, text)

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON."""
        return {"rawId": self.raw_id, "communicationUser": {"id": self.id}}


@dataclass(frozen=True, init=False)
class PhoneNumberIdentifier:
    """A phone number.

    Args:
        value: The number, with its "+" (E.164) or as the service wrote it.
        is_anonymous: Whether the caller hides the number. None to read it from the raw id.
        asserted_id: What tells this use of the number from others. None to read it from the raw id.
        raw_id: The raw id, where it is not "4:" followed by the number.

    Raises:
        InvalidIdentifierError: when an argument is of a wrong type.
    """

    kind: ClassVar[Literal["phone_number"]] = "phone_number"
    value: str = field(compare=False)
    is_anonymous: bool = field(compare=False, kw_only=True)
    asserted_id: str | None = field(compare=False, kw_only=True)
    raw_id: str = field(kw_only=True)

    def __init__(
        self,
        value: str,
        *,
        is_anonymous: bool | None = None,
        asserted_id: str | None = None,
        raw_id: str | None = None,
    ) -> None:
        attributes = vars(self)
        attributes["value"] = number = check_text("value", value)
        attributes["raw_id"] = chosen = _chosen(raw_id, PHONE_NUMBER + number)
        hidden, asserted = number_says(chosen.removeprefix(PHONE_NUMBER))
        attributes["is_anonymous"] = hidden if is_anonymous is None else check_flag("is_anonymous", is_anonymous)
        attributes["asserted_id"] = asserted if asserted_id is None else check_text("asserted_id", asserted_id)

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON."""
        number: dict[str, object] = {"value": self.value, "isAnonymous": self.is_anonymous}
        if self.asserted_id is not None:
            number["assertedId"] = self.asserted_id
        return {"rawId": self.raw_id, "phoneNumber": number}


@dataclass(frozen=True, init=False)
class MicrosoftTeamsUserIdentifier:
    """A user of Microsoft Teams.

    Args:
        user_id: The Entra object id of the user; for an anonymous user, the id that the meeting gave.
        is_anonymous: Whether the user has joined a meeting without signing in.
        cloud: "public", "dod" or "gcch", in upper or lower case; None means "public". An unknown cloud is kept, and
            its raw ids have the prefix of the public cloud.
        raw_id: The raw id, where it differs from the one that the other arguments make.

    Raises:
        InvalidIdentifierError: when an argument is of a wrong type.
    """

    kind: ClassVar[Literal["microsoft_teams_user"]] = "microsoft_teams_user"
    user_id: str = field(compare=False)
    is_anonymous: bool = field(compare=False, kw_only=True)
    cloud: str = field(compare=False, kw_only=True)
    raw_id: str = field(kw_only=True)

    def __init__(
        self, user_id: str, *, is_anonymous: bool = False, cloud: str | None = "public", raw_id: str | None = None
    ) -> None:
        attributes = vars(self)
        attributes["user_id"] = user = check_text("user_id", user_id)
        attributes["is_anonymous"] = check_flag("is_anonymous", is_anonymous)
        attributes["cloud"] = cloud = check_cloud(cloud)
        prefix = TEAMS_VISITOR if is_anonymous else TEAMS_USER.get(cloud, TEAMS_USER["public"])
        attributes["raw_id"] = _chosen(raw_id, prefix + user)

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON."""
        user = {"userId": self.user_id, "isAnonymous": self.is_anonymous, "cloud": self.cloud}
        return {"rawId": self.raw_id, "microsoftTeamsUser": user}


@dataclass(frozen=True, init=False)
class MicrosoftTeamsAppIdentifier:
    """An application of Microsoft Teams, such as a call queue.

    Args:
        app_id: The id of the application.
        cloud: "public", "dod" or "gcch", in upper or lower case; None means "public". An unknown cloud is kept, and
            its raw ids have the prefix of the public cloud.
        raw_id: The raw id, where it differs from the one that the other arguments make.

    Raises:
        InvalidIdentifierError: when an argument is not text.
    """

    kind: ClassVar[Literal["microsoft_teams_app"]] = "microsoft_teams_app"
    app_id: str = field(compare=False)
    cloud: str = field(compare=False, kw_only=True)
    raw_id: str = field(kw_only=True)

    def __init__(self, app_id: str, *, cloud: str | None = "public", raw_id: str | None = None) -> None:
        attributes = vars(self)
        attributes["app_id"] = app = check_text("app_id", app_id)
        attributes["cloud"] = cloud = check_cloud(cloud)
        attributes["raw_id"] = _chosen(raw_id, TEAMS_APP.get(cloud, TEAMS_APP["public"]) + app)

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON."""
        return {"rawId": self.raw_id, "microsoftTeamsApp": {"appId": self.app_id, "cloud": self.cloud}}


@dataclass(frozen=True, init=False)
class TeamsExtensionUserIdentifier:
    """A Teams user who acts through a Communication Services resource (Teams Phone extensibility).

    Args:
        user_id: The Entra object id of the user.
        tenant_id: The id of the user's tenant.
        resource_id: The id of the Communication Services resource.
        cloud: "public", "dod" or "gcch", in upper or lower case; None means "public". An unknown cloud is kept, and
            its raw ids have the prefix of the public cloud.
        raw_id: The raw id, where it differs from the one that the other arguments make.

    Raises:
        InvalidIdentifierError: when an argument is not text.
    """

    kind: ClassVar[Literal["teams_extension_user"]] = "teams_extension_user"
    user_id: str = field(compare=False)
    tenant_id: str = field(compare=False)
    resource_id: str = field(compare=False)
    cloud: str = field(compare=False, kw_only=True)
    raw_id: str = field(kw_only=True)

    def __init__(
        self, user_id: str, tenant_id: str, resource_id: str, *, cloud: str | None = "public", raw_id: str | None = None
    ) -> None:
        attributes = vars(self)
        attributes["user_id"] = user = check_text("user_id", user_id)
        attributes["tenant_id"] = tenant = check_text("tenant_id", tenant_id)
        attributes["resource_id"] = resource = check_text("resource_id", resource_id)
        attributes["cloud"] = cloud = check_cloud(cloud)
        prefix = ACS_USER.get(cloud, ACS_USER["public"])
        attributes["raw_id"] = _chosen(raw_id, f"{prefix}{resource}_{tenant}_{user}")

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON."""
        ids = {"userId": self.user_id, "tenantId": self.tenant_id, "resourceId": self.resource_id}
        return {"rawId": self.raw_id, "teamsExtensionUser": {**ids, "cloud": self.cloud}}


@dataclass(frozen=True, init=False)
class UnknownIdentifier:
    """An identifier of a kind that this package does not know, such as one that is new in the service.

    A later release may know the kind, so keep the raw id, and draw no conclusion from its being unknown.

    Args:
        id: The id that the service gave.
        raw_id: The raw id, where it differs from the id.

    Raises:
        InvalidIdentifierError: when an argument is not text.
    """

    kind: ClassVar[Literal["unknown"]] = "unknown"
    id: str = field(compare=False)
    raw_id: str = field(kw_only=True)

    def __init__(self, id: str, *, raw_id: str | None = None) -> None:  # noqa: A002 - as its sibling has it
        attributes = vars(self)
        attributes["id"] = text = check_text("id", id)
        attributes["raw_id"] = _chosen(raw_id, text)

    def to_wire(self) -> dict[str, object]:
        """The wire model, to be sent as JSON: the raw id alone."""
        return {"rawId": self.raw_id}


CommunicationIdentifier: TypeAlias = (
    CommunicationUserIdentifier
    | PhoneNumberIdentifier
    | MicrosoftTeamsUserIdentifier
    | MicrosoftTeamsAppIdentifier
    | TeamsExtensionUserIdentifier
    | UnknownIdentifier
)
"""An identifier of any kind."""
