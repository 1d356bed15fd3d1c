"""Communication Services identities: making users, and issuing and revoking their access tokens."""

from __future__ import annotations

from .._public import public
from ._client import CommunicationIdentityClient
from ._connection import ConnectionString, parse_connection_string
from ._keys import AccessKeyCredential
from ._teams_phone import TeamsPhoneAssignment

__all__ = (
    "AccessKeyCredential",
    "CommunicationIdentityClient",
    "ConnectionString",
    "TeamsPhoneAssignment",
    "parse_connection_string",
)

public(AccessKeyCredential, CommunicationIdentityClient, ConnectionString, parse_connection_string)
