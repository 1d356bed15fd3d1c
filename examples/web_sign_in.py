"""A web app on Litestar: whoever opens it signs in to Entra, and then gets access tokens in their own name.

Who has signed in is known to this process alone. In production, it is served over TLS.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of a web application with the redirect URI http://localhost:8000/signed-in>'
    export ENTRA_CLIENT_SECRET='<its secret>'
    python web_sign_in.py 8000
"""

import argparse
import os
from typing import Any

import msal
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.exceptions import HTTPException
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.response import Redirect

from anyio_acs_credential import DEFAULT_SCOPE, CommunicationTokenCredential, CredentialPool, TokenRefreshError
from anyio_acs_credential.entra import AuthorizationCodeCredential

AUTHORITY, CLIENT_ID, SECRET = (os.environ[f"ENTRA_{name}"] for name in ("AUTHORITY", "CLIENT_ID", "CLIENT_SECRET"))
entra = msal.ConfidentialClientApplication(CLIENT_ID, SECRET, oidc_authority=AUTHORITY)  # makes the pages' addresses
people: dict[str, AuthorizationCodeCredential] = {}


def credential_of(person: str) -> CommunicationTokenCredential:
    """A credential for the pool: one for each sign-in."""
    return CommunicationTokenCredential(resource_endpoint=os.environ["ACS_ENDPOINT"], token_credential=people[person])


@get("/", response_headers={"Cache-Control": "no-store"})
async def give_token(request: Request[Any, Any, Any]) -> Any:
    """An access token for the person who has signed in; everybody else is sent to Entra."""
    if (person := request.session.get("person")) in people:
        try:
            async with pool.use(person) as credential:
                token = await credential.get_token()
                return {"token": token.token, "expires_on": token.expires_on}
        except TokenRefreshError as error:
            if not error.permanent:
                raise HTTPException("Try again later.", status_code=503) from error
            people.pop(person, None)  # who has to sign in again
    url = f"{request.base_url}signed-in"
    begun = entra.initiate_auth_code_flow([DEFAULT_SCOPE], redirect_uri=url, response_mode="form_post")
    request.set_session({"begun": begun})
    return Redirect(begun["auth_uri"])


@post("/signed-in", status_code=303)
async def signed_in(request: Request[Any, Any, Any]) -> Redirect:
    """Redeem the code, if it has come to the browser in which the sign-in began."""
    form, begun = await request.form(), request.session.get("begun", {})
    if not (code := form.get("code")) or (state := form.get("state", "")) != begun.get("state"):
        raise HTTPException("You have not signed in.", status_code=403)
    people[state] = AuthorizationCodeCredential(
        CLIENT_ID,
        authorization_code=code,
        **{name: begun[name] for name in ("redirect_uri", "code_verifier")},
        client_secret=SECRET,
        authority=AUTHORITY,
    )
    request.set_session({"person": state})
    return Redirect("/", status_code=303)


@post("/sign-out")
async def sign_out(request: Request[Any, Any, Any]) -> None:
    """Forget the person, and close the credential."""
    if people.pop(person := request.session.pop("person", ""), None):
        await pool.discard(person)


pool = CredentialPool(credential_of)
cookies = CookieBackendConfig(secret=os.urandom(32), secure=True, samesite="none")  # it is Entra's page that posts
app = Litestar([give_token, signed_in, sign_out], lifespan=[pool], middleware=[cookies.middleware])

if __name__ == "__main__":
    (parser := argparse.ArgumentParser()).add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
