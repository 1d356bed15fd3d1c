"""A web app whose users open chat threads, each in the own name, with one credential for each user.

People sign in on its page, with an authorization code. Programs call its API with a token that Entra has issued to them
for this app (scope api://<client id>/access_as_user), and it acts on behalf of that token's user. Who is signed in is
known to this process alone. In production, APP_URL is the https address of the proxy before it.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export APP_URL='http://localhost:8000'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of a web application with the redirect URI http://localhost:8000/signed-in>'
    export ENTRA_CLIENT_SECRET='<its secret>'
    python web_app.py
"""

import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from html import escape
from secrets import token_bytes, token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import anycorn
import anyio
import httpx
import jwt
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from anyio_acs_credential import (
    DEFAULT_SCOPE,
    BearerAuth,
    CommunicationTokenCredential,
    CredentialPool,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential.entra import AuthorizationCodeCredential, OnBehalfOfCredential

THREADS = "/chat/threads?api-version=2024-03-07"
Person = AuthorizationCodeCredential | OnBehalfOfCredential


class Site:
    """The app. What has to be closed is opened in its lifespan."""

    pool: CredentialPool[str]
    http: httpx.AsyncClient
    entra: dict[str, str]
    keys: jwt.PyJWKClient

    def __init__(self) -> None:
        self.client_id, self.secret = os.environ["ENTRA_CLIENT_ID"], os.environ["ENTRA_CLIENT_SECRET"]
        self.authority, self.url = os.environ["ENTRA_AUTHORITY"], os.environ["APP_URL"]
        self.verifier_key = token_bytes(32)
        self.people: dict[str, Person] = {}
        self.sessions: dict[str, str] = {}

    def app(self) -> Starlette:
        """The same for an ASGI server."""
        routes = [
            Route("/", self.home),
            Route("/sign-in", self.sign_in),
            Route("/signed-in", self.signed_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/api/threads", self.open_thread, methods=["POST"]),
        ]
        return Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        """Keep the users' credentials open for as long as the server runs, or until nobody uses them."""
        async with httpx.AsyncClient() as self.http, CredentialPool(self.credential) as self.pool:
            discovery = await self.http.get(f"{self.authority}/.well-known/openid-configuration")
            self.entra = discovery.raise_for_status().json()
            self.keys = jwt.PyJWKClient(self.entra["jwks_uri"])
            yield

    def credential(self, user: str) -> CommunicationTokenCredential:
        """A credential for the pool, which gets its tokens through the person who has signed in."""
        if user not in self.people:  # signed out a moment ago
            raise HTTPException(401, "Sign in again.")
        endpoint = os.environ["ACS_ENDPOINT"]
        return CommunicationTokenCredential(resource_endpoint=endpoint, token_credential=self.people[user])

    async def home(self, request: Request) -> Response:
        """Show how many threads the person has who has signed in here."""
        user = self.sessions.get(request.cookies.get("session", ""), "")
        if user not in self.people:
            return HTMLResponse('<a href="/sign-in">Sign in</a>')
        async with self.pool.use(user) as credential:
            threads = (await self.chat("GET", user, credential))["value"]
        button = '<form method="post" action="/sign-out"><button>Sign out</button></form>'
        page = f"<p>{escape(str(credential.identity))} has {len(threads)} threads.</p>{button}"
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def sign_in(self, _request: Request) -> Response:
        """Send the person to Entra (RFC 6749, section 4.1; RFC 7636)."""
        state = token_urlsafe(32)
        question = {
            "client_id": self.client_id,
            "response_type": "code",
            "response_mode": "form_post",  # a code in an address would be in the log of every server on the way
            "redirect_uri": f"{self.url}/signed-in",
            "scope": f"openid profile offline_access {DEFAULT_SCOPE}",
            "state": state,
            "code_challenge": encode(sha256(self.verifier(state).encode()).digest()),
            "code_challenge_method": "S256",
        }
        answer = RedirectResponse(f"{self.entra['authorization_endpoint']}?{urlencode(question)}", 303)
        # "none", because the answer is posted by a page of Entra's.
        answer.set_cookie("state", state, max_age=600, secure=True, httponly=True, samesite="none")
        return answer

    def verifier(self, state: str) -> str:
        """The code verifier of a sign-in: nobody can tell it from the state, and it need not be kept."""
        return encode(hmac.digest(self.verifier_key, state.encode(), "sha256"))

    async def signed_in(self, request: Request) -> Response:
        """Redeem the code, if it came to the browser in which the sign-in began."""
        form = dict(parse_qsl((await request.body()).decode()))
        state = form.get("state", "")
        if not state or not hmac.compare_digest(state.encode(), request.cookies.get("state", "").encode()):
            raise HTTPException(400, "This sign-in did not begin in this browser, or too long ago: sign in again.")
        if "code" not in form:
            raise HTTPException(403, "You have not signed in.")
        person = AuthorizationCodeCredential(
            self.client_id,
            authorization_code=form["code"],
            redirect_uri=f"{self.url}/signed-in",
            code_verifier=self.verifier(state),
            client_secret=self.secret,
            authority=self.authority,
        )
        try:
            user = (await person.get_token(DEFAULT_SCOPE)).claims["oid"]  # it comes from Entra itself
        except TokenSourceError as error:
            raise HTTPException(403, "The sign-in did not work: sign in again.") from error
        self.people.setdefault(user, person)
        self.sessions = {key: user for key, user in self.sessions.items() if user in self.people}
        session = token_urlsafe(32)
        self.sessions[session] = user
        answer = RedirectResponse("/", 303)
        answer.delete_cookie("state", secure=True, httponly=True, samesite="none")
        answer.set_cookie("session", session, secure=True, httponly=True, samesite="lax")
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Forget the session and the person, and close the credential."""
        await self.forget(self.sessions.pop(request.cookies.get("session", ""), ""))
        return RedirectResponse("/", 303)

    async def forget(self, user: str) -> None:
        """Let the user's next credential get its tokens through whoever signs in, or calls, next."""
        self.people.pop(user, None)
        await self.pool.discard(user)

    async def open_thread(self, request: Request) -> Response:
        """Open a thread for the user of the token that this was called with."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        user = await anyio.to_thread.run_sync(self.user_of, token)  # it may have to fetch Entra's keys
        person = OnBehalfOfCredential(
            self.client_id, user_assertion=token, client_secret=self.secret, authority=self.authority
        )
        self.people.setdefault(user, person)
        try:
            topic = str((await request.json())["topic"])
        except (ValueError, KeyError, TypeError) as error:
            raise HTTPException(400, 'Send an object such as {"topic": "Lunch"}.') from error
        async with self.pool.use(user) as credential:
            thread = await self.chat("POST", user, credential, json={"topic": topic})
        return JSONResponse(thread["chatThread"], 201)

    def user_of(self, token: str) -> str:
        """The object id of a token's user. It is not believed before the token was checked."""
        try:
            key = self.keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self.client_id,
                issuer=self.entra["issuer"],
                options={"require": ["exp", "oid", "scp"]},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise HTTPException(503, "Try again later.") from error
        except jwt.PyJWTError as error:
            raise HTTPException(401, "Call with a token for this app.", {"WWW-Authenticate": "Bearer"}) from error
        if "access_as_user" not in claims["scp"].split():
            raise HTTPException(403, "The token lacks the scope access_as_user.")
        return str(claims["oid"])

    async def chat(self, method: str, user: str, credential: CommunicationTokenCredential, **content: Any) -> Any:
        """Call the chat service as the user."""
        url = f"{os.environ['ACS_ENDPOINT']}{THREADS}"
        try:
            answer = await self.http.request(method, url, auth=BearerAuth(credential), **content)
        except TokenRefreshError as error:
            failure = error
        else:
            return answer.raise_for_status().json()
        if not isinstance(failure.__cause__, SignInRequiredError):
            raise HTTPException(503, "Try again later.") from failure
        await self.forget(user)
        raise HTTPException(401, "Sign in again.") from failure


def encode(value: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def main() -> None:
    """Serve the app at the port of its address."""
    config = anycorn.Config()
    config.bind = [urlsplit(os.environ["APP_URL"]).netloc]
    app: Any = Site().app()  # anycorn's types of ASGI are narrower than Starlette's
    anyio.run(anycorn.serve, app, config)


if __name__ == "__main__":
    main()
