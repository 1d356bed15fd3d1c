"""A Teams user's access token: a person signs in with a code, and each Entra token of the person is exchanged for one.

It hands each token on as it comes. Leave it running, or give the seconds after which it ends.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of an application that allows public client flows>'
    python teams_user.py 90000
"""

import argparse
import os
import sys
from functools import partial

import anyio

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential, TokenSourceError
from anyio_acs_credential.entra import DeviceCodeCredential

API = "https://auth.msft.communication.azure.com"
SCOPES = (f"{API}/Teams.ManageCalls", f"{API}/Teams.ManageChats")


async def call(credential: CommunicationTokenCredential) -> None:
    """Be in a call. It is given its credential, and neither makes nor closes it."""
    async for token in credential.updates():
        print(f"{credential.raw_id} goes on with {token}", flush=True)  # here: hand it to the call


async def main(seconds: float) -> None:
    """Sign in, open the credential once, and be in a call for so many seconds."""
    client_id = os.environ["ENTRA_CLIENT_ID"]
    async with (
        DeviceCodeCredential(client_id, authority=os.environ["ENTRA_AUTHORITY"]) as person,
        CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity,
    ):
        try:
            await person.sign_in(*SCOPES)
            entra_token = await person.get_token(*SCOPES)
        except TokenSourceError as error:
            sys.exit(f"Signing in did not work: {error}")
        fetch_token = partial(
            identity.get_token_for_teams_user,
            partial(person.get_token, *SCOPES),  # the Entra token of the moment, which MSAL renews
            client_id,
            entra_token.claims["oid"],
        )
        async with CommunicationTokenCredential(token_refresher=fetch_token) as credential:
            with anyio.move_on_after(seconds):
                await call(credential)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=float("inf"))
    anyio.run(main, parser.parse_args().seconds)
