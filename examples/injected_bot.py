"""A bot that is given its credential: opened once, where the program starts, and used wherever it is needed.

Its tokens come from a server of your own, which knows the access key and answers {"token": "<the token>"}.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export TOKEN_SERVER='https://<your server>/token'
    python injected_bot.py 'Lunch' 'Friday'
"""

import argparse
import os
from functools import partial

import anyio
import httpx

from anyio_acs_credential import BearerAuth, CommunicationTokenCredential, TokenSourceError

API = {"api-version": "2024-03-07"}


class Bot:
    """Opens chat threads. It neither makes its credential nor closes it."""

    def __init__(self, endpoint: str, credential: CommunicationTokenCredential) -> None:
        self._endpoint = endpoint
        self._auth = BearerAuth(credential)

    async def open_threads(self, *topics: str) -> None:
        """Open a thread for each topic."""
        async with httpx.AsyncClient(base_url=self._endpoint, auth=self._auth) as chat:
            for topic in topics:
                answer = await chat.post("/chat/threads", params=API, json={"topic": topic})
                answer.raise_for_status()
                print(f"{topic}: {answer.json()['chatThread']['id']}")


async def fetch_token(server: httpx.AsyncClient) -> str:
    """Ask the token server. What is raised here fails one attempt: the credential asks again."""
    answer = await server.post(os.environ["TOKEN_SERVER"])
    if answer.status_code == 403:
        raise TokenSourceError("the token server does not know this bot: register it there", permanent=True)
    answer.raise_for_status()
    token: str = answer.json()["token"]
    return token


async def main(*topics: str) -> None:
    """Open the credential once, and hand it to whatever needs it."""
    async with (
        httpx.AsyncClient() as server,
        CommunicationTokenCredential(token_refresher=partial(fetch_token, server)) as credential,
    ):
        await Bot(os.environ["ACS_ENDPOINT"], credential).open_threads(*topics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("topics", nargs="+")
    anyio.run(main, *parser.parse_args().topics)
