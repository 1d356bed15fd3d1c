"""Keep a long session supplied with tokens, and show each renewal as it happens.

It begins with a token that it already has, so that nothing waits at the start, and renews it in the background. A token
of a day is renewed an hour ahead: leave it running, or give the seconds after which it ends.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    python long_session.py 90000
"""

import argparse
import os
from datetime import datetime

import anyio

from anyio_acs_credential import (
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CredentialEvent,
    RefreshFailed,
    RefreshSucceeded,
)


def report(event: CredentialEvent) -> None:
    """Say what the credential does. It is called with each event, and must not block."""
    match event:
        case RefreshSucceeded(expires_on=end):
            print(f"renewed: the token now ends at {datetime.fromtimestamp(end):%H:%M:%S}", flush=True)
        case RefreshFailed(error=error, next_attempt_at=then):
            print(f"failed ({type(error).__name__}): again at {datetime.fromtimestamp(then):%H:%M:%S}", flush=True)


async def main(seconds: float) -> None:
    """Run a session of so many seconds."""
    connection_string = os.environ["ACS_CONNECTION_STRING"]
    async with CommunicationIdentityClient.from_connection_string(connection_string) as identity:
        user, first = await identity.create_user_and_token(["voip"])

        async def fetch_token() -> AccessToken:
            return await identity.get_token(user, ["voip"])

        async with CommunicationTokenCredential(first, token_refresher=fetch_token, observer=report) as credential:
            with anyio.move_on_after(seconds):
                async for token in credential.updates():
                    print(f"the call goes on with {token}", flush=True)  # here: hand it to the running call
            print(f"{credential.statistics().refreshes} renewals")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=float("inf"))
    anyio.run(main, parser.parse_args().seconds)
