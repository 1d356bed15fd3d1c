"""Twenty workers of a trio program share one credential: they all ask at once, and one token is fetched.

Only the nursery is trio's: with a task group of anyio's or asyncio's it is the same.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    python shared_by_tasks.py
"""

import os
from functools import partial

import httpx
import trio

from anyio_acs_credential import (
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    parse_connection_string,
)

API = {"api-version": "2024-03-07"}


async def work(number: int, chat: httpx.AsyncClient) -> None:
    """Look at the user's chat threads."""
    answer = await chat.get("/chat/threads", params=API)
    answer.raise_for_status()
    print(f"worker {number} sees {len(answer.json()['value'])} threads")


async def main() -> None:
    """Run the workers, and count the tokens."""
    connection_string = os.environ["ACS_CONNECTION_STRING"]
    endpoint = parse_connection_string(connection_string).endpoint
    async with CommunicationIdentityClient.from_connection_string(connection_string) as identity:
        user = await identity.create_user()
        fetch_token = partial(identity.get_token, user, ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=endpoint, auth=BearerAuth(credential)) as chat,
            trio.open_nursery() as nursery,
        ):
            for number in range(1, 21):
                nursery.start_soon(work, number, chat)
        print(f"tokens fetched: {credential.statistics().refreshes}")


if __name__ == "__main__":
    trio.run(main)
