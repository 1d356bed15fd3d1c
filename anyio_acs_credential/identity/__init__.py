"""Communication Services identities: making users, and issuing and revoking their access tokens."""

from __future__ import annotations

from .._public import public
from ._client import CommunicationIdentityClient
from ._connection import ConnectionString, parse_connection_string
from ._keys import AccessKeyCredential
from ._teams_phone import TeamsPhoneAssignment

# Public in the package itself: what is imported from here is the same.
public(
    AccessKeyCredential,
    CommunicationIdentityClient,
    ConnectionString,
    TeamsPhoneAssignment,
    parse_connection_string,
)
