"""A token server on Litestar: whoever calls with an Entra token for it gets an access token in their own name.

Callers ask Entra for the scope that the app exposes, such as api://<client id>/access_as_user.
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of a web application that exposes a scope>'
    export ENTRA_CLIENT_SECRET='<its secret>'
    python web_api.py 8000
"""

import argparse
import os
from typing import Any

import jwt
import uvicorn
from anyio import to_thread
from litestar import Litestar, Request, post
from litestar.exceptions import HTTPException, NotAuthorizedException

from anyio_acs_credential import CommunicationTokenCredential, CredentialPool, TokenRefreshError
from anyio_acs_credential.entra import OnBehalfOfCredential

AUTHORITY, CLIENT_ID, SECRET = (os.environ[f"ENTRA_{name}"] for name in ("AUTHORITY", "CLIENT_ID", "CLIENT_SECRET"))
KEYS = jwt.PyJWKClient(AUTHORITY.removesuffix("v2.0") + "discovery/v2.0/keys")


def credential_of(token: str) -> CommunicationTokenCredential:
    """A credential that acts for whoever has called with this token: their own, whatever befalls another's."""
    caller = OnBehalfOfCredential(CLIENT_ID, user_assertion=token, client_secret=SECRET, authority=AUTHORITY)
    return CommunicationTokenCredential(resource_endpoint=os.environ["ACS_ENDPOINT"], token_credential=caller)


def checked(token: str) -> str:
    """The caller's token, which has to be valid at each call. It may wait for Entra's keys, and so runs in a thread."""
    try:
        jwt.decode(token, KEYS.get_signing_key_from_jwt(token), ["RS256"], audience=CLIENT_ID, issuer=AUTHORITY)
    except jwt.PyJWTError as error:
        raise NotAuthorizedException("Call with a token for this app.") from error
    return token


@post("/token", response_headers={"Cache-Control": "no-store"})
async def give_token(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """An access token for the caller."""
    token = await to_thread.run_sync(checked, request.headers.get("Authorization", "").removeprefix("Bearer "))
    try:
        async with pool.use(token) as credential:
            given = await credential.get_token()
    except TokenRefreshError as error:
        raise HTTPException("No access token for you.", status_code=403 if error.permanent else 503) from error
    return {"token": given.token, "expires_on": given.expires_on}


pool = CredentialPool(credential_of, max_size=10_000)
app = Litestar([give_token], lifespan=[pool])

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
