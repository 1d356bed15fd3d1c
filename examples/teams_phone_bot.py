"""A Teams Phone Extensibility bot: a person signs it in with a code on another device, and it stays signed in.

It hands each token on as it comes. Where Entra wants the person again, it shows another code, and goes on afterwards.
Leave it running, or give the seconds after which it ends.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of an application that allows public client flows>'
    python teams_phone_bot.py 90000
"""

import os
import sys

import anyio

from anyio_acs_credential import (
    CommunicationTokenCredential,
    CredentialEvent,
    RefreshFailed,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential.entra import DeviceCodeCredential

SCOPE = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"


class SignIn:
    """Notices that only a person can help, and has the person sign in."""

    def __init__(self, person: DeviceCodeCredential) -> None:
        self._person = person
        self._wanted = anyio.Event()

    def observe(self, event: CredentialEvent) -> None:
        """Take note. It is called with each event of the credential, and must not block."""
        match event:
            case RefreshFailed(error=SignInRequiredError()):
                self._wanted.set()

    async def repeat(self, credential: CommunicationTokenCredential) -> None:
        """Sign in as often as it is wanted. A code that nobody entered is followed by another."""
        while True:
            await self._wanted.wait()
            try:
                await self._person.sign_in(SCOPE)
                self._wanted = anyio.Event()
                await credential.refresh()
            except (TokenSourceError, TokenRefreshError) as error:
                print(f"not signed in yet: {error}", flush=True)
                await anyio.sleep(10)


async def main(seconds: float) -> None:
    """Sign in, and be a bot for so many seconds."""
    async with DeviceCodeCredential(os.environ["ENTRA_CLIENT_ID"], authority=os.environ["ENTRA_AUTHORITY"]) as person:
        try:
            await person.sign_in(SCOPE)
        except TokenSourceError as error:
            sys.exit(f"Signing in did not work: {error}")
        sign_in = SignIn(person)
        async with (
            CommunicationTokenCredential(
                resource_endpoint=os.environ["ACS_ENDPOINT"],
                token_credential=person,
                scopes=(SCOPE,),
                observer=sign_in.observe,
            ) as credential,
            anyio.create_task_group() as group,
        ):
            group.start_soon(sign_in.repeat, credential)
            with anyio.move_on_after(seconds):
                async for token in credential.updates():
                    print(f"{credential.identity} goes on with {token}", flush=True)  # here: hand it to the call
            group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else float("inf"))
