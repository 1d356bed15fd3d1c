"""Communication Services identities: making users, and issuing and revoking their access tokens."""

from __future__ import annotations

from ._client import CommunicationIdentityClient
from ._connection import ConnectionString, parse_connection_string
from ._keys import AccessKeyCredential

__all__ = ("AccessKeyCredential", "CommunicationIdentityClient", "ConnectionString", "parse_connection_string")

for _public in (AccessKeyCredential, CommunicationIdentityClient, ConnectionString, parse_connection_string):
    _public.__module__ = __name__
del _public
