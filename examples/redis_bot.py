"""A bot in many pods: whichever needs a token first fetches it, and the others find it in Redis, encrypted.

Start it twice: the second one fetches nothing. Its tokens come from a server of your own, which knows the access key
and answers {"token": "<the token>"}. A Redis that is down costs each pod a fetch of its own, and nothing else.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export TOKEN_SERVER='https://<your server>/token'
    export REDIS_URL='rediss://:<password>@<host>:6380/0'
    export TOKEN_STORE_KEYS='<what new_encryption_key() of anyio_acs_credential.fleet gave, the same in all pods>'
    python redis_bot.py Lunch Friday
"""

import argparse
import os
from functools import partial

import anyio
import httpx

from anyio_acs_credential import BearerAuth, CommunicationTokenCredential
from anyio_acs_credential.fleet import RedisTokenStore, shared

API = {"api-version": "2024-03-07"}


async def fetch_token(server: httpx.AsyncClient) -> str:
    """Ask the token server, for all pods."""
    answer = await server.post(os.environ["TOKEN_SERVER"])
    answer.raise_for_status()
    token: str = answer.json()["token"]
    return token


async def main(*topics: str) -> None:
    """Open the store around the credential, and use that as ever."""
    async with (
        httpx.AsyncClient() as server,
        RedisTokenStore(os.environ["REDIS_URL"], encryption_keys=os.environ["TOKEN_STORE_KEYS"].split()) as store,
        CommunicationTokenCredential(
            token_refresher=shared(partial(fetch_token, server), store, key="the bot")
        ) as credential,
        httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat,
    ):
        for topic in topics:
            answer = await chat.post("/chat/threads", params=API, json={"topic": topic})
            answer.raise_for_status()
            print(f"{topic}: {answer.json()['chatThread']['id']}")
        print("the token was", "another pod's" if credential.statistics().shared else "fetched by this pod")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("topics", nargs="+")
    anyio.run(main, *parser.parse_args().topics)
