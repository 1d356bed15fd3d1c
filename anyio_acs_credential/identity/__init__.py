"""Communication Services identities: making users, and issuing and revoking their access tokens."""

from __future__ import annotations

from .._common.public import public
from ._client import CommunicationIdentityClient
from ._connection import ConnectionString, parse_connection_string
from ._keys import AccessKeyCredential
from ._teams_phone import TeamsPhoneAssignment

# These names are public in the package itself; importing them from here gives the same objects.
public(
    AccessKeyCredential,
    CommunicationIdentityClient,
    ConnectionString,
    TeamsPhoneAssignment,
    parse_connection_string,
)
