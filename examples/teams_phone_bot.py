"""A Teams Phone Extensibility bot: a person signs it in with a code on another device, and it stays signed in.

First, once, whoever has the resource's connection string allows the person; without that, it ends and says so:

    acs-credential teams-phone allow '<tenant id>' '<the object id of the person>'

It hands each token on as it comes. Where Entra wants the person again, it shows another code, and goes on afterwards.
Leave it running, or give the seconds after which it ends.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of an application that allows public client flows>'
    python teams_phone_bot.py 90000
"""

import argparse
import os

import anyio

from anyio_acs_credential import (
    TEAMS_PHONE_SCOPE,
    CommunicationTokenCredential,
    SignInRequiredError,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential.entra import DeviceCodeCredential


async def keep_signed_in(person: DeviceCodeCredential, credential: CommunicationTokenCredential) -> None:
    """Show another code where Entra wants the person again. It looks once a second."""
    while True:
        await anyio.sleep(1)
        if isinstance(credential.statistics().last_error, SignInRequiredError):
            try:
                await person.sign_in(TEAMS_PHONE_SCOPE)
                await credential.refresh()
            except (TokenSourceError, TokenRefreshError) as error:
                print(f"not signed in yet: {error}", flush=True)


async def main(seconds: float) -> None:
    """Sign in, and be a bot for so many seconds."""
    endpoint, scopes = os.environ["ACS_ENDPOINT"], [TEAMS_PHONE_SCOPE]
    async with DeviceCodeCredential(os.environ["ENTRA_CLIENT_ID"], authority=os.environ["ENTRA_AUTHORITY"]) as person:
        await person.sign_in(*scopes)
        async with CommunicationTokenCredential(
            resource_endpoint=endpoint, token_credential=person, scopes=scopes
        ) as credential:
            try:
                await credential.get_token()
            except TokenRefreshError as error:
                if error.permanent:  # nobody has allowed the person
                    raise SystemExit(f"{error.__cause__}") from error
            async with anyio.create_task_group() as group:
                group.start_soon(keep_signed_in, person, credential)
                with anyio.move_on_after(seconds):
                    async for token in credential.updates():
                        print(f"{credential.raw_id} goes on with {token}", flush=True)  # here: hand it to the call
                group.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=float("inf"))
    anyio.run(main, parser.parse_args().seconds)
