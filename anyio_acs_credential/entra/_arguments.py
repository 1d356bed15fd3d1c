"""Arguments that a credential does not take, such as azure-identity's, and what to give in their place."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from .._common.errors import explained
from ._settings import Options

if TYPE_CHECKING:
    from .._common.redaction import Secret

_TIME_LIMIT = "leave it out, and put anyio.fail_after() around what is not to take longer"
_IN_PLACE_OF = {
    "additionally_allowed_tenants": "make a credential for each tenant, with its tenant_id",
    "authentication_record": "give token_cache, in which the account is found again",
    "cache_persistence_options": "give token_cache, an msal.TokenCache that is kept",
    "connection_timeout": _TIME_LIMIT,
    "connection_verify": "give verify",
    "disable_automatic_authentication": "leave it out, since only sign_in() asks a person",
    "enable_support_logging": "leave it out, since nothing of a person is logged",
    "proxies": "set HTTPS_PROXY in the environment",
    "read_timeout": _TIME_LIMIT,
    "timeout": _TIME_LIMIT,
    "transport": "leave it out, since each request is made with httpx in the event loop",
}
_IN_A_CERTIFICATE = {
    "client_assertion_func": 'give client_certificate={"client_assertion": function}',
    "password": "give client_certificate={...} with private_key, public_certificate and passphrase",
    "send_certificate_chain": "leave it out, since the certificate is always sent, and the whole chain of a "
    "client_certificate={...} with private_key, public_certificate and thumbprint",
}


def check_names(credential: type, given: Secret) -> None:
    """Refuse options that a credential does not have.

    Args:
        credential: Its class.
        given: The options, by name. No message and no frame shows what they are.

    Raises:
        TypeError: when there is an option of another name; the message says what to give in its place.
    """
    name = next((name for name in given.value if name not in Options.__annotations__), None)
    if name is None:
        return
    takes = [each for each in inspect.signature(credential).parameters if each != "options"]
    known = _IN_PLACE_OF | _IN_A_CERTIFICATE if "client_certificate" in takes else _IN_PLACE_OF
    fix = known.get(name, f"it takes {', '.join([*takes, *Options.__annotations__])}")
    raise explained("entra-arguments", TypeError(f"{credential.__name__} takes no {name}: {fix}"))
