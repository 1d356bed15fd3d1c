"""Entra users: token credentials that sign a person in with MSAL, on asyncio and trio."""

from ._authorization_code import AuthorizationCodeCredential
from ._browser import InteractiveBrowserCredential
from ._device_code import DeviceCodeCredential
from ._msal import MsalCredential
from ._on_behalf_of import OnBehalfOfCredential

__all__ = (
    "AuthorizationCodeCredential",
    "DeviceCodeCredential",
    "InteractiveBrowserCredential",
    "MsalCredential",
    "OnBehalfOfCredential",
)

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
